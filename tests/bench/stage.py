"""Where everything is measured: a Kafka and a PostgreSQL of our own, topics and databases for each run."""

import asyncio
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import count
from pathlib import Path

import asyncpg
from aiokafka.admin import NewTopic

from deploy.local.databases import Database, clone_database, drop_databases, template_of
from deploy.local.processes import Program
from deploy.local.stack import Stack
from deploy.local.topics import admin_client, create_topics, delete_topics, plan
from shared.messaging.topics import partitions_of
from tests.bench.processes import Use, use_of

ROOT = Path(__file__).parents[2]
STATE = ROOT / ".kello" / "bench"
TOPICS_SECONDS = 30
POLL_SECONDS = 0.1
BILLING_TOPICS = ("sales.events", "billing.commands", "customer.profiles", "billing.events", "billing.dead-letters")


@dataclass
class Ground:
    """One run's own topics (under `prefix`), databases and programs. All of it is gone at the end of the run."""

    stage: "Stage"
    number: int
    topics: Sequence[str]
    programs: list[Program] = field(default_factory=list)
    databases: list[str] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        return f"r{self.number}."

    @property
    def folder(self) -> Path:
        return self.stage.folder / "runs" / str(self.number)

    def topic(self, name: str) -> str:
        return self.prefix + name

    def make_topics(self, names: Sequence[str], partitions: int) -> None:
        """Topics that a library would make itself, had it the time: compacted, and known to the cluster."""
        asyncio.run(self._make_topics([self.topic(name) for name in names], partitions))

    def service_database(self, service: str) -> Database:
        """A database as the service's migrations make it."""
        name = f"bench_{self.number}_{service}"
        self.databases.append(name)
        return asyncio.run(self._cloned(service, name))

    def plain_database(self, schema: str) -> str:
        """An empty database with these tables; gives its administrator's URL."""
        name = f"bench_{self.number}"
        self.databases.append(name)
        asyncio.run(self._made(name, schema))
        return self.stage.database_url(name)

    def run(self, program: Program) -> Program:
        """Launch a program; it ends with the run. Its `wait_ready` is the caller's to call."""
        program.launch()
        self.programs.append(program)
        return program

    def uses(self) -> list[Use]:
        """Of each program."""
        return [use_of(program.process.pid) for program in self.programs]

    def check_alive(self) -> None:
        """Raises RuntimeError with the end of the log of a program that has ended."""
        for program in self.programs:
            if not program.alive:
                raise RuntimeError(f"{program.name} ended. Its log:\n{program.process.log_tail()}")

    def close(self) -> None:
        for program in self.programs:
            program.process.send(program.process.stop_signal)
        for program in self.programs:
            program.stop()
        asyncio.run(self._remove())

    async def _make_topics(self, names: list[str], partitions: int) -> None:
        compacted = {"cleanup.policy": "compact"}
        async with admin_client(self.stage.kafka) as admin, asyncio.timeout(TOPICS_SECONDS):
            await admin.create_topics(
                [NewTopic(name, partitions, replication_factor=1, topic_configs=compacted) for name in names]
            )
            while True:
                known = await partitions_of([self.stage.kafka], names)
                if sum(len(places) for places in known.values()) == partitions * len(names):
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def _cloned(self, service: str, name: str) -> Database:
        postgres = self.stage.postgres
        return await clone_database(postgres, service, await template_of(postgres, service), name)

    async def _made(self, name: str, schema: str) -> None:
        admin = await asyncpg.connect(self.stage.postgres)
        await admin.execute(f'CREATE DATABASE "{name}"')
        await admin.close()
        database = await asyncpg.connect(self.stage.database_url(name))
        await database.execute(schema)
        await database.close()

    async def _remove(self) -> None:
        async with admin_client(self.stage.kafka) as admin:
            made = [name for name in await admin.list_topics() if name.startswith(self.prefix)]  # changelogs, too
        await delete_topics(self.stage.kafka, made)
        await drop_databases(self.stage.postgres, self.databases)


@dataclass
class Stage:
    """The servers, between `opened` and its end. `quick` asks for shorter runs of everything."""

    folder: Path
    quick: bool
    say: Callable[[str], None]
    stack: Stack
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def kafka(self) -> str:
        return self.stack.kafka

    @property
    def postgres(self) -> str:
        return self.stack.postgres

    def database_url(self, name: str) -> str:
        """The administrator's, of any database."""
        return self.postgres.rpartition("/")[0] + f"/{name}"

    @contextmanager
    def ground(self, topics: Sequence[str] = BILLING_TOPICS) -> Iterator[Ground]:
        """Fresh topics; nothing dirty is left over in PostgreSQL from the run before."""
        ground = Ground(self, next(self._numbers), topics)
        planned = [topic for topic in plan() if topic.name in topics]
        asyncio.run(create_topics(self.kafka, planned, prefix=ground.prefix))
        ground.folder.mkdir(parents=True)
        try:
            asyncio.run(self.execute("postgres", "CHECKPOINT"))
            yield ground
        finally:
            ground.close()

    async def execute(self, database: str, sql: str) -> None:
        """As the administrator, however long it takes."""
        connection = await asyncpg.connect(self.database_url(database))
        try:
            await connection.execute(sql, timeout=3600)
        finally:
            await connection.close()

    def server_use(self) -> tuple[Use, Use]:
        """Of PostgreSQL and of Kafka."""
        broker, server = self.stack.broker, self.stack.server
        assert broker is not None  # the servers are our own
        assert server is not None
        return use_of(server.process.pid), use_of(broker.process.pid)

    def conditions(self) -> dict[str, str]:
        """What the figures depend on, for the reader."""
        return {
            "Kafka": f"Apache Kafka {_kafka_version()}, one node, acks=all",
            "PostgreSQL": asyncio.run(self._server_version()) + ", fsync and synchronous_commit on",
            "Python": platform.python_version(),
            "machine": f"{os.cpu_count()} cores, {_memory_gib()} GiB, for the servers and all programs together",
            "FastStream": version("faststream"),
            "aiokafka": version("aiokafka"),
            "asyncpg": version("asyncpg"),
        }

    async def _server_version(self) -> str:
        connection = await asyncpg.connect(self.postgres)
        try:
            row = await connection.fetchrow(
                "SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,"
                " current_setting('synchronous_commit') AS commits"
            )
        finally:
            await connection.close()
        assert row is not None
        assert (row["fsync"], row["commits"]) == ("on", "on")
        return f"PostgreSQL {row['version']}"


@contextmanager
def opened(*, quick: bool, say: Callable[[str], None]) -> Iterator[Stage]:
    """The servers, started on an empty folder: what was measured before is not in their files."""
    for name in ("kafka", "postgres", "runs"):
        shutil.rmtree(STATE / name, ignore_errors=True)
    with Stack(STATE, say, environment={}) as stack:
        yield Stage(STATE, quick, say, stack)


def _kafka_version() -> str:
    """As the first line of the list of its jars says."""
    found = re.search(r"Apache Kafka ([\d.]+)", (ROOT / "deploy" / "local" / "kafka.lock").read_text())
    return found[1] if found else "of unknown version"


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
