"""All four services at work, once for all journeys: each journey has people of its own."""

from collections.abc import AsyncIterator

import pytest

from deploy.local.demo.world import SERVICES
from deploy.local.stack import Stack
from shared.harness.ground import kello_on
from shared.harness.kello import Kello


@pytest.fixture(scope="package")
async def whole(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kello]:
    """Running, with its own topics, databases and sandboxes."""
    async with kello_on(stack, tmp_path_factory.mktemp("sandboxes")) as kello, kello.running(*SERVICES):
        yield kello
