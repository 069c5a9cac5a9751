"""Where a running Kello is, and whether it has come to rest: nothing to read, to publish, to do or to tell Kafka of."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import monotonic

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from pydantic import SecretStr

from deploy.local.topics import plan
from shared.messaging.service import Service
from shared.messaging.topics import partitions_of
from shared.operations.installation import Installation

SERVICES = ("customer", "billing", "notify", "payroll")
POLL_SECONDS = 0.25


class Restless(Exception):
    """It did not come to rest in time; the message says what was left."""


@dataclass(frozen=True)
class World:
    """A running Kello: its Kafka and topic prefix, the administrator's URL of each service's database, what is outside.

    `logs` are the files that the services write.
    """

    kafka: str
    prefix: str
    databases: Mapping[str, str]
    gateway: str
    mailbox: str
    sms: str
    logs: Sequence[Path] = ()

    @property
    def installation(self) -> Installation:
        """The same, as the operators' command sees it."""
        databases = {service: SecretStr(url) for service, url in self.databases.items()}
        return Installation(kafka=self.kafka, databases=databases, topic_prefix=self.prefix)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator["Watch"]:
        """Open connections to look with."""
        async with AsyncExitStack() as stack:
            connections = {}
            for service, url in self.databases.items():
                connections[service] = await asyncpg.connect(url, timeout=10)
                stack.push_async_callback(connections[service].close)
            consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka)
            await consumer.start()
            stack.push_async_callback(consumer.stop)
            physical = [self.prefix + topic.name for topic in plan()]
            found = await partitions_of(self.kafka.split(","), physical)
            places = {name.removeprefix(self.prefix): found[name] for name in physical}
            admin = await stack.enter_async_context(self.installation.admin())
            yield Watch(self, connections, consumer, admin, places)


async def nobody() -> list[str]:
    """Waits for nothing."""
    return []


class Watch:
    """Looks at a world from outside: at its databases, and at the ends of its topics."""

    def __init__(
        self,
        world: World,
        connections: Mapping[str, asyncpg.Connection],
        consumer: AIOKafkaConsumer,
        admin: AIOKafkaAdminClient,
        places: Mapping[str, Sequence[TopicPartition]],
    ) -> None:
        self.world = world
        self.places = places
        """The partitions of every topic, by its logical name."""
        self._connections = connections
        self._consumer = consumer
        self._admin = admin
        self._turns = {service: asyncio.Lock() for service in connections}

    async def rows(self, service: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """A query on a service's database."""
        async with self._turns[service]:
            return await self._connections[service].fetch(sql, *arguments, timeout=600)

    async def lag(self, service: str, topics: Sequence[str] = ()) -> int:
        """How many records a service has yet to read, by its own database; of all that it consumes by default."""
        return _behind(await self.ends(topics or consumed_by(service)), await self.offsets(service))

    async def caught_up(self, service: str, topics: Sequence[str]) -> None:
        """Wait until a service has read what is on some topics now."""
        while await self.lag(service, topics):  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(POLL_SECONDS)

    async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """The end of each partition that holds anything."""
        ends = await self._consumer.end_offsets([place for topic in topics for place in self.places[topic]])
        return {self._logical(place): end for place, end in ends.items() if end}

    async def offsets(self, service: str) -> dict[tuple[str, int], int]:
        """How far each partition had its effect."""
        rows = await self.rows(
            service,
            "SELECT topic, partition, next_offset FROM messaging.consumer_offset WHERE consumer_group = $1",
            service,
        )
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def committed(self, service: str) -> dict[tuple[str, int], int]:
        """The same by what the service has told Kafka, which it does now and then: what kafka-consumer-groups shows."""
        offsets = await self._admin.list_consumer_group_offsets(self.world.prefix + service)
        return {self._logical(place): told.offset for place, told in offsets.items()}

    async def rest(
        self,
        within_seconds: float,
        others: Callable[[], Awaitable[list[str]]] = nobody,
        on_look: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Wait until there is nothing left to do, for Kello and for `others`. Raises Restless.

        They are looked at one after the other: what somebody publishes meanwhile may reach who was looked at before.
        """
        deadline = monotonic() + within_seconds
        while reasons := await self._restless(others):
            on_look("; ".join(reasons))
            if monotonic() > deadline:
                raise Restless(f"not at rest after {within_seconds:.0f} s: {'; '.join(reasons)}")
            await asyncio.sleep(POLL_SECONDS)
        on_look("nothing is left")

    async def _restless(self, others: Callable[[], Awaitable[list[str]]]) -> list[str]:
        topics = tuple(self.places)
        ends = await self.ends(topics)
        reasons = [reason for service in self.world.databases for reason in await self._unrest_of(service, ends)]
        reasons += await others()
        return reasons or ([] if await self.ends(topics) == ends else ["something was published just now"])

    async def _unrest_of(self, service: str, ends: Mapping[tuple[str, int], int]) -> list[str]:
        """Offsets first: what they have moved past has left its rows in the outbox and its tasks by then."""
        consumed = consumed_by(service)
        wanted = {(topic, number): end for (topic, number), end in ends.items() if topic in consumed}
        to_read = _behind(wanted, await self.offsets(service))
        (row,) = await self.rows(
            service,
            """
            SELECT
                (SELECT count(*) FROM messaging.outbox) AS to_publish,
                (SELECT count(*) FROM messaging.task
                 WHERE state <> 'waiting' OR due_at <= messaging.kello_now() + interval '1 hour') AS to_do
            """,
        )
        counts = {
            "to read": to_read,
            "to publish": row["to_publish"],
            "to do": row["to_do"],
            "to tell Kafka of": _behind(wanted, await self.committed(service)),
        }
        return [f"{service} has {count} {what}" for what, count in counts.items() if count]

    def _logical(self, place: TopicPartition) -> tuple[str, int]:
        return place.topic.removeprefix(self.world.prefix), place.partition


def _behind(ends: Mapping[tuple[str, int], int], offsets: Mapping[tuple[str, int], int]) -> int:
    return sum(max(0, end - offsets.get(place, 0)) for place, end in ends.items())


def consumed_by(service: str) -> Sequence[str]:
    """The topics that a service reads, as its app.py says."""
    found: Service = import_module(f"services.{service}.app").service()  # type: ignore[type-arg]  # any of the four
    return found.consumes
