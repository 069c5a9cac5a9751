"""An ordinary producer, as another team would write it: aiokafka, its default partitioner, and nothing of Kello's."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from deploy.local.demo.message import Message

IN_FLIGHT_MAX = 5_000


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a record lies, by the topic's logical name."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Sent:
    """What Kafka acknowledged: how many records, and where those lie that somebody must put aside."""

    records: int = 0
    repeated: int = 0
    bad: dict[Place, Message] = field(default_factory=dict)


class Producer:
    """Publishes in order and notes what was acknowledged."""

    def __init__(self, producer: AIOKafkaProducer, prefix: str) -> None:
        self._producer = producer
        self._prefix = prefix
        self.sent = Sent()

    async def publish(self, messages: Iterable[Message], again: Iterable[Message] = ()) -> None:
        """All of them, then those that are said once more; each acknowledged by every replica when this returns."""
        waiting: list[tuple[Message, asyncio.Future[object]]] = []
        for each in messages:
            waiting.append((each, await self._send(each)))
            if len(waiting) >= IN_FLIGHT_MAX:
                await self._note(waiting)
                waiting = []
        for each in again:
            waiting.append((each, await self._send(each)))
            self.sent.repeated += 1
        await self._note(waiting)

    async def _send(self, each: Message) -> asyncio.Future[object]:
        sent: asyncio.Future[object] = await self._producer.send(
            self._prefix + each.topic, each.value, each.key, headers=list(each.headers)
        )
        return sent

    async def _note(self, waiting: list[tuple[Message, asyncio.Future[object]]]) -> None:
        for each, future in waiting:
            metadata = await future
            self.sent.records += 1
            if each.refused_by:
                place = Place(each.topic, metadata.partition, metadata.offset)  # type: ignore[attr-defined]  # untyped
                self.sent.bad[place] = each


@asynccontextmanager
async def open_producer(kafka: str, prefix: str) -> AsyncIterator[Producer]:
    """A producer that waits for all replicas."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()
    try:
        yield Producer(producer, prefix)
    finally:
        await producer.stop()
