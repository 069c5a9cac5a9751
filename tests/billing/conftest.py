"""Billing at work, once for all tests that share it: each has customers of its own."""

from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import Stack
from shared.harness.ground import kello_on
from shared.harness.kello import Kello


@pytest.fixture(scope="package")
async def billing(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kello]:
    """Running, with its own topics, database and sandboxes. One that moves the clock takes `kello`."""
    async with kello_on(stack, tmp_path_factory.mktemp("sandboxes")) as kello, kello.running("billing"):
        yield kello
