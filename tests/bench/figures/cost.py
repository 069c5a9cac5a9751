"""What an event costs, by the size of a batch: SQL statements, WAL bytes, CPU."""

import asyncio
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import asyncpg

from deploy.local.services import Service
from tests.bench.contest import KELLO, kello
from tests.bench.race import run
from tests.bench.report import Figure
from tests.bench.stage import Ground, Stage

CUSTOMERS = 10_000
SIZES = {1: 300, 10: 2_000, 100: 8_000, 1000: 20_000}
"""The largest batch allowed, and how many purchases are billed so."""
COUNTED = re.compile(r"^kello_batch_records_(count|sum)\{.*\} (\S+)$", re.MULTILINE)

OF_THE_RELAY = "relay_position|FROM messaging.outbox"
OF_WATCH_AND_TASKS = r"^\s*(SELECT since|SELECT kind, state|SELECT count|SELECT topic, partition|UPDATE messaging.task)"
OF_CLAIMS = r"^\s*(INSERT INTO messaging.consumer_offset|SELECT o.topic)"
OF_ASYNCPG = "RESET ALL|pg_advisory|pg_try_advisory|CLOSE ALL|UNLISTEN|typeinfo_tree|current_setting"
NOT_OF_THE_BATCH = f"{OF_THE_RELAY}|{OF_WATCH_AND_TASKS}|{OF_CLAIMS}|{OF_ASYNCPG}"
"""Statements that come by their own clock, or when a connection is lent out."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums since the start of the server or of the process."""

    batches: float
    records: float
    statements: float
    statements_relay: float
    wal_bytes: float

    def __sub__(self, other: "Spent") -> "Spent":
        mine, theirs = (
            (each.batches, each.records, each.statements, each.statements_relay, each.wal_bytes)
            for each in (self, other)
        )
        return Spent(*(a - b for a, b in zip(mine, theirs, strict=True)))


def measure(stage: Stage) -> list[Figure]:
    """Statements per batch and, per event, WAL bytes and the CPU of each part; at each size of a batch."""
    with _counting_statements(stage):
        return [figure for size, count in SIZES.items() for figure in _at(stage, size, count)]


def _at(stage: Stage, size: int, count: int) -> list[Figure]:
    stage.say(f"Cost in batches of {size}")
    looks: list[Spent] = []

    async def observe(ground: Ground) -> None:
        looks.append(await _look(ground))

    limited = replace(KELLO, start=partial(kello, environment={"KELLO_BATCH_RECORDS_MAX": str(size)}))
    done = run(stage, limited, count, CUSTOMERS, observe=observe)
    begun = next((look for look in looks if look.records >= count // 10), looks[0])
    spent = looks[-1] - begun
    note = f"{spent.records / max(spent.batches, 1):.0f} records a batch on average"
    own, postgres, kafka = done.cpu_microseconds
    events = max(spent.records, 1)
    at = f"batches of {size}"
    return [
        Figure(f"{at}: statements of a batch", "statements", (spent.statements / max(spent.batches, 1),), None, note),
        Figure(f"{at}: statements of relay and house", "per event", (spent.statements_relay / events,)),
        Figure(f"{at}: WAL", "bytes/event", (spent.wal_bytes / events,)),
        Figure(f"{at}: CPU of billing", "µs/event", (own,)),
        Figure(f"{at}: CPU of PostgreSQL", "µs/event", (postgres,)),
        Figure(f"{at}: CPU of Kafka", "µs/event", (kafka,)),
    ]


async def _look(ground: Ground) -> Spent:
    (service,) = ground.programs
    assert isinstance(service, Service)
    metrics = await asyncio.to_thread(_metrics, service.url)
    connection = await asyncpg.connect(ground.stage.postgres)
    try:
        row = await connection.fetchrow(
            """
            SELECT coalesce(sum(calls) FILTER (WHERE query !~ $2), 0) AS batch,
                coalesce(sum(calls) FILTER (WHERE query ~ $2), 0) AS relay,
                pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal
            FROM pg_stat_statements AS s JOIN pg_roles AS r ON r.oid = s.userid
            WHERE r.rolname = $1 AND s.dbid = (SELECT oid FROM pg_database WHERE datname = $3)
            """,
            service.name,
            NOT_OF_THE_BATCH,
            ground.databases[0],
        )
    finally:
        await connection.close()
    assert row is not None
    return Spent(
        metrics.get("count", 0), metrics.get("sum", 0), float(row["batch"]), float(row["relay"]), float(row["wal"])
    )


def _metrics(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:  # noqa: S310 - http, ours
        return {name: float(value) for name, value in COUNTED.findall(answer.read().decode())}


@contextmanager
def _counting_statements(stage: Stage) -> Iterator[None]:
    """Restarts PostgreSQL with pg_stat_statements, for this alone: counting costs a little."""
    asyncio.run(_preload(stage, "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'"))
    asyncio.run(stage.execute("postgres", "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"))
    try:
        yield
    finally:
        asyncio.run(_preload(stage, "ALTER SYSTEM RESET shared_preload_libraries"))


async def _preload(stage: Stage, sql: str) -> None:
    await stage.execute("postgres", sql)
    server = stage.stack.server
    assert server is not None
    server.stop()
    server.start()
