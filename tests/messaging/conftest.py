"""The probe's own topics and database."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from deploy.local.topics import Topic
from shared.harness.ground import kello_on
from shared.harness.kello import Kello
from shared.messaging import migrate
from shared.messaging.migrate import KIT, Migration, migrations_in
from tests.messaging import probe

PARTITIONS = 3


def probe_topics() -> list[Topic]:
    names = {
        "probe.commands": "7 days",
        "probe.events": "forever",
        "probe.dead-letters": "7 days",
        "probe.profiles": "compacted",
        "noted.events": "forever",
    }
    rows = [
        {"name": name, "partitions": PARTITIONS, "retention": retention, "owner": "probe", "writers": [], "readers": []}
        for name, retention in names.items()
    ]
    return [Topic.model_validate(row) for row in rows]


@pytest.fixture
async def kello(stack: Stack, tmp_path: Path) -> AsyncIterator[Kello]:
    """Kello with the probe alone."""
    async with probe_kello(stack, tmp_path / "sandboxes") as kello:
        yield kello


def probe_kello(stack: Stack, folder: Path) -> AbstractAsyncContextManager[Kello]:
    """The probe's topics on some servers, and its database when it is asked for; all gone at the end."""
    migrations = [
        *migrations_in(KIT, Path(migrate.__file__).with_name("migrations")),
        Migration("probe", 1, "initial", probe.SCHEMA.read_text()),
    ]
    return kello_on(stack, folder, probe_topics(), migrations)
