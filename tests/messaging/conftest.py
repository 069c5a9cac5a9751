"""The probe's own topics and database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex

import pytest

from deploy.local.databases import Database, clone_database, drop_databases, template_of
from deploy.local.sandboxes import Sandboxes
from deploy.local.stack import Stack
from deploy.local.topics import Topic, create_topics, delete_topics
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
    async with Sandboxes(tmp_path / "sandboxes") as sandboxes, probe_kello(stack, sandboxes) as kello:
        yield kello


@asynccontextmanager
async def probe_kello(stack: Stack, sandboxes: Sandboxes) -> AsyncIterator[Kello]:
    """The probe's topics on some servers, and its database when it is asked for; all gone at the end."""
    prefix = f"probe-{token_hex(4)}."
    made: list[str] = []
    migrations = [
        *migrations_in(KIT, Path(migrate.__file__).with_name("migrations")),
        Migration("probe", 1, "initial", probe.SCHEMA.read_text()),
    ]

    async def database(service: str) -> Database:
        template = await template_of(stack.postgres, service, migrations)
        made.append(f"test_{service}_{token_hex(6)}")
        return await clone_database(stack.postgres, service, template, made[-1])

    names = await create_topics(stack.kafka, probe_topics(), prefix=prefix)
    kello = Kello(stack.kafka, prefix, database, sandboxes)
    yield kello
    await kello.close()
    await delete_topics(stack.kafka, names)
    await drop_databases(stack.postgres, made)
