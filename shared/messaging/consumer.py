"""The consumer: one FastStream batch subscriber over all topics of a service, claims, and a pipeline of one slot.

FastStream fetches and hands over raw records; the handler decodes batch N+1 while the saver commits batch N. Nobody
acknowledges anything: what counts is the offset in PostgreSQL, and Kafka is told it now and then, so that
kafka-consumer-groups shows true lag.

A partition is worked on only under a claim, and only a claim seeks to where work goes on. The rebalance listener forgets
claims and does no more. So after whatever happened to the group, the next record of a partition leads to a fresh claim.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import FAKE_CONSUMER, KafkaMessage

from shared.messaging import metrics, offsets
from shared.messaging.database import ACQUIRE_TIMEOUT_SECONDS, Pool, is_transient
from shared.messaging.intake import Intake, Progress, Records
from shared.messaging.offsets import Advance, Partition, Stand
from shared.messaging.received import Batch, Reader, Received
from shared.messaging.settings import ServiceSettings
from shared.messaging.unit import Unit

log = structlog.get_logger(__name__)

CALL_SECONDS = 5.0
KEEP_SECONDS = 1.0
POLL_MILLISECONDS = 10
SESSION_SECONDS = 10
IDLE_MAX_SECONDS = 3600
RETRY_SECONDS = 0.5

RawRecord: TypeAlias = "ConsumerRecord[bytes, bytes]"


class TopicChanged(Exception):
    """A topic is not the one that was read before: recreated, or truncated beyond what was read. It stops the service."""


@dataclass(slots=True)
class Claim:
    """This process's right to a partition. `expected` is where the next batch begins; `check` is the record before it,
    (offset, timestamp in ms), which is read once more to see that the topic is still the same."""

    owner: UUID
    expected: int
    check: tuple[int, int] | None
    is_stopped: bool = False


class Consumer:
    """Takes in the records of a service. `run` owns everything it starts."""

    def __init__(
        self,
        settings: ServiceSettings,
        unit: Unit[Any],
        pool: Pool,
        intake: Intake,
        topics: Sequence[str],
        compacted: Collection[str],
    ) -> None:
        self._settings = settings
        self._unit = unit
        self._pool = pool
        self._intake = intake
        self._compacted = frozenset(compacted)
        self._logical = {settings.topic_prefix + topic: topic for topic in topics}
        self._reader = Reader(intake.handlers)
        self._claims: dict[Partition, Claim] = {}
        self._generation = 0
        self._unplaced: set[Partition] = set()
        self._asking: set[Partition] = set()
        self._slot: asyncio.Queue[Batch] = asyncio.Queue(maxsize=1)
        self._wake = asyncio.Event()
        self._is_draining = False
        self._failure: asyncio.Future[None] | None = None
        self._moved_at = monotonic()
        self._broker = KafkaBroker(
            settings.kafka_servers,
            client_id=intake.service,
            logger=None,
            graceful_timeout=CALL_SECONDS,
        )
        self._subscriber = self._broker.subscriber(
            *self._logical,
            group_id=self.group_id,
            batch=True,
            max_records=settings.batch_records_max,
            batch_timeout_ms=POLL_MILLISECONDS,
            fetch_max_wait_ms=POLL_MILLISECONDS * 10,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            session_timeout_ms=SESSION_SECONDS * 1000,
            heartbeat_interval_ms=SESSION_SECONDS * 1000 // 5,
            # An outage is waited for with the membership kept; the session's timeout finds the dead.
            max_poll_interval_ms=IDLE_MAX_SECONDS * 1000,
            rebalance_timeout_ms=SESSION_SECONDS * 1000,
            listener=_Forgetful(self._forget_all),
            parser=_wrapped,
            decoder=_unwrapped,
            no_reply=True,
        )
        self._subscriber(self._take)

    @property
    def group_id(self) -> str:
        """The group's name on Kafka; in PostgreSQL it is the service's name alone."""
        return self._settings.topic_prefix + self._intake.service

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Until `drain` is called. Raises TopicChanged, or what else no waiting can mend."""
        self._failure = asyncio.get_running_loop().create_future()
        saver = asyncio.create_task(self._save_batches(), name="saver")
        keeper = asyncio.create_task(self._keep(), name="keeper")
        try:
            async with asyncio.timeout(self._settings.start_timeout_seconds):
                await self._broker.start()
            on_ready()
            done, _ = await asyncio.wait({saver, keeper, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            await self._stop(saver, keeper)

    async def drain(self) -> None:
        """Takes nothing more in, saves what is in hand, tells Kafka how far that was, and ends `run`."""
        self._is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_timeout_seconds):
                await self._slot.join()
                await self._tell_kafka()
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(None)

    @property
    def is_consuming(self) -> bool:
        """Whether the fetch loop is alive: FastStream's own `ping` does not know."""
        return any(not task.done() for task in self._subscriber.tasks)

    @property
    def idle_seconds(self) -> float:
        """Seconds since a batch was last committed."""
        return monotonic() - self._moved_at

    @property
    def stopped(self) -> list[Partition]:
        """Partitions that wait for `kello resume`."""
        return sorted(partition for partition, claim in self._claims.items() if claim.is_stopped)

    async def lag(self) -> dict[Partition, int]:
        """Records that wait in each partition that is claimed and not stopped. Raises where Kafka does not answer."""
        kafka = self._kafka
        if kafka is None:
            return {}
        assigned = self._assigned()
        async with asyncio.timeout(CALL_SECONDS):
            ends = await kafka.end_offsets([self._physical(partition) for partition in assigned])
        lag = {}
        for partition in assigned:
            claim = self._claims.get(partition)
            if claim is not None and not claim.is_stopped:
                lag[partition] = max(0, ends[self._physical(partition)] - claim.expected)
        return lag

    # The handler: FastStream calls it with whatever was fetched. It never raises.

    async def _take(self, records: Sequence[RawRecord]) -> None:
        if self._is_draining:
            return
        by_partition: defaultdict[Partition, list[RawRecord]] = defaultdict(list)
        for record in records:
            by_partition[Partition(self._logical[record.topic], record.partition)].append(record)
        try:
            batch = self._decoded(await self._claimed(by_partition))
            if batch is not None:
                await self._slot.put(batch)
        except asyncio.CancelledError:
            self._forget(by_partition)
            raise
        except TopicChanged as error:
            self._forget(by_partition)
            self._fail(error)
        except Exception as error:
            # What was fetched is read again under a fresh claim: nothing may be passed over.
            self._forget(by_partition)
            if not is_transient(error) and not isinstance(error, (KafkaError, IllegalStateError)):
                self._fail(error)
            log.warning("records_wait", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
            self._replace(by_partition)

    async def _claimed(self, fetched: dict[Partition, list[RawRecord]]) -> dict[Partition, list[RawRecord]]:
        """The records that follow on under a claim. What comes first for a partition claims it, and is fetched again."""
        following: dict[Partition, list[RawRecord]] = {}
        for partition, records in fetched.items():
            claim = self._claims.get(partition)
            if claim is None:
                await self._claim(partition)
            elif not claim.is_stopped and (rest := await self._following(partition, claim, records)):
                following[partition] = rest
        return following

    async def _claim(self, partition: Partition) -> None:
        kafka = self._kafka
        if kafka is None:
            return
        generation = self._generation
        place = self._physical(partition)
        async with asyncio.timeout(CALL_SECONDS):
            begin = (await kafka.beginning_offsets([place]))[place]
            end = (await kafka.end_offsets([place]))[place]
        owner = uuid4()
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as tx, tx.transaction():
            stand = await offsets.claim(tx, self._intake.service, partition, owner, begin)
            self._check_range(partition, stand, begin, end)
        if generation != self._generation:
            return
        check = None
        if stand.last_timestamp is not None and stand.next_offset > begin:
            check = (stand.next_offset - 1, stand.last_timestamp)
        is_stopped = stand.dead_run >= self._intake.dead_run_max
        kafka.seek(place, check[0] if check else stand.next_offset)
        self._claims[partition] = Claim(owner, stand.next_offset, check, is_stopped)
        log.info("partition_claimed", topic=partition.topic, partition=partition.partition, offset=stand.next_offset)
        if is_stopped:
            self._stop_partition(partition)

    def _check_range(self, partition: Partition, stand: Stand, begin: int, end: int) -> None:
        if not begin <= stand.next_offset <= end:
            raise TopicChanged(
                f"{self._name(partition)} holds the offsets {begin} to {end} and {stand.next_offset} is the next to read: "
                f"the topic was recreated or truncated. {self._way_out(partition, begin)}"
            )

    async def _following(self, partition: Partition, claim: Claim, records: list[RawRecord]) -> list[RawRecord]:
        """The records from where the claim stands on, once the record before them proved that the topic is the same."""
        if claim.check is not None:
            self._check_last(partition, claim.check, records[0])
            claim.check = None
        elif records[0].offset < claim.expected:
            # Kafka started over: whether the topic is still the same, a fresh claim will find out.
            self._forget([partition])
            await self._claim(partition)
            return []
        first = next((i for i, record in enumerate(records) if record.offset >= claim.expected), len(records))
        rest = records[first:]
        if rest and rest[0].offset > claim.expected:
            await self._check_gap(partition, claim)
        return rest

    def _check_last(self, partition: Partition, check: tuple[int, int], record: RawRecord) -> None:
        offset, timestamp = check
        if record.offset == offset and record.timestamp == timestamp:
            return
        if record.offset > offset and partition.topic in self._compacted:
            return
        raise TopicChanged(
            f"the record at {self._name(partition)}, offset {offset}, is not the one that was read there: the topic was "
            f"recreated. {self._way_out(partition, 0)}"
        )

    async def _check_gap(self, partition: Partition, claim: Claim) -> None:
        """Offsets that are missing were compacted away or are transaction markers; unless the topic lost its head."""
        kafka = self._kafka
        if kafka is None:
            return
        place = self._physical(partition)
        async with asyncio.timeout(CALL_SECONDS):
            begin = (await kafka.beginning_offsets([place]))[place]
        if begin > claim.expected:
            raise TopicChanged(
                f"{self._name(partition)} begins at offset {begin} and {claim.expected} was the next to read: retention "
                f"took records that were never read. {self._way_out(partition, begin)}"
            )

    def _way_out(self, partition: Partition, offset: int) -> str:
        return (
            f"To go on at offset {offset}: kello offsets reset {self._intake.service} {partition.topic} "
            f"{partition.partition} {offset}"
        )

    def _decoded(self, fetched: dict[Partition, list[RawRecord]]) -> Batch | None:
        if not fetched:
            return None
        received: list[Received] = []
        advances: dict[Partition, Advance] = {}
        read = self._reader.read
        for partition, records in fetched.items():
            claim = self._claims.get(partition)
            if claim is None:
                continue
            for record in records:
                each = read(partition, record)
                if each is not None:
                    received.append(each)
            last = records[-1]
            claim.expected = last.offset + 1
            advances[partition] = Advance(claim.owner, last.offset + 1, last.timestamp)
        return Batch(received, advances) if advances else None

    # The saver: commits one batch after the other.

    async def _save_batches(self) -> None:
        service = self._intake.service
        while True:
            batch = await self._slot.get()
            began = monotonic()
            await self._unit.persist(Records(batch, self._intake, self._note))
            metrics.BATCH_SECONDS.labels(service).observe(monotonic() - began)
            metrics.BATCH_RECORDS.labels(service).observe(len(batch))
            self._moved_at = monotonic()
            self._slot.task_done()

    def _note(self, batch: Batch, progress: Progress) -> None:
        """After each commit: who is fenced must ask the group; who is stopped waits for an operator."""
        for partition in progress.fenced:
            claim = self._claims.get(partition)
            if claim is not None and claim.owner == batch.advances[partition].owner:
                log.warning("partition_fenced", topic=partition.topic, partition=partition.partition)
                metrics.FENCED.labels(self._intake.service).inc()
                del self._claims[partition]
                self._asking.add(partition)
                self._wake.set()
        for partition in progress.stopped:
            claim = self._claims.get(partition)
            if claim is not None and claim.owner == batch.advances[partition].owner:
                claim.is_stopped = True
                claim.owner = uuid4()  # what is in hand of it must not be saved
                self._stop_partition(partition)

    def _stop_partition(self, partition: Partition) -> None:
        log.error(
            "partition_stopped",
            topic=partition.topic,
            partition=partition.partition,
            reason=f"{self._intake.dead_run_max} dead letters in a row",
            command=f"kello resume {self._intake.service}",
        )
        metrics.STOPPED.labels(self._intake.service).set(len(self.stopped))
        kafka = self._kafka
        if kafka is not None:
            with suppress(IllegalStateError):
                kafka.pause(self._physical(partition))

    # The keeper: what must happen now and then although no record comes.

    async def _keep(self) -> None:
        while True:
            try:
                async with asyncio.timeout(KEEP_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            for step in (self._ask_the_group, self._place_unclaimed, self._resume_stopped, self._tell_kafka):
                await self._attempted(step)

    async def _attempted(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(2 * CALL_SECONDS):
                await step()
        except Exception as error:
            if not is_transient(error) and not isinstance(error, (KafkaError, IllegalStateError)):
                raise
            log.info("keeper_waits", step=step.__name__, error=type(error).__name__)

    async def _ask_the_group(self) -> None:
        """A fenced partition may still be ours: the group knows. A commit that it accepts says yes."""
        for partition in sorted(self._asking):
            kafka, place = self._kafka, self._physical(partition)
            if kafka is None or place not in kafka.assignment():
                self._asking.discard(partition)
                continue
            stands = await self._stands([partition])
            if partition in stands:
                await kafka.commit({place: stands[partition].next_offset})
            self._asking.discard(partition)
            self._replace([partition])

    async def _place_unclaimed(self) -> None:
        """Fetches an unclaimed partition from where PostgreSQL says, so that a record comes and leads to a claim."""
        self._unplaced &= set(self._assigned()) - set(self._claims)
        waiting = sorted(self._unplaced - self._asking)
        if not waiting:
            return
        generation, kafka = self._generation, self._kafka
        stands = await self._stands(waiting)
        if generation != self._generation or kafka is None:
            return
        for partition in waiting:
            if partition in stands and partition not in self._claims:
                before = max(0, stands[partition].next_offset - 1)
                kafka.seek(self._physical(partition), before)
            self._unplaced.discard(partition)

    async def _resume_stopped(self) -> None:
        stopped = self.stopped
        if not stopped:
            return
        stands = await self._stands(stopped)
        for partition in stopped:
            if stands[partition].dead_run < self._intake.dead_run_max:
                log.info("partition_resumed", topic=partition.topic, partition=partition.partition)
                del self._claims[partition]
                kafka = self._kafka
                if kafka is not None:
                    kafka.resume(self._physical(partition))
                self._replace([partition])
        metrics.STOPPED.labels(self._intake.service).set(len(self.stopped))

    async def _tell_kafka(self) -> None:
        """Commits to Kafka what PostgreSQL holds, for operators to see; no decision rests on it."""
        kafka = self._kafka
        if kafka is None or not self._claims:
            return
        stands = await self._stands(sorted(self._claims))
        assigned = kafka.assignment()
        told = {
            self._physical(partition): stand.next_offset
            for partition, stand in stands.items()
            if self._physical(partition) in assigned and partition in self._claims
        }
        if told:
            async with asyncio.timeout(CALL_SECONDS):
                await kafka.commit(told)

    async def _stands(self, partitions: Sequence[Partition]) -> dict[Partition, Stand]:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as tx:
            return await offsets.stands_of(tx, self._intake.service, partitions)

    # Claims.

    def _forget_all(self) -> None:
        """A rebalance: whatever was claimed must be claimed again."""
        self._generation += 1
        self._claims.clear()
        self._asking.clear()
        self._unplaced = set(self._assigned())
        self._wake.set()

    def _forget(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._claims.pop(partition, None)

    def _replace(self, partitions: Iterable[Partition]) -> None:
        self._unplaced.update(partitions)
        self._wake.set()

    @property
    def _kafka(self) -> AIOKafkaConsumer | None:
        return self._subscriber.consumer

    def _assigned(self) -> list[Partition]:
        kafka = self._kafka
        places = kafka.assignment() if kafka is not None else ()
        return sorted(Partition(self._logical[place.topic], place.partition) for place in places)

    def _physical(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._settings.topic_prefix + partition.topic, partition.partition)

    def _name(self, partition: Partition) -> str:
        return f"{self._settings.topic_prefix}{partition.topic}, partition {partition.partition}"

    def _fail(self, error: BaseException) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    async def _stop(self, *tasks: asyncio.Task[None]) -> None:
        self._is_draining = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(2 * CALL_SECONDS):
                await self._broker.stop()


class _Forgetful(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka's class is untyped
    """Forgets claims, and does no I/O: aiokafka swallows what a listener raises and skips it when kicked out."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002 - aiokafka's signature
        self._forget()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:  # noqa: ARG002 - the same
        self._forget()


async def _wrapped(records: tuple[RawRecord, ...]) -> KafkaMessage:
    """FastStream's own parser decodes headers, and drops the whole batch at one that is null or no text."""
    return KafkaMessage(body=b"", headers={}, raw_message=records, consumer=FAKE_CONSUMER)


async def _unwrapped(message: KafkaMessage) -> Any:
    return message.raw_message
