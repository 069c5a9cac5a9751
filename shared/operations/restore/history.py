"""What was decided since the backup, decided again in its order, until every event on Kafka has come out once more.

What was published of names its cause, its moment and its place. What nothing was published of (a copy that was
refreshed, a mail that was ordered) is brought in when something published cannot have come out without it: what led to
it, what was before it under its key, and then what else could have changed its outcome, the oldest first.
"""

from bisect import bisect
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate, islice
from typing import Any

from pydantic import ValidationError

from shared.messaging import dead_letter_store
from shared.messaging.database import Conflict, Row, Tx, is_the_data
from shared.messaging.dead_letter_store import End
from shared.messaging.decision import Due
from shared.messaging.offsets import Partition
from shared.messaging.received import Received
from shared.messaging.retold import NotRetold, Retell, Retold
from shared.messaging.tasks import TaskCall, TaskKind
from shared.operations.output import Failed
from shared.operations.restore.again import Again, Case, Ended, Mismatch
from shared.operations.restore.inputs import Inputs, came_at, token_of
from shared.operations.restore.outcomes import beginnings, claimed_at, message_id, outcome_of, readings
from shared.operations.restore.published import Step, Told
from shared.schemas import registry
from shared.schemas.base import Payload

TOGETHER_SECONDS = 1.0
TOGETHER_MAX = 500
CLOCKS_APART = timedelta(seconds=5)
ONE_BY_ONE = 8
TIMERS_MAX = 1000
CALLS_GUESSED_MAX = 16
BY = "kello restore"
"""Who ended a letter, where whoever did was lost with the database."""


class NotComeOut(Failed):
    """Something on Kafka does not come out of what this database and Kafka hold, as things were brought in."""

    def __init__(self, what: object, why: object, keys: Collection[str] = ()) -> None:
        super().__init__(f"cannot adopt {what}: {why}. Nothing was changed")
        self.keys = frozenset(keys)


@dataclass(slots=True)
class Done:
    """What a restore has done so far."""

    told: Counter[str] = field(default_factory=Counter)
    taken_in: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    to_publish: int = 0
    lost: list[str] = field(default_factory=list)


@dataclass(slots=True)
class History:
    """The restore of one service's rows, in one transaction. `bounds` is how far each partition had been taken in."""

    tx: Tx
    again: Again
    inputs: Inputs
    kinds: Mapping[str, TaskKind[Any]]
    retell: Retell
    shift: timedelta
    """How far the business clock is from the real one."""
    punctual: frozenset[str] = frozenset()
    """Keys under which everything was taken in as soon as it came; of the others nothing is, unless it is needed."""
    done: Done = field(default_factory=Done)
    _loud: dict[Partition, dict[int, int]] = field(default_factory=dict)
    """By offset: the sequence of what was published of a record."""
    _followers: dict[Partition, tuple[Sequence[int], Sequence[int]]] = field(default_factory=dict)
    """Those offsets in their order, and the lowest sequence from each on."""
    _ahead: Counter[str] = field(default_factory=Counter)
    """Tasks whose end was published and is still to come, by every beginning of their messages' ids."""

    async def come_again(self, transactions: Sequence[Sequence[Step]]) -> None:
        """Raises Failed where something on Kafka cannot come out of what this database and Kafka hold."""
        for steps in transactions:
            for step in steps:
                self._ahead.update(beginnings(step.cause_id))
        for steps in transactions:
            await self._transaction(steps)
            for step in steps:
                self._ahead.subtract(beginnings(step.cause_id))

    async def take_in_the_rest(self, bounds: Mapping[Partition, int]) -> None:
        """What was taken in below these offsets and led to nothing that was published."""
        self._followers = {partition: _followers(loud) for partition, loud in self._loud.items()}
        for chunk in _chunks(self.inputs.left(bounds)):
            try:
                await self._take_in(chunk, self._moment(came_at(chunk[-1])))
            except Mismatch as mismatch:
                first, last = chunk[0].record, chunk[-1].record
                place = f"what came from {came_at(chunk[0]):%H:%M:%S} on ({first.topic} {first.offset} to "
                raise NotComeOut(f"{place}{last.topic} {last.offset})", mismatch) from mismatch

    # One transaction of old

    async def _transaction(self, steps: Sequence[Step]) -> None:
        """As a whole, as it was; where that does not come out, step by step."""
        if not any(step.keys & self.punctual for step in steps):
            with suppress(Mismatch):
                async with self._trying():
                    await self._come_out(steps)
                return
        are_turns = len(steps) > 1 and all(self._is_timer(step) for step in steps)
        if not (are_turns and await self._found(steps)):
            for step in steps:
                await self._found([step])

    async def _found(self, steps: Sequence[Step]) -> bool:
        """Whether the steps come out when what may have come before them is brought in, bit by bit."""
        why: Mismatch | None = None
        try:
            async with self._trying():
                async for _ in self._bit_by_bit(steps):
                    try:
                        async with self._trying():
                            await self._come_out(steps)
                    except Mismatch as mismatch:
                        why = why or mismatch
                    else:
                        return True
                raise why or Mismatch("nothing was tried")
        except Mismatch as mismatch:
            if len(steps) > 1:
                return False
            raise NotComeOut(steps[0], mismatch, steps[0].keys | await self._roots(steps)) from mismatch

    async def _bit_by_bit(self, steps: Sequence[Step]) -> AsyncIterator[None]:
        """After each bit that was brought in: first nothing; under the same keys; timers that were due; any key."""
        now, before = steps[0].now, steps[0].sequence - 1
        keys = {key for step in steps for key in step.keys} | await self._roots(steps)
        if keys & self.punctual:
            began = min(self._began(step) for step in steps)
            for each in self.inputs.silent(began - self.shift, keys & self.punctual):
                await self._bring_if_it_fits([each], now, before)
        yield
        until = now - self.shift + CLOCKS_APART
        scheduled_by = [received for step in steps if (received := self._scheduled_by(step)) is not None]
        for some in _growing(self.inputs.silent(until, keys, apart_from=scheduled_by)):
            await self._bring_if_it_fits(some, now, before)
            yield
        for _ in range(TIMERS_MAX):
            row = await self._timer_due(now)
            if row is None:
                break
            await self._end(row, Retold(Due()), row["due_at"], before)
            yield
        for some in _growing(self.inputs.silent(until, apart_from=scheduled_by)):
            await self._bring_if_it_fits(some, now, before)
            yield

    def _began(self, step: Step) -> datetime:
        """Until when something could change what a step came from: a call's claim, or the decision itself."""
        return claimed_at(step) if step.cause_id.partition("/")[0] in self.kinds else step.now

    def _is_timer(self, step: Step) -> bool:
        kind = self.kinds.get(step.cause_id.partition("/")[0])
        return kind is not None and kind.perform is None and self.inputs.of_cause(step.cause_id) is None

    def _scheduled_by(self, step: Step) -> Received | None:
        """The record that led to the task that ended: it is brought in with the step itself."""
        kind = step.cause_id.partition("/")[0]
        found = (
            (self.inputs.of_token(token) for _, token in readings(kind, step.cause_id)) if kind in self.kinds else ()
        )
        return next((each for each in found if each is not None), None)

    async def _roots(self, steps: Sequence[Step]) -> set[str]:
        causes = [self.inputs.of_cause(step.cause_id) for step in steps]
        return {each.message.key for each in causes if each is not None and each.message is not None}

    async def _come_out(self, steps: Sequence[Step]) -> None:
        """Decides the steps together. Raises Mismatch."""
        before = max(step.records[-1].sequence for step in steps)
        cases = [await self._case(step, before) for step in steps]
        for case in cases:
            if isinstance(case.cause, Received):
                await self._bring(self.inputs.before(case.cause), steps[0].now, steps[0].sequence - 1)
        await self._decide(cases, steps[0].now)

    async def _decide(self, cases: Sequence[Case], now: datetime) -> None:
        try:
            self.done.to_publish += await self.again.decide_again(self.tx, cases, now)
        except Conflict as conflict:
            raise Mismatch(str(conflict)) from conflict
        except Exception as error:
            if not is_the_data(error):
                raise
            raise Mismatch(f"PostgreSQL refuses it: {type(error).__name__}") from error
        self.inputs.take(case.cause for case in cases if isinstance(case.cause, Received))
        for case in cases:
            if case.step is not None:
                self.done.told.update(told.type for told in case.step.records)
            if isinstance(case.cause, Received):
                self.done.taken_in += 1
                letter_id = self.inputs.replayed_letter(case.cause)
                if letter_id is not None:
                    await dead_letter_store.end(self.tx, End(letter_id, "replayed", BY))
                elif case.step is not None:
                    self._loud.setdefault(case.cause.partition, {})[case.cause.record.offset] = case.step.sequence
            else:
                self.done.ended[case.cause.kind] += 1

    async def _case(self, step: Step, before: int) -> Case:
        received = self.inputs.of_cause(step.cause_id)
        if received is not None:
            return Case(received, step, before)
        kind = self.kinds.get(step.cause_id.partition("/")[0])
        if kind is None:
            raise NotComeOut(
                step,
                "its cause is not among the records since the backup. If this database was written to after it came "
                "back, bring the backup back once more; if a dead letter was edited and replayed, or retention took "
                "the record, a later backup is needed",
            )
        row = await self._task_of(kind.kind, step)
        return Case(await self._ended(row, kind, step), step, before)

    # Tasks

    async def _task_of(self, kind: str, step: Step) -> Row:
        """The task that ended, as it was scheduled; what scheduled it is brought in first. Raises Mismatch."""
        places = readings(kind, step.cause_id)
        for _ in range(TIMERS_MAX):
            row = await self._row(kind, [key for key, _ in places])
            if row is not None:
                return row
            if not await self._bring_cause(step, {token for _, token in places}):
                break
        raise Mismatch(f"nothing is known of the task {step.cause_id}")

    async def _bring_cause(self, step: Step, tokens: set[str]) -> bool:
        """What scheduled a task: a record, a timer, or a call that ended without a word."""
        for token in tokens:
            received = self.inputs.of_token(token)
            if received is not None:
                await self._bring([received], step.now, step.sequence - 1)
                return True
        for row in await self._waiting(step.now):
            kind = self.kinds[row["kind"]]
            if kind.perform is None and token_of(*message_id(row, row["attempts"] + 1)) in tokens:
                await self._end(row, Retold(Due()), row["due_at"], step.sequence - 1)
                return True
            if kind.perform is not None and row["root"] in step.keys:
                for attempts in range(1, CALLS_GUESSED_MAX):
                    if token_of(*message_id(row, attempts)) in tokens:
                        call = TaskCall(row["kind"], row["key"], attempts, self._idempotency_key(row))
                        retold = await self._retold(kind, row, call, ())
                        await self._end(row, retold, step.now, step.sequence - 1)
                        return True
        return False

    async def _ended(self, row: Row, kind: TaskKind[Any], step: Step) -> Ended:
        attempts, _, reconciliations = step.cause_id.rpartition("/")[2].partition(".")
        call = TaskCall(
            row["kind"], row["key"], max(int(attempts), 1), self._idempotency_key(row), int(reconciliations)
        )
        retold = Retold(Due()) if kind.perform is None else await self._retold(kind, row, call, step.records)
        message = outcome_of(row, kind, retold, claimed_at(step), int(attempts), int(reconciliations))
        message.id = step.cause_id
        return Ended(row["kind"], row["key"], message)

    async def _end(self, row: Row, retold: Retold, at: datetime, before: int) -> None:
        """A task ends, and nothing was published of it."""
        kind = self.kinds[row["kind"]]
        message = outcome_of(row, kind, retold, at, row["attempts"] + 1, 0)
        await self._decide([Case(Ended(row["kind"], row["key"], message), None, before)], at)

    async def _retold(self, kind: TaskKind[Any], row: Row, call: TaskCall, told: Sequence[Told]) -> Retold:
        events: list[Payload] = [registry.parse(each.type, each.value or b"") for each in told]
        try:
            retold = await self.retell(kind, kind.payload.model_validate_json(row["payload"]), call, events)
        except NotRetold as error:
            raise NotComeOut(f"the end of {call.kind} {call.key}", error) from error
        except ValidationError as error:
            raise NotComeOut(f"the task {call.kind} {call.key}", "its payload cannot be read") from error
        if retold.lost is not None and retold.lost not in self.done.lost:
            self.done.lost.append(retold.lost)
        return retold

    def _idempotency_key(self, row: Row) -> str:
        return f"{self.again.service}:{row['kind']}:{row['key']}"

    async def _row(self, kind: str, keys: Sequence[str]) -> Row | None:
        sql = "SELECT * FROM messaging.task WHERE kind = $1 AND key = ANY ($2::text[])"
        return await self.tx.fetchrow(sql, kind, keys)

    async def _waiting(self, now: datetime) -> list[Row]:
        return await self.tx.fetch(
            "SELECT * FROM messaging.task WHERE due_at <= $1 OR state <> 'waiting' ORDER BY due_at, kind, key", now
        )

    async def _timer_due(self, now: datetime) -> Row | None:
        """The first timer that must have come due without a word: of the others, the word is still to come."""
        timers = [name for name, kind in self.kinds.items() if kind.perform is None]
        rows = await self.tx.fetch(
            """
            SELECT * FROM messaging.task
            WHERE kind = ANY ($1::text[]) AND state = 'waiting' AND due_at <= $2
            ORDER BY due_at, kind, key
            """,
            timers,
            now,
        )
        return next((row for row in rows if not self._ahead[f"{row['kind']}/{row['key']}"]), None)

    # Records

    async def _bring(self, wanted: Sequence[Received], now: datetime, before: int) -> None:
        """Takes records in that nothing was published of, and what was before them. Raises Mismatch."""
        for chunk in _chunks(self.inputs.with_those_before(wanted)):
            await self._take_in(chunk, min(now, self._moment(came_at(chunk[-1]))), before)

    async def _bring_if_it_fits(self, wanted: Sequence[Received], now: datetime, before: int) -> None:
        """What would have been published of, and was not, came later: it goes on waiting."""
        with suppress(Mismatch):
            async with self._trying():
                await self._bring(wanted, now, before)

    async def _take_in(self, received: Sequence[Received], now: datetime, before: int | None = None) -> None:
        unreadable = [each for each in received if each.message is None]
        readable = [each for each in received if each.message is not None]
        if readable:
            async with self._trying():
                await self._decide([Case(each, None, before or self._before(each)) for each in readable], now)
        for each in unreadable:
            assert each.fault is not None  # noqa: S101 - a record is a message or a fault
            await self.again.bury(self.tx, each, each.fault, now)
            self.inputs.take([each])
            self.done.to_publish += 1

    def _before(self, received: Received) -> int | None:
        """The last sequence before which a record was certainly decided: what follows it in its partition says so."""
        offsets, sequences = self._followers.get(received.partition, ((), ()))
        n = bisect(offsets, received.record.offset)
        return sequences[n] - 1 if n < len(sequences) else None

    def _moment(self, real: datetime) -> datetime:
        """Business time."""
        return real + self.shift

    @asynccontextmanager
    async def _trying(self) -> AsyncIterator[None]:
        """All of the block, or nothing."""
        counted = (Counter(self.done.told), self.done.taken_in, Counter(self.done.ended), self.done.to_publish)
        try:
            with self.inputs.trying():
                async with self.tx.transaction():
                    yield
        except BaseException:
            self.done.told, self.done.taken_in, self.done.ended, self.done.to_publish = counted
            raise


def _followers(loud: Mapping[int, int]) -> tuple[Sequence[int], Sequence[int]]:
    offsets = sorted(loud)
    lowest = list(accumulate((loud[offset] for offset in reversed(offsets)), min))
    return offsets, lowest[::-1]


def _chunks(received: Sequence[Received]) -> Iterator[list[Received]]:
    """What came within a second, in its order."""
    chunk: list[Received] = []
    for each in received:
        if chunk and (came_at(each) - came_at(chunk[0])).total_seconds() > TOGETHER_SECONDS:
            yield chunk
            chunk = []
        chunk.append(each)
        if len(chunk) == TOGETHER_MAX:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _growing(received: Sequence[Received]) -> Iterator[list[Received]]:
    """One at a time at first, then ever more."""
    rest, size = iter(received), 1
    for n in range(len(received)):
        size = 1 if n < ONE_BY_ONE else size * 2
        some = list(islice(rest, size))
        if not some:
            return
        yield some
