"""What `kello replay` does: a projection read again from Kafka, beside the live one, compared at one cut, swapped in.

The service runs on meanwhile. The comparison is of one snapshot of its database: the twins are brought to the offsets
which that snapshot holds, within its transaction. A swap holds the offsets' table for that moment, so that the service
waits, and writes the rows that differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from shared.messaging import offsets
from shared.messaging.dead_letters import Raw, edited
from shared.messaging.offsets import Partition, Stands
from shared.messaging.projections import Projection
from shared.messaging.rebuild import Rebuild
from shared.messaging.received import Reader, Received
from shared.messaging.replay import REBUILD_LOCK
from shared.messaging.service import Service
from shared.messaging.shadow import Comparison, Connection, Difference, Shadow
from shared.operations.installation import Installation, Range
from shared.operations.letters import Found, letters_of, offsets_at
from shared.operations.output import USAGE, Failed
from shared.operations.reading import records
from shared.schemas.registry import COMPACTED_TOPICS

STATEMENT_SECONDS = 600.0
CLOSE_RECORDS = 1000
"""Once no more records than these are left to catch up with, the cut is made."""
APPROACHES_MAX = 10
CUTS_MAX = 5

CHANGED_MEANWHILE = (
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)

Place = tuple[Partition, int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What of Kafka's log is replayed: from and until a time, or offsets of some partitions, the last not included."""

    since: datetime | None = None
    until: datetime | None = None
    first: Mapping[Partition, int] = field(default_factory=dict)
    last: Mapping[Partition, int] = field(default_factory=dict)

    @property
    def has_beginning(self) -> bool:
        return self.since is not None or bool(self.first)

    @property
    def has_end(self) -> bool:
        return self.until is not None or bool(self.last)


@dataclass(slots=True)
class Report:
    """How a replay went. `began_with`: nothing, or the live copy, on top of which the messages were decided again."""

    service: str
    projection: str
    began_with: str
    because: str
    records: int = 0
    decided: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    tables: Sequence[Comparison] = ()
    differences: Sequence[Difference] = ()
    swapped_rows: int | None = None
    left: int | None = None
    """Rows that still differ after the swap: those only live, unless they were to be removed."""
    ends_early: bool = False
    """What is only live came after the end: no difference."""

    @property
    def differing(self) -> int:
        """How many rows were not the same."""
        return self.among(self.tables)

    def among(self, tables: Sequence[Comparison]) -> int:
        """How many rows of a comparison are not the same."""
        only_live = 0 if self.ends_early else sum(table.only_live for table in tables)
        return only_live + sum(table.changed + table.only_rebuilt for table in tables)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with what comes out. `removing`: rows that are only in the live copy go."""

    swapping: bool
    removing: bool
    differences_max: int


async def replayed(here: Installation, service: Service[Any, Any], name: str, bounds: Bounds, wish: Wish) -> Report:
    """Rebuilds a projection and compares it, and swaps it in where that is wished. Raises Failed."""
    async with (
        here.database(service.name, statement_seconds=STATEMENT_SECONDS) as connection,
        here.consumer() as consumer,
    ):
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", REBUILD_LOCK):
            raise Failed(f"another projection of {service.name} is being rebuilt, or a dead letter replayed: try again")
        await connection.execute("SET idle_in_transaction_session_timeout TO '60s'; SET temp_buffers TO '64MB'")
        letters = _amended(await letters_of(here, service.name))
        replay = _Replay(here, service, name, bounds, connection, consumer, letters)
        return await replay.run(wish)


def _amended(letters: Sequence[Found]) -> dict[Place, Raw | None]:
    """What the live copy has instead of records that became dead letters: nothing, or what was replayed of them."""
    amended: dict[Place, Raw | None] = {}
    for found in letters:
        letter, end = found.letter, found.end
        record: Raw | None = None
        if end is not None and end.outcome == "replayed":
            record = letter.record
            for edit in found.edits:
                if edit.number == end.edit_number and edit.headers is not None:
                    record = edited(letter.record, edit.key, edit.value, edit.headers)
        amended[letter.place, letter.record.offset] = record
    return amended


class _Replay:
    """One replay of one projection."""

    def __init__(
        self,
        here: Installation,
        service: Service[Any, Any],
        name: str,
        bounds: Bounds,
        connection: Connection,
        consumer: AIOKafkaConsumer,
        amended: Mapping[Place, Raw | None],
    ) -> None:
        self._here = here
        self._service = service
        self._bounds = bounds
        self._connection = connection
        self._consumer = consumer
        self._amended = amended
        self._projection: Projection = service.projections[name]
        self._shadow = Shadow(connection, service.name, self._projection)
        self._rebuild = Rebuild(service, self._projection, self._shadow, connection)
        self._reader = Reader(service.handlers)
        self._report = Report(service.name, name, "", "")
        self._reached: dict[Partition, int] = {}
        """Up to where the twins hold what the live copy held, by partition."""

    async def run(self, wish: Wish) -> Report:
        report, began = self._report, monotonic()
        ranges = await self._here.ranges_seen_by(self._consumer, self._projection.topics)
        is_on_top = self._choose_the_beginning(ranges)
        report.ends_early = self._bounds.has_end and not is_on_top
        if wish.swapping and report.ends_early:
            raise Failed("what ends early would take the live copy back in time: bound its beginning, too", USAGE)
        if wish.removing and (is_on_top or self._bounds.has_end):
            raise Failed("rows can be removed only by a replay of everything, from the beginning", USAGE)
        async with self._connection.transaction(isolation="repeatable_read"):
            stands = await self._stands()
            await self._shadow.make(is_on_top=is_on_top)
        await self._read(await self._stretches(ranges, stands))
        self._reached = {place: stand for place, stand in stands.items() if place in ranges}
        await self._shadow.analyze()
        if not report.ends_early:
            await self._approach()
        await self._cut(wish)
        report.decided, report.left_out = self._rebuild.counts.decided, self._rebuild.counts.left_out
        report.seconds = round(monotonic() - began, 3)
        return report

    def _choose_the_beginning(self, ranges: Mapping[Partition, Range]) -> bool:
        """Whether the live copy is what the rebuild begins with: where not all is replayed, or Kafka has not all."""
        cut = sorted(
            {place.topic for place, (begin, _) in ranges.items() if begin and place.topic not in COMPACTED_TOPICS}
        )
        is_on_top = self._bounds.has_beginning or bool(cut)
        self._report.began_with = "the live copy" if is_on_top else "nothing"
        if self._bounds.has_beginning:
            self._report.because = "not all is replayed"
        else:
            self._report.because = f"Kafka no longer has the beginning of {', '.join(cut)}" if cut else "Kafka has all"
        return is_on_top

    async def _stands(self) -> dict[Partition, int]:
        """Up to where the live copy is, in this transaction's snapshot."""
        stands: Stands = await offsets.all_stands(self._connection, self._service.name)
        topics = self._projection.topics
        return {place: stand.next_offset for place, stand in stands.items() if place.topic in topics}

    async def _stretches(
        self, ranges: Mapping[Partition, Range], stands: Mapping[Partition, int]
    ) -> dict[Partition, Range]:
        """What is to be replayed of each partition, and never more than the live copy has seen."""
        bounds = self._bounds
        named = set(bounds.first) | set(bounds.last)
        if unknown := named - set(ranges):
            topic, partition = min(unknown)
            raise Failed(f"{topic}, partition {partition}, is not among what makes this projection", USAGE)
        since, until = await self._offsets_at(ranges, bounds.since), await self._offsets_at(ranges, bounds.until)
        stretches = {}
        for place, (begin, end) in ranges.items():
            if place not in stands or (named and place not in named):
                continue
            first = max(begin, bounds.first.get(place, begin), since.get(place, end) if bounds.since else begin)
            last = min(stands[place], bounds.last.get(place, end), until.get(place, end) if bounds.until else end)
            stretches[place] = Range(first, max(first, last))
        return stretches

    async def _offsets_at(self, ranges: Mapping[Partition, Range], time: datetime | None) -> dict[Partition, int]:
        if time is None:
            return {}
        milliseconds = int(time.timestamp() * 1000)
        return await offsets_at(self._here, self._consumer, dict.fromkeys(ranges, milliseconds))

    async def _read(self, stretches: Mapping[Partition, Range]) -> None:
        async for place, batch in records(self._here, self._consumer, stretches):
            self._report.records += len(batch)
            read = [each for record in batch if (each := self._received(place, record)) is not None]
            await self._rebuild.apply(read)

    def _received(self, place: Partition, record: Raw) -> Received | None:
        amended = self._amended.get((place, record.offset), record)
        if amended is None:
            self._rebuild.counts.leave_out("dead letter")
            return None
        received = self._reader.read(place, amended)
        if received is not None and received.message is None:
            self._rebuild.counts.leave_out("unreadable")
        return received if received is not None and self._rebuild.concerns(received) else None

    async def _approach(self) -> None:
        """What the service has taken in meanwhile, until little is left of it."""
        for _ in range(APPROACHES_MAX):
            stands = await self._stands()
            if sum(stand - self._reached.get(place, stand) for place, stand in stands.items()) <= CLOSE_RECORDS:
                return
            await self._catch_up(stands)

    async def _catch_up(self, stands: Mapping[Partition, int]) -> None:
        await self._read(
            {place: Range(self._reached[place], stand) for place, stand in stands.items() if place in self._reached}
        )
        self._reached.update({place: stand for place, stand in stands.items() if place in self._reached})

    async def _cut(self, wish: Wish) -> None:
        """Compares at one snapshot; where rows are to be swapped and change meanwhile, it is tried again."""
        for tries in range(1, CUTS_MAX + 1):
            before = dict(self._reached)
            try:
                async with self._connection.transaction(isolation="repeatable_read"):
                    await self._compare_and_swap(wish)
                    return
            except CHANGED_MEANWHILE:
                self._reached = before
                if tries == CUTS_MAX:
                    raise Failed(
                        f"the live rows changed at each of {CUTS_MAX} tries: kello pause {self._service.name} first"
                    ) from None

    async def _compare_and_swap(self, wish: Wish) -> None:
        if wish.swapping:
            # first and alone: the snapshot is taken after whoever is at it has committed
            await self._connection.execute("LOCK TABLE messaging.consumer_offset IN EXCLUSIVE MODE")
        stands = await self._stands()
        report = self._report
        if not report.ends_early:
            await self._catch_up(stands)
        report.tables = await self._shadow.compared()
        report.differences = await self._shadow.differences(wish.differences_max, with_only_live=not report.ends_early)
        if wish.swapping:
            report.swapped_rows = await self._shadow.swap(removing=wish.removing)
            report.left = report.among(await self._shadow.compared())
