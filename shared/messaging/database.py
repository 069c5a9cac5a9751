"""PostgreSQL as the kit uses it: a pool in which everything has a timeout, and what its errors mean."""

import asyncio
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg

from shared.messaging import tracing

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Tx: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
"""A connection inside a transaction that somebody else opened and will commit."""
Row: TypeAlias = asyncpg.Record

COMMAND_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 5.0
ACQUIRE_TIMEOUT_SECONDS = 5.0

SESSION = {
    "lock_timeout": "5s",
    "statement_timeout": "10s",
    # A frozen owner must not hold a claim: its transaction ends, its locks go.
    "idle_in_transaction_session_timeout": "5s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "jit": "off",
}


class Conflict(Exception):
    """A row that was loaded is not what it was, or a new root exists already: the batch is run again."""


class Transient(Exception):
    """The world's failure: PostgreSQL, Kafka or a provider does not answer, or says "later". It is waited for."""


async def connect_pool(database_url: str, *, application: str, size_max: int = 8) -> Pool:
    """A pool whose connects, acquires and commands all end in bounded time."""
    return await asyncpg.create_pool(
        database_url,
        min_size=1,
        max_size=size_max,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        max_inactive_connection_lifetime=60,
        reset=_leave_as_it_is,
        connection_class=tracing.connection_class(),
        server_settings={"application_name": application, **SESSION},
    )


async def _leave_as_it_is(_connection: object) -> None:
    """Nobody changes a session of the pool, so asyncpg's own reset is a round trip for nothing."""


async def connect(
    database_url: str, *, application: str, waits_for_disk: bool = True
) -> "asyncpg.Connection[asyncpg.Record]":
    """One session of its own, for what a session holds: advisory locks and the relay.

    Where it does not wait for the disk, a crash of PostgreSQL may take back the last moments of what it wrote.
    """
    durability = {} if waits_for_disk else {"synchronous_commit": "off"}
    return await asyncpg.connect(
        database_url,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        connection_class=tracing.connection_class(),
        server_settings={"application_name": application, **SESSION, **durability},
    )


def expect_rows(status: str, count: int) -> None:
    """Reads a command tag such as `UPDATE 3`. Raises Conflict where another transaction changed a row meanwhile."""
    changed = int(status.rsplit(" ", 1)[1])
    if changed != count:
        raise Conflict(f"{count} rows were to change and {changed} did")


def is_transient(error: BaseException) -> bool:
    """Whether waiting can help: a lost or refused connection, a timeout, a deadlock, a full disk, a missing migration.

    A backend that is killed in the middle of a transaction surfaces as InterfaceError or InternalClientError.
    """
    if isinstance(error, asyncpg.PostgresError):
        return _sqlstate_class(error) in WAITS
    return isinstance(
        error, (Transient, OSError, asyncio.TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    )


WAITS = {
    "08",  # connection lost
    "25",  # the transaction was ended, by idle_in_transaction_session_timeout for one
    "28",  # not let in: an operator's mistake, no message's
    "3D",  # the database is not there (yet)
    "40",  # deadlock, serialization failure
    "42",  # a table or a right is missing: the migrations did not run (yet)
    "53",  # out of memory, disk or connections
    "55",  # a lock was not to be had in time
    "57",  # shutting down, starting up, or cancelled by a timeout
    "58",  # an I/O error below PostgreSQL
    "XX",  # PostgreSQL's own error
}


def is_the_data(error: BaseException) -> bool:
    """Whether a value is to blame: SQLSTATE class 22 or 23. asyncpg's own encoding errors carry 22000."""
    return isinstance(error, asyncpg.PostgresError) and _sqlstate_class(error) in {"22", "23"}


def _sqlstate_class(error: asyncpg.PostgresError) -> str:
    return str(getattr(error, "sqlstate", None) or "")[:2]


def without_password(database_url: str) -> str:
    """A database address that may be logged."""
    parts = urlsplit(database_url)
    return f"{parts.hostname}:{parts.port or 5432}{parts.path}"
