"""The business clock of a test's services: moved in their databases, while real time goes on."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import asyncpg

from deploy.local.databases import Database

CONNECT_SECONDS = 5
QUERY_SECONDS = 10


class Clock:
    """Every service of a test has the same time, unless one alone is moved.

    What is due then is done by the services within a poll of theirs: `expect` waits for it.
    """

    def __init__(self, databases: Mapping[str, Database]) -> None:
        self._databases = databases
        self._shift = timedelta()

    async def move(self, service: str | None = None, **delta: float) -> None:
        """Moves the clock of one service, or of all: `days=3`, `hours=-1`, whatever timedelta takes."""
        if service is None:
            self._shift += timedelta(**delta)
        for database in self._databases.values() if service is None else (self._databases[service],):
            await _shift(database, timedelta(**delta))

    async def now(self, service: str) -> datetime:
        """What time it is for a service."""
        connection = await _connected(self._databases[service])
        try:
            moment: datetime = await connection.fetchval("SELECT messaging.kello_now()", timeout=QUERY_SECONDS)
        finally:
            await connection.close()
        return moment

    async def set(self, database: Database) -> None:
        """Gives a new database the time that all others have."""
        if self._shift:
            await _shift(database, self._shift)


async def _shift(database: Database, delta: timedelta) -> None:
    connection = await _connected(database)
    try:
        await connection.execute("UPDATE messaging.clock SET shift = shift + $1", delta, timeout=QUERY_SECONDS)
    finally:
        await connection.close()


async def _connected(database: Database) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(database.admin_url, timeout=CONNECT_SECONDS)
