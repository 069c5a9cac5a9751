"""Eyes on the topics: each record is fetched once and read once, whoever waits for it and however long."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from shared.messaging.topics import partitions_of
from shared.schemas.base import Payload

POLL_SECONDS = 0.02
RawRecord: TypeAlias = "ConsumerRecord[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class Event:
    """A record that arrived, as a consumer sees it. `payload` is the contract's model, or bytes that are none."""

    type: str
    id: str
    key: str
    payload: Any
    headers: Mapping[str, str]
    record: RawRecord


@dataclass(slots=True)
class Seen:
    """What has arrived on one topic, in order within each partition."""

    places: list[TopicPartition]
    records: list[RawRecord] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)
    _read: int = 0

    def events(self) -> list[Event]:
        """The records as events; a tombstone is none."""
        new, self._read = self.records[self._read :], len(self.records)
        self._events += [event_of(record) for record in new if record.value is not None]
        return self._events


class Eyes:
    """One consumer without a group for all topics of a test, by their logical names."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._seen: dict[str, Seen] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._one_at_a_time = asyncio.Lock()

    async def look(self, topic: str) -> Seen:
        """A topic with everything that is on it now."""
        async with self._one_at_a_time:
            consumer = await self._started()
            seen = await self._watched(consumer, topic)
            ends = await consumer.end_offsets(seen.places)
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for place, records in (await consumer.getmany(timeout_ms=100)).items():
                    self._seen[place.topic.removeprefix(self._prefix)].records += records
        return seen

    async def looks(self, topic: str, within: float) -> AsyncIterator[list[Event]]:
        """The events of a topic that no look before has shown, look by look: once at least, until `within` seconds."""
        deadline = asyncio.get_running_loop().time() + within
        shown = 0
        while True:
            events = (await self.look(topic)).events()
            new, shown = events[shown:], len(events)
            yield new
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def ends(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """Where each partition ends, by logical topic and number."""
        async with self._one_at_a_time:
            consumer = await self._started()
            places = [place for topic in topics for place in await self._places(topic)]
            ends = await consumer.end_offsets(places)
        return {(place.topic.removeprefix(self._prefix), place.partition): end for place, end in ends.items()}

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            # Kafka answers in order: a fetch that waits long for records keeps every question behind it waiting, too.
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._kafka.split(","), auto_offset_reset="earliest", fetch_max_wait_ms=20
            )
            await consumer.start()
            self._consumer = consumer
        return self._consumer

    async def _watched(self, consumer: AIOKafkaConsumer, topic: str) -> Seen:
        """A topic's records so far, with the consumer on all its partitions."""
        if topic not in self._seen:
            places = await self._places(topic)
            if not places:
                return Seen(places)  # not there, or not yet
            positions = {place: await consumer.position(place) for place in consumer.assignment()}
            consumer.assign([*positions, *places])  # which forgets every position
            for place in (*positions, *places):
                consumer.seek(place, positions.get(place, 0))
            self._seen[topic] = Seen(places)
        return self._seen[topic]

    async def _places(self, topic: str) -> list[TopicPartition]:
        if topic in self._seen:
            return self._seen[topic].places
        physical = self._prefix + topic
        return (await partitions_of(self._kafka.split(","), [physical])).get(physical, [])


def event_of(record: RawRecord) -> Event:
    """What a record says. Nothing here refuses: a payload that is no contract's stays bytes."""
    texts = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    model = Payload.contracts.get(texts.get("ce_type", ""))
    payload: Any = record.value
    if model is not None:
        with suppress(ValueError):
            payload = model.model_validate_json(record.value)
    key = (record.key or b"").decode("utf-8", "replace")
    return Event(texts.get("ce_type", ""), texts.get("ce_id", ""), key, payload, texts, record)
