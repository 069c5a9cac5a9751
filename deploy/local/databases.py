"""A database and two roles per service: `<service>` reads and writes rows, `<service>_owner` changes tables."""

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

import asyncpg

from shared.messaging.database import CONNECT_TIMEOUT_SECONDS
from shared.messaging.migrate import Connection, Migration, migrate, migrations_of

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
PASSWORD = re.compile(r"[A-Za-z0-9_-]{8,200}\Z")
ADVISORY_LOCK = 0x6B656C6C6F  # "kello": one at a time creates roles and templates on a server
DROPS_AT_ONCE = 8
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Database:
    """Where a database is: `url` for the service itself, `owner_url` for migrations, `admin_url` for tests."""

    service: str
    name: str
    url: str
    owner_url: str
    admin_url: str


async def create_database(admin_url: str, service: str, name: str | None = None) -> Database:
    """The database of a service, empty, with its two roles; everything that is there already stays as it is.

    Passwords are derived from the administrator's, so that all who know that one agree without telling each other.
    """
    database = database_of(admin_url, service, name)
    await ensure_database(database)
    return database


async def ensure_database(database: Database) -> None:
    """What `create_database` does, with the names and passwords that the database's URLs have."""
    async with _admin(urlsplit(database.admin_url)._replace(path="/postgres").geturl()) as admin:
        await _create_roles(admin, database.url, database.owner_url)
        if not await _exists(admin, _checked(database.name)):
            await admin.execute(f'CREATE DATABASE "{database.name}" OWNER "{database.service}_owner"')
        await _close_to_others(admin, database.name, database.service)


async def migrated_database(admin_url: str, service: str, name: str | None = None) -> Database:
    """The database of a service, up to date."""
    database = await create_database(admin_url, service, name)
    await migrate(database.owner_url, service)
    return database


async def template_of(admin_url: str, service: str, migrations: list[Migration] | None = None) -> str:
    """The name of a database that is migrated and never used itself, to be cloned: one per state of the migrations."""
    wanted = migrations_of(service) if migrations is None else migrations
    state = hashlib.sha256("".join(m.sha256 for m in wanted).encode()).hexdigest()[:12]
    template = f"template_{service}_{state}"
    async with _admin(admin_url) as admin:
        own = database_of(admin_url, service)
        await _create_roles(admin, own.url, own.owner_url)
        if not await _exists(admin, template):
            making = f"{template}_making"  # renamed when complete, so that a half-made one is never cloned
            await admin.execute(f'DROP DATABASE IF EXISTS "{making}" WITH (FORCE)')
            await admin.execute(f'CREATE DATABASE "{making}" OWNER "{service}_owner"')
            await migrate(database_of(admin_url, service, making).owner_url, service, wanted)
            await admin.execute(f'ALTER DATABASE "{making}" RENAME TO "{template}"')
            await _close_to_others(admin, template, service)
    return template


async def clone_database(admin_url: str, service: str, template: str, name: str) -> Database:
    """A new database that equals the template."""
    database = database_of(admin_url, service, name)
    async with _session(admin_url) as admin:
        await admin.execute(f'CREATE DATABASE "{database.name}" OWNER "{service}_owner" TEMPLATE "{template}"')
        await _close_to_others(admin, database.name, service)
    return database


async def drop_databases(admin_url: str, names: Sequence[str]) -> None:
    """Drop databases, whoever is still connected; names that do not exist are passed over."""
    waiting = list(names)

    async def drop_some() -> None:
        async with _session(admin_url) as admin:
            while waiting:
                await admin.execute(f'DROP DATABASE IF EXISTS "{_checked(waiting.pop())}" WITH (FORCE)')

    # each drop waits for a checkpoint, and those who wait together share one
    await asyncio.gather(*(drop_some() for _ in range(min(len(waiting), DROPS_AT_ONCE))))


def database_of(admin_url: str, service: str, name: str | None = None) -> Database:
    """Where the database of a service is, whether it exists or not."""
    name = _checked(name or service)
    parts = urlsplit(admin_url)
    address = f"{parts.hostname}:{parts.port or 5432}/{name}"

    def url(role: str) -> str:
        return f"postgresql://{role}:{_password(admin_url, role)}@{address}"

    admin = parts._replace(path=f"/{name}").geturl()
    return Database(service, name, url(_checked(service)), url(f"{service}_owner"), admin)


def _password(admin_url: str, role: str) -> str:
    secret = unquote(urlsplit(admin_url).password or "")
    return quote(hmac.new(secret.encode(), f"kello {role}".encode(), hashlib.sha256).hexdigest()[:40])


def _checked(name: str) -> str:
    """Names cannot be parameters of these statements; what NAME lets through cannot break out of the quotes."""
    if not NAME.match(name):
        raise ValueError(f"{name!r} is no name for a database or role of Kello")
    return name


@asynccontextmanager
async def _admin(admin_url: str) -> AsyncIterator[Connection]:
    """An administrator's session under the advisory lock."""
    async with _session(admin_url) as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
        yield connection


@asynccontextmanager
async def _session(admin_url: str) -> AsyncIterator[Connection]:
    """An administrator's session. What it asks for waits for checkpoints, and those for the disk."""
    connection = await asyncpg.connect(
        admin_url,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=PATIENCE_SECONDS,
        server_settings={"application_name": "kello local"},
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _exists(admin: Connection, name: str) -> bool:
    return bool(await admin.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name))


async def _create_roles(admin: Connection, *urls: str) -> None:
    for url in map(urlsplit, urls):
        role, password = _checked(url.username or ""), unquote(url.password or "")
        if not PASSWORD.match(password):
            raise ValueError(f"the password of {role} must be letters, digits, dashes and underscores")
        try:
            await admin.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD '{password}'")
        except asyncpg.DuplicateObjectError:
            await admin.execute(f"ALTER ROLE \"{role}\" LOGIN PASSWORD '{password}'")


async def _close_to_others(admin: Connection, name: str, service: str) -> None:
    """PUBLIC may connect to every new database: not to this one."""
    await admin.execute(
        f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC; GRANT CONNECT ON DATABASE "{name}" TO "{service}"'
    )
