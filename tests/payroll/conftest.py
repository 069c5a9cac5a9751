"""Payroll, running: one for a whole module, in which each test has a department of its own; or one for a test alone."""

import secrets
from collections.abc import AsyncIterator

import pytest

from deploy.local.databases import Database, clone_database, drop_databases, template_of
from deploy.local.sandboxes import Sandboxes
from deploy.local.stack import Stack
from deploy.local.topics import create_topics, delete_topics, plan
from shared.harness.kello import Kello
from tests.payroll.company import Company

PARTITIONS = 3


@pytest.fixture(scope="module")
async def running_payroll(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kello]:
    """Topics, a database and a payroll service for the tests of a module, because a start takes longer than a run."""
    prefix = f"test-{secrets.token_hex(4)}."
    made: list[str] = []

    async def clone(service: str) -> Database:
        made.append(f"test_{service}_{secrets.token_hex(6)}")
        return await clone_database(stack.postgres, service, await template_of(stack.postgres, service), made[-1])

    topics = await create_topics(stack.kafka, plan(), prefix=prefix, partitions=PARTITIONS)
    async with Sandboxes(tmp_path_factory.mktemp("sandboxes")) as sandboxes:
        kello = Kello(stack.kafka, prefix, clone, sandboxes)
        async with kello.running("payroll"):
            yield kello
        await kello.close()
    await delete_topics(stack.kafka, topics)
    await drop_databases(stack.postgres, made)


@pytest.fixture
async def company(running_payroll: Kello) -> Company:
    """A department that no other test knows. Its staff, its runs and its payments are this test's alone."""
    return Company(running_payroll, f"dept-{secrets.token_hex(4)}")


@pytest.fixture
async def own_company(kello: Kello) -> AsyncIterator[Company]:
    """Everything for this test alone, where it looks at more than one department or leaves something unfinished."""
    async with kello.running("payroll"):
        yield Company(kello)
