"""Claims: the right of this process to a partition, and the only ones who seek.

A claim writes a fresh owner into PostgreSQL, checks that the topic is still the one that was read, and seeks to where
work goes on. Forgetting one is always safe: the next record leads to another.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID, uuid4

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError

from shared.messaging import metrics, offsets
from shared.messaging.database import ACQUIRE_TIMEOUT_SECONDS, Pool
from shared.messaging.offsets import Partition, Stand

log = structlog.get_logger(__name__)

CALL_SECONDS = 5.0

RawRecord: TypeAlias = "ConsumerRecord[bytes, bytes]"


class TopicChanged(Exception):
    """A topic is not the one that was read before: recreated, or truncated beyond what was read. The service stops."""


@dataclass(slots=True)
class Claim:
    """This process's right to a partition. `expected` is where the next batch begins; `check` is the record before it,
    (offset, timestamp in ms), which is read once more to see that the topic is still the same; `gap` is the offset that
    came too early, when it first came."""

    owner: UUID
    expected: int
    check: tuple[int, int] | None
    is_stopped: bool = False
    gap: int | None = None


class Claims:
    """The claims of one consumer of a group, and what must be done for those that it lacks.

    `logical` maps the names of topics on the cluster to those of the design; `kafka` gives the consumer once it runs.
    """

    def __init__(
        self,
        service: str,
        pool: Pool,
        logical: Mapping[str, str],
        compacted: Collection[str],
        dead_run_max: int,
    ) -> None:
        self.wake = asyncio.Event()
        self.kafka: Callable[[], AIOKafkaConsumer | None] = lambda: None
        self._service = service
        self._pool = pool
        self._logical = logical
        self._cluster_name = {topic: name for name, topic in logical.items()}
        self._compacted = frozenset(compacted)
        self._dead_run_max = dead_run_max
        self._claims: dict[Partition, Claim] = {}
        self._generation = 0
        self._unplaced: set[Partition] = set()
        self._asking: set[Partition] = set()

    def of(self, partition: Partition) -> Claim | None:
        """The claim on a partition; None where it has to be claimed (again)."""
        return self._claims.get(partition)

    @property
    def stopped(self) -> list[Partition]:
        """Partitions that wait for `kello resume`."""
        return sorted(partition for partition, claim in self._claims.items() if claim.is_stopped)

    async def ends(self) -> dict[Partition, int]:
        """Where each partition that is claimed and not stopped ends. Raises where Kafka does not answer."""
        kafka = self.kafka()
        going = [partition for partition, claim in self._claims.items() if not claim.is_stopped]
        if kafka is None or not going:
            return {}
        async with asyncio.timeout(CALL_SECONDS):
            ends = await kafka.end_offsets([self._place(partition) for partition in going])
        return {partition: ends[self._place(partition)] for partition in going}

    # Claiming

    async def claim(self) -> None:
        """Claims every assigned partition that has no claim. What was fetched of them is fetched again."""
        kafka, generation = self.kafka(), self._generation
        partitions = [partition for partition in self._assigned() if partition not in self._claims]
        if kafka is None or not partitions:
            return
        places = [self._place(partition) for partition in partitions]
        async with asyncio.timeout(CALL_SECONDS):
            begins, ends = await kafka.beginning_offsets(places), await kafka.end_offsets(places)
        owners = {partition: uuid4() for partition in partitions}
        starts = {partition: begins[place] for partition, place in zip(partitions, places, strict=True)}
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as tx, tx.transaction():
            stands = await offsets.claim(tx, self._service, owners, starts)
            for partition, place in zip(partitions, places, strict=True):
                self._check_range(partition, stands[partition], begins[place], ends[place])
        if generation == self._generation:
            log.info("partitions_claimed", partitions=len(partitions))
            for partition, owner in owners.items():
                self._begin(kafka, partition, owner, stands[partition], starts[partition])

    def _begin(self, kafka: AIOKafkaConsumer, partition: Partition, owner: UUID, stand: Stand, begin: int) -> None:
        check = None
        if stand.last_timestamp is not None and stand.next_offset > begin:
            check = (stand.next_offset - 1, stand.last_timestamp)
        is_stopped = stand.is_paused or stand.dead_run >= self._dead_run_max
        kafka.seek(self._place(partition), check[0] if check else stand.next_offset)
        self._claims[partition] = Claim(owner, stand.next_offset, check, is_stopped)
        log.debug("partition_claimed", topic=partition.topic, partition=partition.partition, offset=stand.next_offset)
        if is_stopped:
            self._pause(partition, "an operator paused it" if stand.is_paused else self._too_many)

    def _check_range(self, partition: Partition, stand: Stand, begin: int, end: int) -> None:
        if not begin <= stand.next_offset <= end:
            raise TopicChanged(
                f"{self._name(partition)} holds the offsets {begin} to {end} and {stand.next_offset} is the next to "
                f"read: the topic was recreated or truncated. {self._way_out(partition, begin)}"
            )

    async def following(self, partition: Partition, claim: Claim, records: list[RawRecord]) -> list[RawRecord]:
        """The records from where the claim stands on, once the record before them proved that the topic is the same."""
        if claim.check is not None:
            self._check_last(partition, claim.check, records[0])
            claim.check = None
        elif records[0].offset < claim.expected:
            # Kafka started over: whether the topic is still the same, a fresh claim will find out.
            self.forget([partition])
            await self.claim()
            return []
        first = next((i for i, record in enumerate(records) if record.offset >= claim.expected), len(records))
        rest = records[first:]
        if rest and rest[0].offset > claim.expected and not await self._is_true_gap(partition, claim, rest[0].offset):
            return []
        return rest

    def _check_last(self, partition: Partition, check: tuple[int, int], record: RawRecord) -> None:
        offset, timestamp = check
        if record.offset == offset and record.timestamp == timestamp:
            return
        if record.offset > offset and partition.topic in self._compacted:
            return
        raise TopicChanged(
            f"the record at {self._name(partition)}, offset {offset}, is not the one that was read there: the topic "
            f"was recreated. {self._way_out(partition, 0)}"
        )

    async def _is_true_gap(self, partition: Partition, claim: Claim, found: int) -> bool:
        """Offsets may be missing: compacted away, or transaction markers. So they are asked for once more, and only
        what is missing twice is missing, unless the topic lost its head to retention."""
        kafka, place = self.kafka(), self._place(partition)
        if kafka is None:
            return False
        if claim.gap != found:
            claim.gap = found
            kafka.seek(place, claim.expected)
            return False
        async with asyncio.timeout(CALL_SECONDS):
            begin = (await kafka.beginning_offsets([place]))[place]
        if begin > claim.expected:
            raise TopicChanged(
                f"{self._name(partition)} begins at offset {begin} and {claim.expected} was the next to read: "
                f"retention took records that were never read. {self._way_out(partition, begin)}"
            )
        return True

    def _way_out(self, partition: Partition, offset: int) -> str:
        return (
            f"To go on at offset {offset}: kello offsets reset {self._service} {partition.topic} "
            f"{partition.partition} {offset}"
        )

    # Losing

    def fenced(self, partition: Partition, owner: UUID) -> None:
        """Somebody else claimed it: whether it is still ours, the group will say."""
        claim = self._claims.get(partition)
        if claim is not None and claim.owner == owner:
            log.warning("partition_fenced", topic=partition.topic, partition=partition.partition)
            metrics.FENCED.labels(self._service).inc()
            del self._claims[partition]
            self._asking.add(partition)
            self.wake.set()

    def stop(self, partition: Partition, owner: UUID) -> None:
        """Too many dead letters in a row: what is in hand of it must not be saved, and nothing more is fetched."""
        claim = self._claims.get(partition)
        if claim is not None and claim.owner == owner:
            claim.is_stopped = True
            claim.owner = uuid4()
            self._pause(partition, self._too_many)

    def forget_all(self) -> None:
        """A rebalance: whatever was claimed must be claimed again."""
        self._generation += 1
        self._claims.clear()
        self._asking.clear()
        self._unplaced = set(self._assigned())
        self.wake.set()

    def forget(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._claims.pop(partition, None)

    def read_again(self, partitions: Iterable[Partition]) -> None:
        """What was fetched of them and not saved must be fetched again."""
        self._unplaced.update(partitions)
        self.wake.set()

    # Now and then, although no record comes

    async def ask_the_group(self) -> None:
        """A fenced partition may still be ours: the group knows. A commit that it accepts says yes."""
        for partition in sorted(self._asking):
            kafka, place = self.kafka(), self._place(partition)
            if kafka is None or place not in kafka.assignment():
                self._asking.discard(partition)
                continue
            stands = await self._stands([partition])
            if partition in stands:
                await kafka.commit({place: stands[partition].next_offset})
            self._asking.discard(partition)
            self.read_again([partition])

    async def place_unclaimed(self) -> None:
        """Fetches an unclaimed partition from where PostgreSQL says, so that a record comes and leads to a claim."""
        self._unplaced &= set(self._assigned()) - set(self._claims)
        waiting = sorted(self._unplaced - self._asking)
        if not waiting:
            return
        generation, kafka = self._generation, self.kafka()
        stands = await self._stands(waiting)
        if generation != self._generation or kafka is None:
            return
        for partition in waiting:
            if partition not in self._claims:
                # Kafka may remember an offset that PostgreSQL does not: then everything is read anew.
                before = max(0, stands[partition].next_offset - 1) if partition in stands else 0
                kafka.seek(self._place(partition), before)
            self._unplaced.discard(partition)

    async def resume_stopped(self) -> None:
        stopped = self.stopped
        if not stopped:
            return
        stands = await self._stands(stopped)
        for partition in stopped:
            if not stands[partition].is_paused and stands[partition].dead_run < self._dead_run_max:
                log.info("partition_resumed", topic=partition.topic, partition=partition.partition)
                del self._claims[partition]
                kafka = self.kafka()
                if kafka is not None:
                    kafka.resume(self._place(partition))
                self.read_again([partition])
        metrics.STOPPED.labels(self._service).set(len(self.stopped))

    async def tell_kafka(self) -> None:
        """Commits to Kafka what PostgreSQL holds, for operators to see; no decision rests on it."""
        kafka = self.kafka()
        if kafka is None or not self._claims:
            return
        stands = await self._stands(sorted(self._claims))
        assigned = kafka.assignment()
        told = {
            self._place(partition): stand.next_offset
            for partition, stand in stands.items()
            if self._place(partition) in assigned and partition in self._claims
        }
        if told:
            async with asyncio.timeout(CALL_SECONDS):
                await kafka.commit(told)

    @property
    def _too_many(self) -> str:
        return f"{self._dead_run_max} dead letters in a row"

    def _pause(self, partition: Partition, reason: str) -> None:
        log.error(
            "partition_stopped",
            topic=partition.topic,
            partition=partition.partition,
            reason=reason,
            command=f"kello resume {self._service}",
        )
        metrics.STOPPED.labels(self._service).set(len(self.stopped))
        kafka = self.kafka()
        if kafka is not None:
            with suppress(IllegalStateError):
                kafka.pause(self._place(partition))

    async def _stands(self, partitions: Sequence[Partition]) -> dict[Partition, Stand]:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as tx:
            return await offsets.stands_of(tx, self._service, partitions)

    def _assigned(self) -> list[Partition]:
        kafka = self.kafka()
        places = kafka.assignment() if kafka is not None else ()
        return sorted(Partition(self._logical[place.topic], place.partition) for place in places)

    def _place(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._cluster_name[partition.topic], partition.partition)

    def _name(self, partition: Partition) -> str:
        return f"{self._cluster_name[partition.topic]}, partition {partition.partition}"
