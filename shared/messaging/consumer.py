"""The consumer: one FastStream batch subscriber over all topics of a service, claims, and savers.

FastStream fetches and hands over raw records; the handler decodes what comes next while a batch is saved, and adds it
to what waits. When that is much, savers work side by side, so that one decides while another waits for PostgreSQL; of
a partition one batch at a time is being saved. Nobody acknowledges anything: what counts is the offset in PostgreSQL,
and Kafka is told it now and then, so that kafka-consumer-groups shows true lag.

A partition is worked on only under a claim, and only a claim seeks to where work goes on. The rebalance listener
forgets claims and does no more. So after whatever happened to the group, the next record leads to a fresh claim.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import FAKE_CONSUMER, KafkaMessage

from shared.messaging import metrics
from shared.messaging.claims import CALL_SECONDS, Claims, RawRecord, TopicChanged
from shared.messaging.database import is_transient
from shared.messaging.intake import Intake, Progress, Records
from shared.messaging.offsets import Advance, Partition
from shared.messaging.received import Batch, Reader, Received
from shared.messaging.settings import ServiceSettings
from shared.messaging.slots import Slots
from shared.messaging.unit import Unit

log = structlog.get_logger(__name__)

KEEP_SECONDS = 1.0
POLL_MILLISECONDS = 10
SESSION_SECONDS = 10
FETCH_BYTES = 128 * 1024
"""Of a partition at once; a record that is larger comes all the same. More only waits in memory."""
IDLE_MAX_SECONDS = 3600
RETRY_SECONDS = 0.5


class Consumer:
    """Takes in the records of a service. `run` owns everything it starts."""

    def __init__(
        self, settings: ServiceSettings, unit: Unit[Any], intake: Intake, claims: Claims, topics: Mapping[str, str]
    ) -> None:
        """`topics` maps the names of topics on the cluster to those of the design."""
        self._settings = settings
        self._unit = unit
        self._intake = intake
        self._claims = claims
        self._topics = topics
        self._reader = Reader(intake.handlers)
        self._slots = Slots(settings.savers, settings.batch_records_max)
        self._is_draining = False
        self._has_left = asyncio.Event()
        self._failure: asyncio.Future[None] | None = None
        self._broker = KafkaBroker(
            settings.kafka_servers,
            client_id=intake.service,
            logger=logging.getLogger(__name__),
            log_level=logging.DEBUG,
            apply_types=False,
            allow_auto_create_topics=False,
            graceful_timeout=CALL_SECONDS,
        )
        self._subscriber = self._broker.subscriber(
            *topics,
            group_id=self.group_id,
            batch=True,
            max_records=settings.batch_records_max,
            batch_timeout_ms=POLL_MILLISECONDS,
            fetch_max_wait_ms=POLL_MILLISECONDS * 10,
            max_partition_fetch_bytes=FETCH_BYTES,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            session_timeout_ms=SESSION_SECONDS * 1000,
            heartbeat_interval_ms=SESSION_SECONDS * 1000 // 5,
            # An outage is waited for with the membership kept; the session's timeout finds the dead.
            max_poll_interval_ms=IDLE_MAX_SECONDS * 1000,
            rebalance_timeout_ms=SESSION_SECONDS * 1000,
            listener=_Forgetful(claims.forget_all),
            parser=_wrapped,
            decoder=_unwrapped,
            no_reply=True,
        )
        self._subscriber(self._take)
        claims.kafka = lambda: self._subscriber.consumer

    @property
    def group_id(self) -> str:
        """The group's name on Kafka; in PostgreSQL it is the service's name alone."""
        return self._settings.topic_prefix + self._intake.service

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Until `drain` is called. Raises TopicChanged, or what else no waiting can mend."""
        self._failure = asyncio.get_running_loop().create_future()
        workers = [asyncio.create_task(self._save_batches(), name="saver") for _ in range(self._slots.count)]
        workers.append(asyncio.create_task(self._keep(), name="keeper"))
        try:
            async with asyncio.timeout(self._settings.start_timeout_seconds):
                await self._broker.start()
            on_ready()
            done, _ = await asyncio.wait({*workers, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            await self._stop(*workers)

    async def drain(self) -> None:
        """Takes nothing more in, saves what is in hand, tells Kafka how far that was, leaves the group and ends `run`.

        A member that does not leave keeps its partitions from the others until its session ends.
        """
        self._is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_timeout_seconds):
                await self._slots.are_empty()
                await self._attempted(self._claims.tell_kafka)
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(None)
        with suppress(TimeoutError):
            async with asyncio.timeout(3 * CALL_SECONDS):
                await self._has_left.wait()

    @property
    def is_consuming(self) -> bool:
        """Whether the fetch loop is alive: FastStream's own `ping` does not know."""
        return any(not task.done() for task in self._subscriber.tasks)

    # The handler: FastStream calls it with whatever was fetched. It never raises.

    async def _take(self, records: Sequence[RawRecord]) -> None:
        if self._is_draining:
            return
        by_partition: defaultdict[Partition, list[RawRecord]] = defaultdict(list)
        for record in records:
            by_partition[Partition(self._topics[record.topic], record.partition)].append(record)
        try:
            for slot, share in self._shares(await self._claimed(by_partition)):
                batch = self._decoded(share)
                if batch is not None:
                    await self._slots.put(slot, batch)
        except asyncio.CancelledError:
            self._claims.forget(by_partition)
            raise
        except TopicChanged as error:
            self._claims.forget(by_partition)
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - FastStream would swallow it and go on behind it
            # What was fetched is read again under a fresh claim: nothing may be passed over.
            self._claims.forget(by_partition)
            if not is_transient(error) and not isinstance(error, (KafkaError, IllegalStateError)):
                self._fail(error)
            log.warning("records_wait", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
            self._claims.read_again(by_partition)

    async def _claimed(self, fetched: dict[Partition, list[RawRecord]]) -> dict[Partition, list[RawRecord]]:
        """The records that follow on under a claim. What comes first for a partition claims it and is fetched again."""
        held = {partition: claim for partition in fetched if (claim := self._claims.of(partition)) is not None}
        if len(held) < len(fetched):
            await self._claims.claim()
        following: dict[Partition, list[RawRecord]] = {}
        for partition, claim in held.items():
            if not claim.is_stopped and (rest := await self._claims.following(partition, claim, fetched[partition])):
                following[partition] = rest
        return following

    def _shares(
        self, fetched: dict[Partition, list[RawRecord]]
    ) -> Iterator[tuple[int, dict[Partition, list[RawRecord]]]]:
        """The records for each slot: all topics of one partition number go to the same, as their keys do."""
        for slot in range(self._slots.count):
            share = {
                place: records for place, records in fetched.items() if place.partition % self._slots.count == slot
            }
            if share:
                yield slot, share

    def _decoded(self, fetched: dict[Partition, list[RawRecord]]) -> Batch | None:
        received: list[Received] = []
        advances: dict[Partition, Advance] = {}
        read = self._reader.read
        for partition, records in fetched.items():
            claim = self._claims.of(partition)
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

    # A saver: commits one batch after the other.

    async def _save_batches(self) -> None:
        service = self._intake.service
        while True:
            taken = await self._slots.take()
            began = monotonic()
            await self._unit.persist(Records(taken.batch, self._intake, self._note))
            metrics.BATCH_SECONDS.labels(service).observe(monotonic() - began)
            metrics.BATCH_RECORDS.labels(service).observe(len(taken.batch))
            await self._slots.done(taken)

    def _note(self, batch: Batch, progress: Progress) -> None:
        """After each commit: who is fenced must ask the group; who is stopped waits for an operator."""
        for partition in progress.fenced:
            self._claims.fenced(partition, batch.advances[partition].owner)
        for partition in progress.stopped:
            self._claims.stop(partition, batch.advances[partition].owner)

    # The keeper: what must happen now and then although no record comes.

    async def _keep(self) -> None:
        claims = self._claims
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEP_SECONDS):
                    await claims.wake.wait()
            claims.wake.clear()
            for step in (claims.ask_the_group, claims.place_unclaimed, claims.resume_stopped, claims.tell_kafka):
                await self._attempted(step)

    async def _attempted(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(2 * CALL_SECONDS):
                await step()
        except Exception as error:
            if not is_transient(error) and not isinstance(error, (KafkaError, IllegalStateError)):
                raise
            log.info("keeper_waits", step=step.__name__, error=type(error).__name__)

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
        self._has_left.set()


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
