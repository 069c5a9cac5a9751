"""Databases and roles: each service reaches its own database and no other."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy.local.databases import (
    Database,
    clone_database,
    create_database,
    database_of,
    drop_databases,
    template_of,
)
from deploy.local.stack import Stack
from shared.messaging.migrate import Migration

TABLE = [Migration("billing", 1, "initial", f"CREATE TABLE thing_{secrets.token_hex(4)} (id text)")]


@pytest.fixture
async def billing_and_notify(stack: Stack) -> AsyncIterator[tuple[Database, Database]]:
    names = [f"test_isolation_{secrets.token_hex(4)}" for _ in range(2)]
    yield (
        await create_database(stack.postgres, "billing", names[0]),
        await create_database(stack.postgres, "notify", names[1]),
    )
    await drop_databases(stack.postgres, names)


async def test_a_role_cannot_connect_to_another_services_database(
    billing_and_notify: tuple[Database, Database], stack: Stack
) -> None:
    billing, notify = billing_and_notify
    for role in (billing.url, billing.owner_url):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(_in_database(role, notify.name))
    await (await asyncpg.connect(billing.url)).close()
    if stack.server:  # a server that was there before us keeps the doors that it had
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(_in_database(billing.url, "postgres"))


async def test_a_wrong_password_is_refused(billing_and_notify: tuple[Database, Database]) -> None:
    billing, _ = billing_and_notify
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(billing.url, password="wrong")


async def test_creating_a_database_again_keeps_what_is_in_it(billing_and_notify: tuple[Database, Database]) -> None:
    billing, _ = billing_and_notify
    owner = await asyncpg.connect(billing.owner_url)
    try:
        await owner.execute("CREATE TABLE kept (id text)")
        assert await create_database(billing.admin_url, "billing", billing.name) == billing
        assert await owner.fetchval("SELECT count(*) FROM kept") == 0
    finally:
        await owner.close()


async def test_a_clone_equals_its_template_and_is_closed_to_others(stack: Stack) -> None:
    template = await template_of(stack.postgres, "billing", TABLE)
    assert await template_of(stack.postgres, "billing", TABLE) == template
    clone = await clone_database(stack.postgres, "billing", template, f"test_clone_{secrets.token_hex(4)}")
    try:
        service = await asyncpg.connect(clone.url)
        assert await service.fetchval("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'thing_%'") == 1
        await service.close()
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(_in_database(database_of(stack.postgres, "notify").url, clone.name))
    finally:
        await drop_databases(stack.postgres, [clone.name, template])


def test_a_name_that_could_break_out_of_a_statement_is_refused() -> None:
    with pytest.raises(ValueError, match="no name"):
        database_of("postgresql://postgres:x@127.0.0.1/postgres", "billing", 'x"; DROP DATABASE billing')


def _in_database(url: str, name: str) -> str:
    return f"{url.rpartition('/')[0]}/{name}"
