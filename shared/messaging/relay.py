"""The relay: publishes the outbox, in order for each key, and deletes what Kafka has acknowledged.

One at a time for each database: it holds an advisory lock on the very session that deletes. In a round every partition
gets one batch, and the next only after its acknowledgement. After any failure the producer is made anew and the lowest
row comes first again: a record may be repeated on the wire, never lost, never overtaken by a later one of its key.

What it writes waits for no disk: a deletion that a crash of PostgreSQL takes back is one more repetition, and who takes
the lock next looks at Kafka first.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from time import monotonic, time

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTopicError, KafkaError, MessageSizeTooLargeError

from shared.messaging import clients, metrics
from shared.messaging.adoption import SEQUENCE_HEADER, Acknowledged, Connection, adopt_what_kafka_has, delete
from shared.messaging.database import Row, connect, is_transient
from shared.messaging.outbox import ROW_BYTES_MAX, contents
from shared.messaging.settings import ServiceSettings
from shared.messaging.topics import partition_of

log = structlog.get_logger(__name__)

LOCK = 0x72656C6179  # "relay": one for each database
ROUND_ROWS = 1000
BATCH_BYTES = 900 * 1024
FULL_BYTES = BATCH_BYTES - 2 * ROW_BYTES_MAX
"""A batch takes no further row beyond this: on the wire each record has its key and some bytes besides."""
REQUEST_BYTES = 2 * 1024 * 1024
POLL_SECONDS = 0.1
LOCK_POLL_SECONDS = 1.0
RETRY_SECONDS = 0.5
SEND_SECONDS = 15.0
CALL_SECONDS = 10.0
TOPIC_SECONDS = 1.0
MISSING_SECONDS = 10.0


class Relay:
    """Publishes one service's outbox. `run` ends with its cancellation; `drain` waits until the outbox is empty."""

    def __init__(self, settings: ServiceSettings, service: str, publishes: Collection[str]) -> None:
        self._settings = settings
        self._service = service
        self._publishes = sorted(publishes)
        self._missing: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._is_empty = asyncio.Event()
        self.is_holding = False

    def wake(self) -> None:
        """Rows were committed just now."""
        self._is_empty.clear()
        self._wake.set()

    async def run(self) -> None:
        """Raises DatabaseBehindKafka; waits for everything else."""
        while True:
            try:
                await self._hold_the_lock()
            except (KafkaError, Exception) as error:
                if not (isinstance(error, KafkaError) or is_transient(error)):
                    raise
                metrics.RELAY_FAILURES.labels(self._service).inc()
                log.warning("relay_begins_anew", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def drain(self) -> None:
        """Until a look at the outbox found nothing to publish; at once where another process is the relay."""
        while self.is_holding and not self._is_empty.is_set():  # noqa: ASYNC110 - either may come first
            await asyncio.sleep(POLL_SECONDS / 2)

    async def _hold_the_lock(self) -> None:
        connection = await connect(
            self._settings.database_url, application=f"{self._service} relay", waits_for_disk=False
        )
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):  # noqa: ASYNC110 - of PostgreSQL
                await asyncio.sleep(LOCK_POLL_SECONDS)
            await adopt_what_kafka_has(connection, self._settings, self._service, self._publishes)
            self.is_holding = True
            log.info("relay_holds", service=self._service)
            await self._publish(connection)
        finally:
            self.is_holding = False
            with suppress(Exception):
                await connection.close(timeout=CALL_SECONDS / 5)
            if not connection.is_closed():
                connection.terminate()

    async def _publish(self, connection: Connection) -> None:
        producer = await self._started_producer()
        try:
            while True:
                self._wake.clear()
                rows = await _next_rows(connection, self._topics_that_are_missing())
                if rows:
                    await self._publish_round(connection, producer, rows)
                else:
                    self._is_empty.set()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(POLL_SECONDS):
                            await self._wake.wait()
        finally:
            await clients.stop(producer, CALL_SECONDS / 2)

    async def _started_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_servers,
            client_id=f"{self._service}-relay",
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES,
            request_timeout_ms=int(CALL_SECONDS * 1000),
        )
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await producer.start()
        except BaseException:
            await clients.stop(producer, CALL_SECONDS / 2)
            raise
        return producer

    async def _publish_round(self, connection: Connection, producer: AIOKafkaProducer, rows: Sequence[Row]) -> None:
        """One partition's failure keeps no other from going on; it is raised when the others are done."""
        by_partition = await self._by_partition(producer, rows)
        sends = [self._send(producer, place, part) for place, part in by_partition.items()]
        ends = await asyncio.gather(*sends, return_exceptions=True)
        acknowledged = [end for end in ends if isinstance(end, Acknowledged)]
        if acknowledged:
            await delete(connection, acknowledged)
        blocked = [end for end in ends if isinstance(end, _NeverSent)]
        for each in blocked:
            await _block(connection, each.row, each.reason)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, _NeverSent):
                raise end

    async def _by_partition(self, producer: AIOKafkaProducer, rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
        counts: dict[str, int] = {}
        by_partition: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
        for row in rows:
            topic = row["topic"]
            if topic not in counts:
                counts[topic] = await self._partition_count(producer, topic)
            if counts[topic]:
                by_partition[topic, partition_of(row["key"], row["id"], counts[topic])].append(row)
        return by_partition

    def _topics_that_are_missing(self) -> list[str]:
        """Those that were looked for in vain not long ago."""
        now = monotonic()
        self._missing = {topic: until for topic, until in self._missing.items() if until > now}
        return list(self._missing)

    async def _partition_count(self, producer: AIOKafkaProducer, topic: str) -> int:
        """0 for a topic that is not there: its rows wait, the others go on, and it is looked for again later."""
        physical = self._settings.topic_prefix + topic
        try:
            async with asyncio.timeout(TOPIC_SECONDS):
                return len(await producer.partitions_for(physical))
        except (KafkaError, TimeoutError) as error:
            log.warning("topic_is_missing", topic=physical, error=type(error).__name__, command="kello topics apply")
            self._missing[topic] = monotonic() + MISSING_SECONDS
            return 0

    async def _send(self, producer: AIOKafkaProducer, place: tuple[str, int], rows: Sequence[Row]) -> Acknowledged:
        """One batch, as many of the rows as fit. Raises _NeverSent where Kafka will not take the first."""
        topic, partition = place
        builder = producer.create_batch()
        sent: list[int] = []
        now = int(time() * 1000)
        for row in rows:
            if sent and builder.size() + len(row["key"] or b"") + len(row["records"]) > FULL_BYTES:
                break
            sequence = (SEQUENCE_HEADER, str(row["id"]).encode())
            for value, headers in contents(row["records"]):
                if builder.append(timestamp=now, key=row["key"], value=value, headers=[*headers, sequence]) is None:
                    raise RuntimeError(f"outbox row {row['id']} does not fit into a batch that has room for it")
            sent.append(row["id"])
        builder.close()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                future = await producer.send_batch(builder, self._settings.topic_prefix + topic, partition=partition)
                metadata = await future
        except (MessageSizeTooLargeError, InvalidTopicError) as error:
            if len(sent) == 1:
                raise _NeverSent(rows[0], f"Kafka refuses it: {type(error).__name__}") from error
            return await self._send(producer, place, rows[: len(sent) // 2])
        metrics.PUBLISHED.labels(self._service).inc(builder.record_count())
        return Acknowledged(sent, topic, partition, metadata.offset + builder.record_count() - 1)


class _NeverSent(Exception):
    """Kafka will never take this row: it waits for an operator, and so does its key."""

    def __init__(self, row: Row, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


async def _next_rows(connection: Connection, missing: Sequence[str]) -> list[Row]:
    """The lowest rows whose key is not blocked and whose topic is not missing."""
    return await connection.fetch(
        """
        SELECT o.id, o.topic, o.key, o.records
        FROM messaging.outbox AS o
        WHERE o.topic <> ALL ($2::text[])
            AND (NOT (SELECT EXISTS (SELECT FROM messaging.outbox_blocked)) OR NOT EXISTS (
                SELECT FROM messaging.outbox_blocked AS b WHERE b.topic = o.topic AND b.key IS NOT DISTINCT FROM o.key
            ))
        ORDER BY o.id
        LIMIT $1
        """,
        ROUND_ROWS,
        missing,
    )


async def _block(connection: Connection, row: Row, reason: str) -> None:
    log.error("outbox_row_blocked", id=row["id"], topic=row["topic"], reason=reason)
    await connection.execute(
        """
        INSERT INTO messaging.outbox_blocked (id, topic, key, reason)
        SELECT id, topic, key, $2 FROM messaging.outbox WHERE id = $1
        ON CONFLICT DO NOTHING
        """,
        row["id"],
        reason,
    )
