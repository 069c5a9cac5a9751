"""What Kafka has of an outbox: rows leave it when it has them, and a service looks there before it begins.

Every record that the relay publishes carries the id of its row in a header. So a start can tell a row that was sent by
a relay that died before it could delete it from a record that a later state of the database has published.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from shared.messaging import clients
from shared.messaging.database import Tx
from shared.messaging.outbox import Headers, contents
from shared.messaging.settings import ServiceSettings
from shared.messaging.topics import partitions_of

CALL_SECONDS = 10.0
READ_RECORDS = 4000
SEQUENCE_HEADER = "kello_sequence"

Published: TypeAlias = "ConsumerRecord[bytes, bytes]"

Connection: TypeAlias = Tx
"""A session, outside any transaction: the relay's own, or one of the pool while the service starts."""


class DatabaseBehindKafka(Exception):
    """The database lacks what it once published: it came back from a backup. Publishing would contradict Kafka."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What Kafka has taken of one partition in a round."""

    ids: Sequence[int]
    topic: str
    partition: int
    last_offset: int


async def adopt_what_kafka_has(
    connection: Connection, settings: ServiceSettings, service: str, publishes: Collection[str]
) -> None:
    """Reads the service's own topics beyond what was acknowledged, before anything is decided or published.

    A row of the outbox that is there already was sent by a relay that died before it could delete it: it is deleted.
    A record of ours that the database knows nothing of was published by a later state of it: DatabaseBehindKafka.
    """
    kafka = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_servers,
        client_id=f"{service}-adoption",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=int(CALL_SECONDS * 1000),
    )
    try:
        async with asyncio.timeout(CALL_SECONDS):
            await kafka.start()
        await _Adoption(connection, kafka, settings, service).run(publishes)
    finally:
        await clients.stop(kafka, CALL_SECONDS / 2)


async def delete(connection: Connection, acknowledged: Sequence[Acknowledged]) -> None:
    """Deletes what Kafka has, and notes how far that is, in one statement."""
    await connection.execute(
        """
        WITH gone AS (DELETE FROM messaging.outbox WHERE id = ANY ($1::bigint[]))
        INSERT INTO messaging.relay_position AS p (topic, partition, acknowledged_offset, acknowledged_id)
        SELECT * FROM unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[])
        ON CONFLICT (topic, partition) DO UPDATE
        SET acknowledged_offset = greatest(p.acknowledged_offset, excluded.acknowledged_offset),
            acknowledged_id = greatest(p.acknowledged_id, excluded.acknowledged_id)
        """,
        [row_id for each in acknowledged for row_id in each.ids],
        [each.topic for each in acknowledged],
        [each.partition for each in acknowledged],
        [each.last_offset for each in acknowledged],
        [max(each.ids) for each in acknowledged],
    )


def row_id_of(record: Published, service: str) -> int | None:
    """The outbox id of a record that the service published; None for anybody else's."""
    headers = dict(record.headers)
    is_ours = (
        headers.get("ce_source") == f"kello/{service}".encode() or headers.get("kello_dead_group") == service.encode()
    )
    digits = headers.get(SEQUENCE_HEADER) or b""
    return int(digits) if is_ours and digits.isdigit() else None


def event_id_of(record_headers: Headers) -> str:
    """The event id of a record of ours: a dead letter's is its own, not that of what it holds."""
    headers = dict(record_headers)
    return (headers.get("kello_dead_id") or headers.get("ce_id") or b"").decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class _Position:
    """How far a partition was acknowledged: the offset, and the highest outbox id among the records up to there."""

    offset: int
    row_id: int


NOTHING_YET = _Position(-1, 0)


class _Adoption:
    """One look at what Kafka has."""

    def __init__(
        self, connection: Connection, kafka: AIOKafkaConsumer, settings: ServiceSettings, service: str
    ) -> None:
        self._connection = connection
        self._kafka = kafka
        self._servers = settings.kafka_servers
        self._prefix = settings.topic_prefix
        self._service = service

    async def run(self, publishes: Collection[str]) -> None:
        positions = await self._positions()
        unread = await self._unread(publishes, positions)
        if not unread:
            return
        self._kafka.assign(list(unread))
        for place, (first, _) in unread.items():
            self._kafka.seek(place, first)
        while unread:
            async with asyncio.timeout(CALL_SECONDS):
                fetched = await self._kafka.getmany(timeout_ms=int(CALL_SECONDS * 100), max_records=READ_RECORDS)
            for place, records in fetched.items():
                topic = place.topic.removeprefix(self._prefix)
                await self._adopt(topic, place.partition, records)
            for place in list(unread):
                if await self._kafka.position(place) > unread[place][1]:
                    del unread[place]

    async def _positions(self) -> dict[tuple[str, int], _Position]:
        rows = await self._connection.fetch(
            "SELECT topic, partition, acknowledged_offset, acknowledged_id FROM messaging.relay_position"
        )
        return {
            (row["topic"], row["partition"]): _Position(row["acknowledged_offset"], row["acknowledged_id"])
            for row in rows
        }

    async def _unread(
        self, publishes: Collection[str], positions: Mapping[tuple[str, int], _Position]
    ) -> dict[TopicPartition, tuple[int, int]]:
        """First and last offset to read of each partition that has grown since."""
        known = await partitions_of(self._servers, [self._prefix + topic for topic in publishes])
        places = [place for places_of_topic in known.values() for place in places_of_topic]
        async with asyncio.timeout(CALL_SECONDS):
            begins, ends = await self._kafka.beginning_offsets(places), await self._kafka.end_offsets(places)
        unread = {}
        for place in places:
            reached = positions.get((place.topic.removeprefix(self._prefix), place.partition), NOTHING_YET).offset
            first = max(begins[place], reached + 1)
            if first < ends[place]:
                unread[place] = (first, ends[place] - 1)
        return unread

    async def _adopt(self, topic: str, partition: int, records: Sequence[Published]) -> None:
        ours = {row_id: record for record in records if (row_id := row_id_of(record, self._service)) is not None}
        if not ours:
            return
        unknown = await self._unknown(topic, partition, ours)
        if unknown:
            first = min(record.offset for record in unknown)
            raise DatabaseBehindKafka(
                f"{topic}, partition {partition}, offset {first} was published by a later state of this database, "
                f"which must have come back from a backup. Nothing was changed: kello restore {self._service}"
            )
        await delete(self._connection, [Acknowledged(list(ours), topic, partition, records[-1].offset)])

    async def _unknown(self, topic: str, partition: int, ours: Mapping[int, Published]) -> list[Published]:
        """Those whose rows are neither waiting nor acknowledged. One statement: another process may be the relay, and
        what it has published since leaves the outbox in the moment in which it is noted as acknowledged.

        A row that waits under the same number with other events is no sign of it: a database that came back from a
        backup under a running service gives numbers anew.
        """
        rows = await self._connection.fetch(
            """
            SELECT b.id, o.records FROM unnest($3::bigint[]) AS b (id) LEFT JOIN messaging.outbox AS o USING (id)
            WHERE NOT EXISTS (
                SELECT FROM messaging.relay_position AS p
                WHERE p.topic = $1 AND p.partition = $2 AND p.acknowledged_id >= b.id
            )
            """,
            topic,
            partition,
            list(ours),
        )
        waiting = {
            row["id"]: {event_id_of(each.headers) for each in contents(row["records"])}
            for row in rows
            if row["records"] is not None
        }
        unheard = (row["id"] for row in rows)
        return [ours[row_id] for row_id in unheard if event_id_of(ours[row_id].headers) not in waiting.get(row_id, ())]
