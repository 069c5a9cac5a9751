"""All four services at work, once for all journeys: each journey has people of its own."""

import secrets
from collections.abc import AsyncIterator

import pytest

from deploy.local.databases import Database, clone_database, drop_databases, template_of
from deploy.local.demo.world import SERVICES
from deploy.local.sandboxes import Sandboxes
from deploy.local.stack import Stack
from deploy.local.topics import create_topics, delete_topics, plan
from shared.harness.kello import Kello

PARTITIONS = 3


@pytest.fixture(scope="package")
async def whole(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kello]:
    """Running, with its own topics, databases and sandboxes."""
    prefix = f"test-{secrets.token_hex(4)}."
    made: list[str] = []

    async def clone(service: str) -> Database:
        made.append(f"test_{service}_{secrets.token_hex(6)}")
        return await clone_database(stack.postgres, service, await template_of(stack.postgres, service), made[-1])

    topics = await create_topics(stack.kafka, plan(), prefix=prefix, partitions=PARTITIONS)
    async with Sandboxes(tmp_path_factory.mktemp("journeys") / "sandboxes") as sandboxes:
        kello = Kello(stack.kafka, prefix, clone, sandboxes)
        async with kello.running(*SERVICES):
            yield kello
        await kello.close()
    await drop_databases(stack.postgres, made)
    await delete_topics(stack.kafka, topics)
