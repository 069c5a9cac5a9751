"""How a database gets to its schema: numbered SQL files, applied in order, once each, and never changed again.

    KELLO_DATABASE_URL=<the owner's> python -m shared.messaging.migrate billing

The kit's migrations come first, then the service's. They run as the owner of the database; the role that the service
itself uses is named like the service and gets what it needs here: it reads and writes rows, and changes no table.
"""

import asyncio
import hashlib
import os
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from shared.messaging.database import connect, without_password

KIT = "messaging"
FILE_NAME = re.compile(r"(?P<number>[0-9]{4})_(?P<name>[a-z0-9_]+)\.sql\Z")
SERVICE_NAME = re.compile(r"[a-z][a-z0-9_]{0,50}\Z")
ADVISORY_LOCK = 0x6B656C6C6F  # "kello": one migration at a time in a database
MIGRATION_SECONDS = 600

Connection = asyncpg.Connection


class MigrationRefused(Exception):
    """The files and the record of what was applied contradict each other; nothing was changed."""


@dataclass(frozen=True)
class Migration:
    """One file, such as services/billing/migrations/0001_initial.sql."""

    component: str
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.component} {self.number:04d}_{self.name}"


def migrations_of(service: str) -> list[Migration]:
    """The kit's migrations, then the service's, each in order of their numbers. Raises MigrationRefused."""
    if not SERVICE_NAME.match(service):
        raise MigrationRefused(f"{service!r} is no name of a service")
    spec = find_spec(f"services.{service}")
    if spec is None or spec.origin is None:
        raise MigrationRefused(f"there is no service {service}: services/{service} is missing")
    kit = migrations_in(KIT, Path(__file__).with_name("migrations"))
    return kit + migrations_in(service, Path(spec.origin).with_name("migrations"))


def migrations_in(component: str, folder: Path) -> list[Migration]:
    """The migrations of one folder: 0001_….sql, 0002_….sql and so on without a gap. Raises MigrationRefused."""
    found = [_read(component, path) for path in sorted(folder.glob("*.sql"))]
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise MigrationRefused(f"the migrations of {component} must be numbered 0001, 0002 …, without gap or double")
    return found


async def migrate(owner_url: str, service: str, migrations: list[Migration] | None = None) -> list[Migration]:
    """Bring a database up to date; gives what was applied now. Two at a time wait for each other.

    Each migration and its record are one transaction. Raises MigrationRefused where one that was applied was changed,
    renamed or removed since, and PostgreSQL's own error where one fails: those before it stay applied.
    """
    wanted = migrations_of(service) if migrations is None else migrations
    connection = await connect(owner_url, application="kello migrate")
    try:
        await connection.execute("SELECT set_config('statement_timeout', '0', false)")  # a large table takes its time
        await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK, timeout=MIGRATION_SECONDS)
        return await _migrate(connection, service, wanted)
    finally:
        await connection.close()


def main() -> None:
    """The command line: the service's name as argument, the owner's address in KELLO_DATABASE_URL."""
    if len(sys.argv) != 2 or "KELLO_DATABASE_URL" not in os.environ:
        sys.exit(__doc__)
    url = os.environ["KELLO_DATABASE_URL"]
    try:
        applied = asyncio.run(migrate(url, sys.argv[1]))
    except (MigrationRefused, asyncpg.PostgresError, OSError) as failure:
        sys.exit(f"{without_password(url)}: {failure}")
    for migration in applied:
        print(f"applied {migration}")  # noqa: T201 - the command's output
    print(f"{without_password(url)} is up to date")  # noqa: T201 - the command's output


def _read(component: str, path: Path) -> Migration:
    matched = FILE_NAME.match(path.name)
    if not matched:
        raise MigrationRefused(f"{path.name}: a migration of {component} is named like 0001_what_it_does.sql")
    return Migration(component, int(matched["number"]), matched["name"], path.read_text())


async def _migrate(connection: Connection, service: str, wanted: list[Migration]) -> list[Migration]:
    await _make_record(connection)
    pending = _pending(wanted, await _applied(connection))
    await _grant_to_service(connection, service)
    for migration in pending:
        async with connection.transaction():
            await connection.execute(migration.sql, timeout=MIGRATION_SECONDS)
            await _record(connection, migration)
    await _grant_kit_to_service(connection, service)
    return pending


async def _make_record(connection: Connection) -> None:
    await connection.execute("""
        CREATE SCHEMA IF NOT EXISTS migration;
        CREATE TABLE IF NOT EXISTS migration.applied (
            component text NOT NULL,
            number integer NOT NULL,
            name text NOT NULL,
            sha256 text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (component, number)
        )
    """)


async def _applied(connection: Connection) -> dict[tuple[str, int], tuple[str, str]]:
    rows = await connection.fetch("SELECT component, number, name, sha256 FROM migration.applied")
    return {(row["component"], row["number"]): (row["name"], row["sha256"]) for row in rows}


def _pending(wanted: list[Migration], applied: dict[tuple[str, int], tuple[str, str]]) -> list[Migration]:
    left = dict(applied)
    pending = []
    for migration in wanted:
        before = left.pop((migration.component, migration.number), None)
        if before is None:
            pending.append(migration)
        elif before != (migration.name, migration.sha256):
            raise MigrationRefused(f"{migration} was applied and changed since: write a new migration instead")
    for (component, number), (name, _) in left.items():
        raise MigrationRefused(
            f"{component} {number:04d}_{name} was applied and is not among the files: is this an old copy?"
        )
    return pending


async def _record(connection: Connection, migration: Migration) -> None:
    await connection.execute(
        "INSERT INTO migration.applied (component, number, name, sha256) VALUES ($1, $2, $3, $4)",
        migration.component,
        migration.number,
        migration.name,
        migration.sha256,
    )


async def _grant_to_service(connection: Connection, service: str) -> None:
    """What the migrations will create in public is the service's to read and write, unless one says otherwise."""
    role = _identifier(service)
    await connection.execute(f"""
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {role}
    """)


async def _grant_kit_to_service(connection: Connection, service: str) -> None:
    """The kit's tables are the service's wholly: it empties the older inbox by TRUNCATE."""
    if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", KIT):
        return
    role = _identifier(service)
    await connection.execute(f"""
        GRANT USAGE ON SCHEMA {KIT} TO {role};
        GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA {KIT} TO {role};
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA {KIT} TO {role}
    """)


def _identifier(service: str) -> str:
    """A role cannot be a parameter of a statement; SERVICE_NAME leaves nothing that could break out of the quotes."""
    if not SERVICE_NAME.match(service):
        raise MigrationRefused(f"{service!r} is no name of a service")
    return f'"{service}"'


if __name__ == "__main__":
    main()
