"""All of Kello, or some services of it, on a ground: processes as shipped, a mail sink, the gateway's sandbox."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import asyncpg
from aiokafka import AIOKafkaConsumer

from deploy.local.databases import Database
from deploy.local.ports import free_port
from deploy.local.processes import Child, Program, spawn
from deploy.local.services import Service
from deploy.local.system import Sandboxes
from deploy.local.topics import plan
from shared.messaging.topics import partitions_of
from shared.schemas.base import Payload
from tests.bench.stage import ROOT, Ground
from tests.bench.wire import Record, publish, record_of

SERVICES = ("billing", "customer", "notify", "payroll")
POLL_SECONDS = 0.1
ALL_TOPICS = tuple(topic.name for topic in plan())


class Sink(Program):
    """The mail sink's process."""

    def __init__(self, folder: Path) -> None:
        super().__init__("sink")
        self.port = free_port()
        self._folder = folder
        self._file = folder / "mails"

    def mails(self) -> tuple[int, int]:
        """How many mails came, and with how many different Message-IDs."""
        count, different = self._file.read_text().split()
        return int(count), int(different)

    def wait_ready(self) -> None:
        self.process.wait_ready(self._file.exists, 30)

    def _spawn(self) -> Child:
        command = [sys.executable, "-m", "tests.bench.sink", str(self.port), str(self._file)]
        return spawn(self.name, command, log=self._folder / "sink.log", cwd=ROOT)


@dataclass
class Ensemble:
    """Services that run, each with its database."""

    ground: Ground
    sink: Sink
    services: dict[str, Service]
    databases: dict[str, Database]
    ready_seconds: dict[str, float] = field(default_factory=dict)

    def publish(self, *payloads: Payload) -> None:
        """Events and commands to their topics, in order."""
        by_topic: dict[str, list[Record]] = {}
        for payload in payloads:
            by_topic.setdefault(payload.topic, []).append(record_of(payload))
        for topic, records in by_topic.items():
            self.publish_records(topic, records)

    def publish_records(self, topic: str, records: Iterable[Record]) -> None:
        asyncio.run(publish(self.ground.stage.kafka, self.ground.topic(topic), records))

    def until(self, is_so: Callable[[], bool], what: str, within: float) -> float:
        """Poll until it is so; gives when it was. Raises TimeoutError, or RuntimeError when a process ended."""
        deadline = monotonic() + within
        while not is_so():
            self.ground.check_alive()
            if monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {within:.0f} s; dead letters: {self.dead_letters() or 'none'}")
            asyncio.run(asyncio.sleep(POLL_SECONDS))
        return monotonic()

    def has_taken_in(self, service: str, *topics: str) -> bool:
        """Whether a service has saved all that is on these topics now, and published what followed."""
        return asyncio.run(self._has_taken_in(service, topics))

    def count(self, service: str, sql: str) -> int:
        """A number from a service's database."""
        return asyncio.run(self._count(service, sql))

    def dead_letters(self) -> dict[str, int]:
        """How many each service has written."""
        topics = [f"{name}.dead-letters" for name in self.services]
        ends = asyncio.run(self._ends(topics))
        return {topic: n for topic in topics if (n := sum(end for (name, _), end in ends.items() if name == topic))}

    async def _has_taken_in(self, service: str, topics: Sequence[str]) -> bool:
        ends = await self._ends(topics)
        connection = await asyncpg.connect(self.databases[service].admin_url)
        try:
            stands = {
                (row["topic"], row["partition"]): row["next_offset"]
                for row in await connection.fetch("SELECT topic, partition, next_offset FROM messaging.consumer_offset")
            }
            waiting = await connection.fetchval("SELECT count(*) FROM messaging.outbox")
        finally:
            await connection.close()
        return waiting == 0 and all(stands.get(place, 0) >= end for place, end in ends.items())

    async def _ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        kafka, prefix = self.ground.stage.kafka, self.ground.prefix
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
        await consumer.start()
        try:
            known = await partitions_of([kafka], [prefix + topic for topic in topics])
            ends = await consumer.end_offsets([place for places in known.values() for place in places])
        finally:
            await consumer.stop()
        return {(place.topic.removeprefix(prefix), place.partition): end for place, end in ends.items()}

    async def _count(self, service: str, sql: str) -> int:
        connection = await asyncpg.connect(self.databases[service].admin_url)
        try:
            return int(await connection.fetchval(sql))
        finally:
            await connection.close()


def assembled(ground: Ground, names: Sequence[str] = SERVICES) -> Ensemble:
    """These services, ready. The ground needs ALL_TOPICS."""
    sink, sandboxes = Sink(ground.folder), Sandboxes(ground.folder / "sandboxes")
    for program in (sink, sandboxes):
        ground.run(program)
    for program in (sink, sandboxes):
        program.wait_ready()
    settings = {**sandboxes.outside.settings(), "KELLO_SMTP_PORT": str(sink.port)}
    databases = {name: ground.service_database(name) for name in names}
    services = {
        name: Service(
            name,
            ground.folder,
            kafka=ground.stage.kafka,
            database=databases[name],
            settings=settings,
            prefix=ground.prefix,
        )
        for name in names
    }
    for service in services.values():
        ground.run(service)
    for service in services.values():
        service.wait_ready()
    return Ensemble(ground, sink, services, databases)
