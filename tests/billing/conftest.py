"""Billing at work, once for all tests that share it: each has customers of its own."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.databases import Database, clone_database, drop_databases, template_of
from deploy.local.sandboxes import Sandboxes
from deploy.local.stack import Stack
from deploy.local.topics import create_topics, delete_topics, plan
from shared.harness.kello import Kello

PARTITIONS = 3


@pytest.fixture(scope="package")
async def billing(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kello]:
    """Running, with its own topics, database and sandboxes. One that moves the clock takes `kello`."""
    prefix = f"test-{secrets.token_hex(4)}."
    made: list[str] = []

    async def clone(service: str) -> Database:
        made.append(f"test_{service}_{secrets.token_hex(6)}")
        return await clone_database(stack.postgres, service, await template_of(stack.postgres, service), made[-1])

    topics = await create_topics(stack.kafka, plan(), prefix=prefix, partitions=PARTITIONS)
    state: Path = tmp_path_factory.mktemp("billing")
    async with Sandboxes(state / "sandboxes") as sandboxes:
        kello = Kello(stack.kafka, prefix, clone, sandboxes)
        async with kello.running("billing"):
            yield kello
        await kello.close()
    await drop_databases(stack.postgres, made)
    await delete_topics(stack.kafka, topics)
