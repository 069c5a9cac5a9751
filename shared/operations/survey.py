"""One look at an installation: how far each service is, what waits, and what needs an operator."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.messaging import dead_letter_store, offsets
from shared.messaging.dead_letters import read_back
from shared.messaging.migrate import migrations_of
from shared.messaging.offsets import Partition, Stand
from shared.messaging.relay import LOCK
from shared.operations import reading
from shared.operations.installation import Connection, Installation, Range, service_named
from shared.operations.output import Failed
from shared.operations.wire import members_of
from shared.schemas.envelope import moment_of

LATE_SECONDS = 60
"""A task that is due for longer is late: nobody performs it, or its provider says "later" again and again."""

LETTERS_READ_MAX = 5_000
FIRST_RECORDS_SECONDS = 3.0
FIRST_RECORDS_MAX = 100


@dataclass(frozen=True, slots=True)
class Lag:
    """What of a partition has not had its effect: how many records, and how long the oldest of them has waited."""

    topic: str
    partition: int
    next_offset: int | None
    end_offset: int
    records: int
    waiting_seconds: float | None = None
    dead_run: int = 0


@dataclass(frozen=True, slots=True)
class Tasks:
    """A service's tasks of one kind. Those that are late are among the due; a waiting one is due or has time."""

    kind: str
    later: int
    due: int
    late: int
    started: int
    unknown: int
    oldest_unknown_seconds: float | None


@dataclass(frozen=True, slots=True)
class Inside:
    """What a service's database says."""

    stands: Mapping[Partition, Stand]
    pause: str | None
    outbox_rows: int
    outbox_age_seconds: float | None
    outbox_blocked: int
    has_relay: bool
    tasks: Sequence[Tasks]
    versions: Mapping[str, int]
    pending: Sequence[str]

    @property
    def last_record_at(self) -> datetime | None:
        """The time of the newest record that had its effect."""
        times = [stand.last_timestamp for stand in self.stands.values() if stand.last_timestamp is not None]
        return moment_of(max(times)) if times else None


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service. `inside` is None where its database does not answer; `error` says how.

    `letters` wait for somebody: they were neither replayed nor dropped.
    """

    service: str
    processes: int
    lags: Sequence[Lag]
    letters: int
    published: int
    inside: Inside | None = None
    error: str | None = None

    @property
    def taken(self) -> int:
        """Records that had their effect, ever: the difference of two looks is a rate."""
        return sum(stand.next_offset for stand in self.inside.stands.values()) if self.inside else 0

    @property
    def lag_records(self) -> int:
        return sum(lag.records for lag in self.lags)

    @property
    def waiting_seconds(self) -> float | None:
        return max((lag.waiting_seconds for lag in self.lags if lag.waiting_seconds is not None), default=None)


@dataclass(frozen=True, slots=True)
class Survey:
    """All services at one moment."""

    at: datetime
    services: Sequence[ServiceState] = field(default_factory=tuple)


async def survey(here: Installation, services: Iterable[str] = ()) -> Survey:
    """Looks at services, or at all. Raises Failed where Kafka does not answer; a database that does not is told."""
    names = tuple(services) or here.services
    topics = {name: _topics_of(name) for name in names}
    insides = await asyncio.gather(*(_inside_or_error(here, name) for name in names))
    async with here.consumer() as consumer:
        ranges = await here.ranges_seen_by(consumer, {each for told in topics.values() for each in told.all})
        lags = {
            name: await _lags(here, consumer, topics[name].consumed, inside, ranges)
            for name, inside in zip(names, insides, strict=True)
        }
        letters = {name: await _letters(here, consumer, name, topics[name].dead, ranges) for name in names}
    async with here.admin() as admin:
        members = await members_of(admin, [here.physical(name) for name in names])
    states = [
        ServiceState(
            service=name,
            processes=members.get(here.physical(name), 0),
            lags=lags[name],
            letters=letters[name],
            published=sum(there.end for place, there in ranges.items() if place.topic in topics[name].published),
            inside=inside if isinstance(inside, Inside) else None,
            error=inside if isinstance(inside, str) else None,
        )
        for name, inside in zip(names, insides, strict=True)
    ]
    return Survey(datetime.now(UTC), states)


@dataclass(frozen=True, slots=True)
class _Topics:
    consumed: Collection[str]
    published: Collection[str]
    dead: str

    @property
    def all(self) -> list[str]:
        return [*self.consumed, *self.published, self.dead]


def _topics_of(name: str) -> _Topics:
    service = service_named(name)
    return _Topics(service.consumes, service.publishes, f"{name}.dead-letters")


async def _inside_or_error(here: Installation, service: str) -> Inside | str:
    try:
        async with here.database(service) as connection:
            return await _inside(connection, service)
    except Failed as failed:
        return str(failed)


async def _inside(connection: Connection, service: str) -> Inside:
    row = await connection.fetchrow(
        """
        SELECT (SELECT count(*) FROM messaging.outbox) AS outbox_rows,
            (
                SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8 FROM messaging.outbox
            ) AS outbox_age,
            (SELECT count(*) FROM messaging.outbox_blocked) AS outbox_blocked,
            (SELECT reason FROM messaging.consumer_pause WHERE consumer_group = $1) AS pause,
            EXISTS (
                SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
                WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
                    AND l.classid::bigint = $2::bigint >> 32 AND l.objid::bigint = $2::bigint & 4294967295
            ) AS has_relay
        """,
        service,
        LOCK,
    )
    assert row is not None  # noqa: S101 - a SELECT without FROM gives one row
    versions = await _versions(connection)
    return Inside(
        stands=await offsets.all_stands(connection, service),
        pause=row["pause"],
        outbox_rows=row["outbox_rows"],
        outbox_age_seconds=row["outbox_age"],
        outbox_blocked=row["outbox_blocked"],
        has_relay=row["has_relay"],
        tasks=await _tasks(connection),
        versions=versions,
        pending=[str(each) for each in migrations_of(service) if each.number > versions.get(each.component, 0)],
    )


async def _versions(connection: Connection) -> dict[str, int]:
    """The newest migration that was applied, by component: the kit's `messaging`, and the service's own."""
    rows = await connection.fetch("SELECT component, max(number) AS number FROM migration.applied GROUP BY component")
    return {row["component"]: row["number"] for row in rows}


async def _tasks(connection: Connection) -> list[Tasks]:
    rows = await connection.fetch(
        """
        SELECT kind,
            count(*) FILTER (WHERE state = 'waiting' AND due_at > messaging.kello_now()) AS later,
            count(*) FILTER (WHERE state = 'waiting' AND due_at <= messaging.kello_now()) AS due,
            count(*) FILTER (
                WHERE state = 'waiting' AND due_at <= messaging.kello_now() - make_interval(secs => $1)
            ) AS late,
            count(*) FILTER (WHERE state = 'started') AS started,
            count(*) FILTER (WHERE state IN ('unknown', 'asking')) AS unknown,
            extract(
                epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE state IN ('unknown', 'asking'))
            )::float8 AS oldest_unknown_seconds
        FROM messaging.task GROUP BY kind ORDER BY kind
        """,
        LATE_SECONDS,
    )
    return [Tasks(**row) for row in rows]


async def _lags(
    here: Installation,
    consumer: AIOKafkaConsumer,
    consumed: Collection[str],
    inside: Inside | str,
    ranges: Mapping[Partition, Range],
) -> list[Lag]:
    if isinstance(inside, str):
        return []
    lags = [_lag(place, ranges[place], inside.stands.get(place)) for place in sorted(ranges) if place.topic in consumed]
    firsts = {
        TopicPartition(here.physical(lag.topic), lag.partition): max(
            lag.next_offset or 0, ranges[Partition(lag.topic, lag.partition)].begin
        )
        for lag in lags
        if lag.records
    }
    since = await _timestamps(consumer, firsts)
    now = datetime.now(UTC)
    waiting = {place: (now - moment_of(since[place])).total_seconds() for place in firsts if place in since}
    return [
        Lag(
            lag.topic,
            lag.partition,
            lag.next_offset,
            lag.end_offset,
            lag.records,
            waiting.get(TopicPartition(here.physical(lag.topic), lag.partition)),
            lag.dead_run,
        )
        for lag in lags
    ]


def _lag(place: Partition, there: Range, stand: Stand | None) -> Lag:
    """Of a partition that was never claimed everything waits, from its begin."""
    first = max(stand.next_offset, there.begin) if stand is not None else there.begin
    return Lag(
        place.topic,
        place.partition,
        stand.next_offset if stand is not None else None,
        there.end,
        max(0, there.end - first),
        dead_run=stand.dead_run if stand is not None else 0,
    )


async def _letters(
    here: Installation, consumer: AIOKafkaConsumer, service: str, topic: str, ranges: Mapping[Partition, Range]
) -> int:
    """How many dead letters wait for somebody. Where there are too many to be read, those that ended count, too."""
    stretches = {place: there for place, there in ranges.items() if place.topic == topic and there.begin < there.end}
    written = sum(there.end - there.begin for there in stretches.values())
    if not written or written > LETTERS_READ_MAX:
        return written
    ids = {
        letter.id
        async for _, batch in reading.records(here, consumer, stretches)
        for record in batch
        if (letter := read_back(record)) is not None
    }
    try:
        async with here.database(service) as connection:
            return len(ids - set(await dead_letter_store.ends_of(connection, ids)))
    except Failed:
        return len(ids)


async def _timestamps(consumer: AIOKafkaConsumer, firsts: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """When the record at each place was appended, in milliseconds, as far as Kafka says it in time."""
    found: dict[TopicPartition, int] = {}
    if not firsts:
        return found
    consumer.assign(list(firsts))
    for place, offset in firsts.items():
        consumer.seek(place, offset)
    deadline = asyncio.get_running_loop().time() + FIRST_RECORDS_SECONDS
    while len(found) < len(firsts) and asyncio.get_running_loop().time() < deadline:
        fetched: dict[TopicPartition, list[Any]] = await consumer.getmany(timeout_ms=200, max_records=FIRST_RECORDS_MAX)
        for place, records in fetched.items():
            if records and place not in found:
                found[place] = records[0].timestamp
                consumer.pause(place)
    return found
