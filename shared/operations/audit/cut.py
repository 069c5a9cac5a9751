"""The cut: each service's database through one snapshot, and beside it the part of the log that belongs to it.

The temporary tables are filled before the snapshots are taken, but for the records that came meanwhile. In the
snapshot's transaction, which is read only but for them, they are sorted into what the service heard and said.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.messaging.offsets import Partition
from shared.messaging.topics import partitions_of
from shared.operations.audit.records import lying
from shared.operations.audit.view import STATEMENT_SECONDS, View
from shared.operations.installation import Installation, service_named
from shared.operations.output import NOT_ANSWERING, Failed

READ_RECORDS = 4_000
WAIT_MILLISECONDS = 500


@asynccontextmanager
async def cut_of(installation: Installation, services: Sequence[str]) -> AsyncIterator[list[View]]:
    """A view of each service. Their transactions end with the block, and leave nothing behind."""
    async with AsyncExitStack() as stack:
        views = []
        for name in services:
            session = installation.database(name, statement_seconds=STATEMENT_SECONDS)
            views.append(View(service_named(name), await stack.enter_async_context(session)))
            await views[-1].prepare()
        consumer = await stack.enter_async_context(installation.consumer())
        log = _Log(installation, consumer, views)
        await log.find()
        await log.read(log.ends)
        committed = {view.service.name: await _committed(installation, view.service.name) for view in views}
        for view in views:
            reached = await view.freeze()
            log.reached.update({place: max(end, log.reached.get(place, 0)) for place, end in reached.items()})
        read_to = log.ends
        await log.read(await log.to_catch_up())
        ends = await log.ends_now()
        for view in views:
            await view.add_outbox()
            await view.sort(log.rows(view, read_to, ends, committed[view.service.name]))
        yield views


class _Log:
    """Kafka's topics, read once for all views."""

    def __init__(self, installation: Installation, consumer: AIOKafkaConsumer, views: Sequence[View]) -> None:
        self._installation = installation
        self._consumer = consumer
        self._readers: defaultdict[str, list[View]] = defaultdict(list)
        for view in views:
            for topic in view.topics:
                self._readers[topic].append(view)
        self._places: dict[Partition, TopicPartition] = {}
        self._begins: Mapping[TopicPartition, int] = {}
        self.ends: Mapping[TopicPartition, int] = {}
        self.reached: dict[Partition, int] = {}

    async def find(self) -> None:
        """Where the partitions are, and what they hold now. Raises Failed where a topic is missing."""
        physical = {self._installation.physical(topic): topic for topic in self._readers}
        found = await partitions_of(self._installation.kafka_servers, list(physical))
        missing = sorted(physical.keys() - found.keys())
        if missing:
            raise Failed(f"Kafka has no topic {', '.join(missing)}: see `kello topics check`", NOT_ANSWERING)
        self._places = {
            Partition(physical[each.topic], each.partition): each for parts in found.values() for each in parts
        }
        self._consumer.assign(list(self._places.values()))  # first: it learns of all topics at once
        self._begins = await self._consumer.beginning_offsets(list(self._places.values()))
        self.ends = await self.ends_now()

    async def ends_now(self) -> Mapping[TopicPartition, int]:
        ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(list(self._places.values()))
        return ends

    async def to_catch_up(self) -> Mapping[TopicPartition, int]:
        """How far each partition must be read for the snapshots: no further than it goes, whatever a database says."""
        ends = await self.ends_now()
        return {
            self._places[place]: min(end, ends[self._places[place]])
            for place, end in self.reached.items()
            if place in self._places
        }

    async def read(self, until: Mapping[TopicPartition, int]) -> None:
        """Gives each record to whoever it concerns. Offsets have gaps: what counts is how far the reading has come."""
        behind = {place: end for place, end in until.items() if end > self._begins[place]}
        while behind := {place: end for place, end in behind.items() if await self._consumer.position(place) < end}:
            fetched = await self._consumer.getmany(*behind, timeout_ms=WAIT_MILLISECONDS, max_records=READ_RECORDS)
            for place, records in fetched.items():
                topic = self._installation.logical(place.topic)
                for view in self._readers[topic]:
                    await view.add(lying(topic, record) for record in records)

    def rows(
        self,
        view: View,
        read_to: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        committed: Mapping[TopicPartition, int],
    ) -> list[tuple[Any, ...]]:
        """The table `log` of a view."""
        return [
            (
                topic,
                number,
                self._begins[place],
                read_to[place],
                ends[place],
                committed.get(place),
                topic in view.service.consumes,
            )
            for (topic, number), place in self._places.items()
            if topic in view.topics
        ]


async def _committed(installation: Installation, group: str) -> dict[TopicPartition, int]:
    """What kafka-consumer-groups shows of a group."""
    async with installation.admin() as admin:
        offsets = await admin.list_consumer_group_offsets(installation.physical(group))
    return {place: told.offset for place, told in offsets.items()}
