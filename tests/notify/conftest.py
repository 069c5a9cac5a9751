"""Notify at work, once for all tests that share it: each has people of its own."""

from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import Stack
from shared.harness.ground import kello_on
from shared.harness.kello import Kello


@pytest.fixture(scope="package")
async def notify(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kello]:
    """Running, with its own topics, database and sandboxes. A test that moves the clock or kills takes `kello`."""
    async with kello_on(stack, tmp_path_factory.mktemp("sandboxes")) as kello, kello.running("notify"):
        yield kello
