"""Migrations: applied once, in order, recorded, and refused when one that was applied is not what it was."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import ormsgpack
import pytest

from deploy.local.databases import Database, create_database, drop_databases
from deploy.local.stack import Stack
from shared.messaging import migrate as migrations
from shared.messaging.migrate import KIT, Migration, MigrationRefused, migrate, migrations_in
from shared.messaging.outbox import Content, contents

FIRST = Migration("messaging", 1, "initial", "CREATE SCHEMA messaging; CREATE TABLE messaging.inbox (id text)")
SECOND = Migration("billing", 1, "initial", "CREATE TABLE account (id uuid PRIMARY KEY)")
THIRD = Migration("billing", 2, "more", "ALTER TABLE account ADD COLUMN name text")


@pytest.fixture
async def empty(stack: Stack) -> AsyncIterator[Database]:
    name = f"test_migrations_{secrets.token_hex(4)}"  # tests run side by side on one server
    yield await create_database(stack.postgres, "billing", name)
    await drop_databases(stack.postgres, [name])


async def test_each_migration_is_applied_once_and_in_order(empty: Database) -> None:
    assert await migrate(empty.owner_url, "billing", [FIRST, SECOND]) == [FIRST, SECOND]
    assert await migrate(empty.owner_url, "billing", [FIRST, SECOND]) == []
    assert await migrate(empty.owner_url, "billing", [FIRST, SECOND, THIRD]) == [THIRD]


@pytest.mark.parametrize(
    "files",
    [
        [FIRST, replace(SECOND, sql="CREATE TABLE account (id text)")],
        [FIRST, replace(SECOND, name="renamed")],
        [FIRST],
    ],
    ids=["changed", "renamed", "removed"],
)
async def test_a_migration_that_was_applied_cannot_be_changed(empty: Database, files: list[Migration]) -> None:
    await migrate(empty.owner_url, "billing", [FIRST, SECOND])
    with pytest.raises(MigrationRefused, match="was applied"):
        await migrate(empty.owner_url, "billing", [*files, replace(THIRD, component="other", number=1)])
    assert await _tables(empty) == {"account"}


async def test_a_migration_that_fails_leaves_no_trace_and_keeps_those_before(empty: Database) -> None:
    broken = replace(THIRD, sql="CREATE TABLE half (id text); SELECT 1/0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty.owner_url, "billing", [FIRST, SECOND, broken])
    assert await _tables(empty) == {"account"}
    assert await migrate(empty.owner_url, "billing", [FIRST, SECOND, THIRD]) == [THIRD]


async def test_what_waits_in_an_outbox_waits_there_after_the_migration(empty: Database) -> None:
    kit = migrations_in(KIT, Path(migrations.__file__).with_name("migrations"))
    (together,) = (each for each in kit if each.name == "records_together")
    await migrate(empty.owner_url, "billing", kit[: together.number - 1])
    headers = [("ce_id", b"1"), ("null", None)]
    connection = await asyncpg.connect(empty.owner_url)
    try:
        await connection.executemany(
            "INSERT INTO messaging.outbox (event_id, topic, key, value, headers) VALUES ('1', 't', 'k', $1, $2)",
            [(value, ormsgpack.packb(headers)) for value in (b"{}", None, b"x" * 70_000)],
        )
        await migrate(empty.owner_url, "billing", kit)
        rows = await connection.fetch("SELECT topic, key, records FROM messaging.outbox ORDER BY id")
    finally:
        await connection.close()
    assert [(row["topic"], row["key"]) for row in rows] == [("t", b"k")] * 3
    expected = [Content(value, headers) for value in (b"{}", None, b"x" * 70_000)]
    assert [content for row in rows for content in contents(row["records"])] == expected


async def test_the_service_reads_and_writes_rows_but_changes_no_table(empty: Database) -> None:
    await migrate(empty.owner_url, "billing", [FIRST, SECOND])
    service = await asyncpg.connect(empty.url)
    try:
        await service.execute("INSERT INTO account (id) VALUES (gen_random_uuid()); DELETE FROM account")
        await service.execute("INSERT INTO messaging.inbox (id) VALUES ('1'); TRUNCATE messaging.inbox")
        refused = (
            "CREATE TABLE own (id text)",
            "DROP TABLE account",
            "TRUNCATE account",
            "UPDATE migration.applied SET name = 'x'",
            "CREATE SCHEMA own",
        )
        for statement in refused:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(statement)
    finally:
        await service.close()


def test_migrations_are_numbered_without_a_gap(tmp_path: Path) -> None:
    (tmp_path / "0001_initial.sql").write_text("SELECT 1")
    (tmp_path / "0003_gap.sql").write_text("SELECT 1")
    with pytest.raises(MigrationRefused, match="without gap"):
        migrations_in("billing", tmp_path)


async def _tables(database: Database) -> set[str]:
    owner = await asyncpg.connect(database.owner_url)
    try:
        return {row[0] for row in await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    finally:
        await owner.close()
