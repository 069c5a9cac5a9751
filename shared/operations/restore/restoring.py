"""The whole of a restore: what to read from Kafka, one transaction, and where everything stands at its end."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.messaging import adoption, dead_letter_store, inbox
from shared.messaging.adoption import Acknowledged, event_id_of
from shared.messaging.database import Tx
from shared.messaging.dead_letter_store import End
from shared.messaging.dead_letters import Raw
from shared.messaging.offsets import Partition, Stands, all_stands
from shared.messaging.outbox import contents
from shared.messaging.relay import LOCK
from shared.messaging.retold import Retell
from shared.messaging.service import Service
from shared.messaging.tasks import TaskKind
from shared.operations.installation import CALL_SECONDS, Connection, Installation, Range
from shared.operations.letters import letters_of
from shared.operations.output import Failed
from shared.operations.restore.again import Again
from shared.operations.restore.history import BY, Done, History, NotComeOut
from shared.operations.restore.inputs import Inputs
from shared.operations.restore.published import Published, Step, by_type

STATEMENT_SECONDS = 300.0
READ_RECORDS = 5000
POLL_MILLISECONDS = 500
IDENTITIES_AT_ONCE = 10_000
PUNCTUAL_KEYS_MAX = 100
CLOCKS_APART_MILLISECONDS = 5000
"""Brokers' clocks may differ by so much."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a restore did, or would do."""

    service: str
    is_needed: bool
    kept: bool
    adopted: Mapping[str, int] = field(default_factory=dict)
    """Records on Kafka that came out again, by type."""
    taken_in: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)
    """Tasks that had ended, by kind."""
    to_ask: Mapping[str, int] = field(default_factory=dict)
    """Calls that may have been made: the service asks about them when it starts."""
    to_publish: int = 0
    lost: Sequence[str] = ()
    """What nobody can tell any more, and nothing published depends on."""


async def restored(
    installed: Installation,
    service: Service[Any, Any],
    kinds: Sequence[TaskKind[Any]],
    retell: Retell,
    *,
    keep: bool,
) -> Report:
    """One restore, kept or only tried. Raises Failed."""
    async with installed.database(service.name, statement_seconds=STATEMENT_SECONDS) as connection:
        # between two statements records are read and decided upon, and a provider may be asked
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            raise Failed(f"{service.name} is running on this database: stop it first")
        restore = _Restore(installed, service, {kind.kind: kind for kind in kinds}, retell, connection)
        trial = connection.transaction()
        await trial.start()
        try:
            report = await restore.run(keep=keep)
        except BaseException:
            await trial.rollback()
            raise
        await (trial.commit() if keep else trial.rollback())
        return report


class _Restore:
    """One restore, within its transaction."""

    def __init__(
        self,
        installed: Installation,
        service: Service[Any, Any],
        kinds: Mapping[str, TaskKind[Any]],
        retell: Retell,
        tx: Connection,
    ) -> None:
        self._installed = installed
        self._service = service
        self._kinds = kinds
        self._retell = retell
        self._tx: Tx = tx

    async def run(self, *, keep: bool) -> Report:
        published = await self._published()
        stands = await all_stands(self._tx, self._service.name)
        taken_in = await self._committed()
        if published.is_empty and not any(
            taken_in[place] > stands[place].next_offset for place in taken_in.keys() & stands.keys()
        ):
            return Report(self._service.name, False, keep)
        steps = published.transactions()
        inputs, taken_in = await self._inputs(published, steps, stands, taken_in)
        steps = published.transactions()  # without the answers to letters that were dropped, which are known by now
        await self._number_rows_from(published.highest + 1)
        done = await self._come_again(published, inputs, steps, taken_in)
        await self._set_stands(inputs, {**taken_in, **_higher(inputs.reached(), taken_in)}, stands)
        await adoption.delete(self._tx, _acknowledged(published))
        to_ask = await self._ask_about_calls()
        await self._tx.execute("SET CONSTRAINTS ALL IMMEDIATE")
        adopted = by_type(list(published.told.values()))
        if published.letters:
            adopted["dead letters"] = len(published.letters)
        return Report(
            self._service.name, True, keep, adopted, done.taken_in, dict(done.ended), to_ask, done.to_publish, done.lost
        )

    async def _come_again(
        self, published: Published, inputs: Inputs, steps: Sequence[Sequence[Step]], taken_in: Mapping[Partition, int]
    ) -> Done:
        """Nobody knows when what was published nothing of was taken in: first as late as it can be; and where something
        does not come out so, everything once more, with what is under its keys taken in as soon as it came."""
        shift: timedelta = await self._tx.fetchval("SELECT shift FROM messaging.clock")
        punctual: frozenset[str] = frozenset()
        while True:
            history = History(
                self._tx, Again(self._service, published), inputs, self._kinds, self._retell, shift, punctual
            )
            try:
                with inputs.trying():
                    async with self._tx.transaction():
                        await history.come_again(steps)
                        await history.take_in_the_rest({**taken_in, **_higher(inputs.reached(), taken_in)})
            except NotComeOut as failure:
                if failure.keys <= punctual or len(punctual) > PUNCTUAL_KEYS_MAX:
                    raise
                punctual |= failure.keys
            else:
                break
        for letter_id in published.dropped:
            await dead_letter_store.end(self._tx, End(letter_id, "dropped", BY, reason="its sender was told so"))
        return history.done

    # Kafka

    async def _published(self) -> Published:
        """Everything of ours beyond what the backup knows as acknowledged."""
        rows = await self._tx.fetch("SELECT id, records FROM messaging.outbox")
        waiting = {row["id"]: [event_id_of(each.headers) for each in contents(row["records"])] for row in rows}
        published = Published(self._service.name, waiting)
        known = {
            Partition(row["topic"], row["partition"]): (row["acknowledged_offset"], row["acknowledged_id"])
            for row in await self._tx.fetch("SELECT * FROM messaging.relay_position")
        }
        topics = [*self._service.publishes, f"{self._service.name}.dead-letters"]
        ranges = await self._installed.ranges(topics)
        wanted = {}
        for place, range_ in ranges.items():
            first = max(range_.begin, known.get(place, (-1, 0))[0] + 1)
            if first < range_.end:
                wanted[place] = (first, range_.end)
        async for place, records in self._read(wanted):
            published.add(place, records, known.get(place, (-1, 0))[1])
        return published

    async def _committed(self) -> dict[Partition, int]:
        """How far the service had told Kafka that it was: at least so far it had taken in."""
        group = self._installed.physical(self._service.name)
        async with self._installed.admin() as admin, asyncio.timeout(CALL_SECONDS):
            offsets = await admin.list_consumer_group_offsets(group)
        return {
            Partition(self._installed.logical(place.topic), place.partition): told.offset
            for place, told in offsets.items()
            if self._installed.logical(place.topic) in self._service.consumes and told.offset >= 0
        }

    async def _inputs(
        self,
        published: Published,
        steps: Sequence[Sequence[Step]],
        stands: Stands,
        told: Mapping[Partition, int],
    ) -> tuple[Inputs, dict[Partition, int]]:
        """What was taken in since the backup: all that Kafka was told of, and what came before the last event. And the
        offsets up to which that is; what came right after them is read, too, since brokers' clocks differ."""
        ranges = await self._installed.ranges(self._service.consumes)
        begins: dict[Partition, int] = {}
        for place, range_ in ranges.items():
            stand = stands.get(place)
            begins[place] = stand.next_offset if stand is not None else range_.begin
            if not range_.begin <= begins[place] <= range_.end:
                raise Failed(
                    f"{place.topic} {place.partition} holds the offsets {range_.begin} to {range_.end}, and the backup "
                    f"stood at {begins[place]}: retention took what {self._service.name} had decided on since, or the "
                    "topic was recreated. Bring back a later backup"
                )
        alive = await self._offsets_at(ranges, published.last_timestamp)
        after = await self._offsets_at(ranges, published.last_timestamp + CLOCKS_APART_MILLISECONDS)
        taken_in = {place: max(told.get(place, 0), alive[place], begin) for place, begin in begins.items()}
        inputs = Inputs(self._service.handlers, published.letters.keys())
        wanted = {place: (begin, max(taken_in[place], after[place])) for place, begin in begins.items()}
        async for place, records in self._read(wanted):
            inputs.add(place, records)
        causes = {step.cause_id for together in steps for step in together}
        missing = {cause for cause in causes if cause.partition("/")[0] not in self._kinds}
        await self._add_letters(published, inputs, missing - set(inputs.ids))
        inputs.forget(await self._known(inputs))
        inputs.mark_loud(causes)
        return inputs, taken_in

    async def _add_letters(self, published: Published, inputs: Inputs, missing: Collection[str]) -> None:
        """What was published of letters that somebody replayed or dropped since the backup."""
        for found in await letters_of(self._installed, self._service.name) if missing else ():
            if found.letter.event_id in missing and found.end is None:
                published.note_answer(found.letter, is_new=False)
                inputs.add_letter(found.letter)

    async def _known(self, inputs: Inputs) -> dict[inbox.Identity, int]:
        """What the backup's inbox holds of them, with the hashes of what they said."""
        identities = list(inputs.identities)
        known: dict[inbox.Identity, int] = {}
        for begin in range(0, len(identities), IDENTITIES_AT_ONCE):
            some = identities[begin : begin + IDENTITIES_AT_ONCE]
            known |= await inbox.hashes_of(self._tx, self._service.name, some)
        return known

    async def _offsets_at(self, ranges: Mapping[Partition, Range], timestamp: int) -> dict[Partition, int]:
        """The first offset of each partition that came later than that, in milliseconds; else its end."""
        places = {TopicPartition(self._installed.physical(place.topic), place.partition): place for place in ranges}
        async with self._installed.consumer() as consumer, asyncio.timeout(CALL_SECONDS):
            found = await consumer.offsets_for_times(dict.fromkeys(places, timestamp))
        return {
            place: at.offset if (at := found.get(physical)) is not None else ranges[place].end
            for physical, place in places.items()
        }

    async def _read(self, wanted: Mapping[Partition, tuple[int, int]]) -> AsyncIterator[tuple[Partition, list[Raw]]]:
        """The records of each partition from one offset up to another."""
        ends = {
            TopicPartition(self._installed.physical(place.topic), place.partition): end
            for place, (begin, end) in wanted.items()
            if begin < end
        }
        if not ends:
            return
        async with self._installed.consumer() as consumer:
            consumer.assign(list(ends))
            for place in ends:
                consumer.seek(place, wanted[self._logical(place)][0])
            async for place, records in _fetched(consumer, ends):
                yield self._logical(place), records

    def _logical(self, place: TopicPartition) -> Partition:
        return Partition(self._installed.logical(place.topic), place.partition)

    # Where everything stands

    async def _number_rows_from(self, first: int) -> None:
        """Rows of the outbox never take a number again that is on Kafka. Unlike a sequence's own value, this is taken
        back with the transaction; and it keeps everybody else from the outbox meanwhile."""
        (sequence,) = await self._tx.fetch("SELECT pg_get_serial_sequence('messaging.outbox', 'id') AS name")
        last = await self._tx.fetchval("SELECT coalesce(pg_sequence_last_value($1::regclass), 0)", sequence["name"])
        await self._tx.execute(f"ALTER TABLE messaging.outbox ALTER COLUMN id RESTART WITH {max(first, last + 1):d}")

    async def _set_stands(self, inputs: Inputs, reached: Mapping[Partition, int], stands: Stands) -> None:
        """Where each partition goes on: whoever holds a claim on one is fenced."""
        rows: list[tuple[str, int, int, int, int]] = []
        for place, end in sorted(reached.items()):
            last, stand = inputs.stand_at(place, end), stands.get(place)
            if last is None:
                continue
            run, before = inputs.dead_run(place, end), stand.dead_run if stand is not None else 0
            rows.append((*place, last[0] + 1, last[1], before if run is None else run))
        await self._tx.execute(
            """
            INSERT INTO messaging.consumer_offset AS o (
                consumer_group, topic, partition, owner, next_offset, last_timestamp, dead_run
            )
            SELECT $1, b.topic, b.partition, $2, b.next_offset, b.last_timestamp, b.dead_run
            FROM unnest($3::text[], $4::integer[], $5::bigint[], $6::bigint[], $7::integer[])
                AS b (topic, partition, next_offset, last_timestamp, dead_run)
            ON CONFLICT (consumer_group, topic, partition) DO UPDATE
            SET owner = excluded.owner, next_offset = excluded.next_offset, last_timestamp = excluded.last_timestamp,
                dead_run = excluded.dead_run
            """,
            self._service.name,
            uuid4(),
            *([row[n] for row in rows] for n in range(5)),
        )

    async def _ask_about_calls(self) -> dict[str, int]:
        """What was due may have been started, so it is never simply done: the provider is asked first."""
        rows = await self._tx.fetch(
            """
            WITH asked AS (
                UPDATE messaging.task
                SET state = 'unknown', due_at = clock_timestamp(), lease = NULL, lease_until = NULL,
                    last_reason = 'the database came back from a backup'
                WHERE kind = ANY ($1::text[])
                    AND (state IN ('started', 'asking') OR (state = 'waiting' AND due_at <= messaging.kello_now()))
                RETURNING kind
            )
            SELECT kind, count(*) AS n FROM asked GROUP BY kind ORDER BY kind
            """,
            [name for name, kind in self._kinds.items() if kind.perform is not None],
        )
        return {row["kind"]: row["n"] for row in rows}


def _acknowledged(published: Published) -> list[Acknowledged]:
    """What Kafka has; the rows of the backup's outbox that are among it go with it."""
    reached = list(published.reached.values())
    if not reached or not published.sent_rows:
        return reached
    first, *others = reached
    ids = [*first.ids, *sorted(published.sent_rows)]
    return [Acknowledged(ids, first.topic, first.partition, first.last_offset), *others]


def _higher(reached: Mapping[Partition, int], told: Mapping[Partition, int]) -> dict[Partition, int]:
    return {place: max(end, told.get(place, 0)) for place, end in reached.items()}


async def _fetched(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
) -> AsyncIterator[tuple[TopicPartition, list[Raw]]]:
    left = set(ends)
    while left:
        async with asyncio.timeout(2 * CALL_SECONDS):
            fetched = await consumer.getmany(*left, timeout_ms=POLL_MILLISECONDS, max_records=READ_RECORDS)
        for place, records in fetched.items():
            yield place, [record for record in records if record.offset < ends[place]]
        for place in list(left):
            if await consumer.position(place) >= ends[place]:
                left.discard(place)
