"""The ground of one test's Kello on shared servers: topics under a prefix, databases from a template, sandboxes."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local.databases import Database, clone_database, drop_databases, template_of
from deploy.local.sandboxes import Sandboxes
from deploy.local.stack import Stack
from deploy.local.topics import Topic, create_topics, delete_topics, plan
from shared.harness.kello import Kello
from shared.messaging.migrate import Migration

PARTITIONS = 3


@asynccontextmanager
async def kello_on(
    stack: Stack, folder: Path, topics: Sequence[Topic] | None = None, migrations: list[Migration] | None = None
) -> AsyncIterator[Kello]:
    """A Kello in which nothing runs yet; its topics and databases are gone at the end.

    The sandboxes keep their state in `folder`. `topics` and `migrations` replace the planned ones and the service's
    own, for a service that is none of the four.
    """
    prefix = f"test-{secrets.token_hex(4)}."
    names = await create_topics(stack.kafka, topics or plan(), prefix=prefix, partitions=PARTITIONS)
    try:
        async with databases_on(stack, migrations) as database, Sandboxes(folder) as sandboxes:
            kello = Kello(stack.kafka, prefix, database, sandboxes)
            try:
                yield kello
            finally:
                await kello.close()
    finally:
        await delete_topics(stack.kafka, names)


@asynccontextmanager
async def databases_on(
    stack: Stack, migrations: list[Migration] | None = None
) -> AsyncIterator[Callable[[str], Awaitable[Database]]]:
    """Makes databases of services, migrated, each a clone of its template; they are gone at the end."""
    made: list[str] = []
    templates: dict[str, str] = {}

    async def database(service: str) -> Database:
        if service not in templates:
            templates[service] = await template_of(stack.postgres, service, migrations)
        made.append(f"test_{service}_{secrets.token_hex(6)}")
        return await clone_database(stack.postgres, service, templates[service], made[-1])

    try:
        yield database
    finally:
        await drop_databases(stack.postgres, made)
