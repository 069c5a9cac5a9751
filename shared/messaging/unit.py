"""The unit of work: one batch, one transaction. Load, decide, save; nobody else opens or commits one for messages.

A batch of records opens with the fence and the inbox and closes with the runs of dead letters; a batch of outcomes
closes with the leases of its tasks. What lies between is the same for both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import asyncpg
import structlog

from shared.messaging import outbox, task_store
from shared.messaging.database import (
    ACQUIRE_TIMEOUT_SECONDS,
    Conflict,
    Pool,
    Tx,
    is_the_data,
    is_transient,
)
from shared.messaging.dead_letters import Fault
from shared.messaging.decision import Cancel, Decision, Ids, Message, Refused, Task
from shared.messaging.handlers import Decide
from shared.messaging.working_set import WorkingSet
from shared.schemas import registry
from shared.schemas.base import Command, Event

log = structlog.get_logger(__name__)

CONFLICTS = (Conflict, asyncpg.UniqueViolationError)
CONFLICT_TRIES_MAX = 5
PAUSE_SECONDS_MAX = 5.0

S = TypeVar("S", bound=WorkingSet)
Load = Callable[[Tx, Sequence[Message[Any]]], Awaitable[S]]
Save = Callable[[Tx, S], Awaitable[None]]


@dataclass(slots=True)
class Opened:
    """What a batch brings into its transaction: the business time, and each message with its decisions, in order."""

    now: datetime
    messages: Sequence[Message[Any]]
    records: list[outbox.Record] = field(default_factory=list)
    """What is to be published whatever is decided: letters and answers for what could not even be read."""


@dataclass(slots=True)
class Decided:
    """What came of a batch of messages."""

    tasks: dict[tuple[str, str], tuple[Task | Cancel, Message[Any]]] = field(default_factory=dict)
    """By kind and key: what was said last of a task, and by which message."""
    records: list[outbox.Record] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    """By position in the batch: messages that the domain refused or a decision failed on."""


class Work(Protocol):
    """A batch, of records or of outcomes."""

    def __len__(self) -> int: ...

    async def open(self, tx: Tx) -> Opened | None:
        """The first statements. None: nothing of the batch is ours any more."""

    def decisions(self, message: Message[Any]) -> Sequence[Decide[Any]]: ...

    async def close(self, tx: Tx, opened: Opened, decided: Decided) -> None:
        """The last statements of its own; adds to `decided.records` what must be published."""

    def committed(self) -> None:
        """PostgreSQL has it."""

    def halves(self) -> "tuple[Work, Work]":
        """The same in two, to be saved one after the other."""

    def alone(self, fault: Fault) -> "Work":
        """Of one message that cannot be saved: what is saved instead."""


class Redo(Exception):
    """The batch cannot be saved as it is, but another one in its place can. Nothing of it was saved."""

    def __init__(self, work: Work) -> None:
        super().__init__("the batch is saved in another form")
        self.work = work


class Unit(Generic[S]):
    """Runs batches of a service, each in one transaction with a constant number of statements."""

    def __init__(
        self, service: str, pool: Pool, load: Load[S], save: Save[S], on_commit: Callable[[Decided], None]
    ) -> None:
        self.service = service
        self._on_commit = on_commit
        self.source = f"kello/{service}"
        self._pool = pool
        self._load = load
        self._save = save
        self._accepted, self._rejected = registry.answers(service)

    async def persist(self, work: Work) -> None:
        """Saves the batch, however long it takes: an outage is waited for, and ends only with the task's cancellation.

        A batch that runs into another transaction is run again; one in which something cannot be stored, by halves,
        until the message is found that fails alone.
        """
        pending, tries = [work], 0
        while pending:
            current = pending[-1]
            try:
                await self.run(current)
            except Redo as redo:
                pending[-1] = redo.work
                continue
            except Exception as error:  # noqa: BLE001 - sorted below: to wait, to run again, or to halve
                tries += 1
                if (
                    is_transient(error)
                    or not len(current)
                    or (isinstance(error, CONFLICTS) and tries <= CONFLICT_TRIES_MAX)
                ):
                    log.warning("batch_waits", messages=len(current), tries=tries, error=named(error))
                    await asyncio.sleep(_pause(error, tries))
                    continue
                log.warning("batch_is_halved", messages=len(current), error=named(error))
                pending[-1:] = self._smaller(current, error)
                tries = 0
                continue
            pending.pop()
            tries = 0

    def _smaller(self, work: Work, error: Exception) -> list[Work]:
        """What to try instead, the next one last."""
        if len(work) > 1:
            first, second = work.halves()
            return [second, first]
        if is_the_data(error):
            reason = f"PostgreSQL cannot store it ({type(error).__name__}): correct the values and send it again"
            return [work.alone(Fault("poison", "not-storable", reason))]
        log.error("load_or_save_failed", exc_info=error)
        return [
            work.alone(Fault("bug", type(error).__name__, f"load or save raised {named(error)}: mend, then replay"))
        ]

    async def run(self, work: Work) -> Decided | None:
        """Commits the batch, or raises and leaves no trace. None: the batch was fenced."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as tx, tx.transaction():
            opened = await work.open(tx)
            if opened is None:
                decided = None
            else:
                decided = await self._carried_out(tx, work, opened)
        work.committed()
        if decided is not None:
            self._on_commit(decided)
        return decided

    async def _carried_out(self, tx: Tx, work: Work, opened: Opened) -> Decided:
        decided = Decided(records=opened.records)
        if opened.messages:
            state = await self._load(tx, opened.messages)
            self._decide(work, opened, state, decided)
            await self._save(tx, state)
        await work.close(tx, opened, decided)
        if decided.tasks:
            await task_store.schedule(tx, decided.tasks.values(), opened.now)
        if decided.records:
            await outbox.append(tx, decided.records)
        return decided

    def _decide(self, work: Work, opened: Opened, state: S, decided: Decided) -> None:
        for position, message in enumerate(opened.messages):
            ids = Ids(self.service, message.source, message.id, message.time)
            try:
                decisions = [
                    _applied(decide(state, message, opened.now, ids), state) for decide in work.decisions(message)
                ]
                records = self._records(message, decisions, opened.now, ids)
            except Refused as refusal:
                state.undo()
                if isinstance(message.payload, Command):
                    answer = self._rejection(message, refusal.code, refusal.message)
                    decided.records.append(outbox.record_of(answer, self.source, message, opened.now, ids))
                else:
                    decided.faults[position] = Fault("refused", refusal.code, refusal.message)
            except Exception as error:
                state.undo()
                story = message.correlation_id
                log.exception("decision_failed", type=message.type, id=message.id, correlation_id=story)
                decided.faults[position] = Fault("bug", type(error).__name__, _bug(message, error))
            else:
                state.keep()
                decided.records += records
                for decision in decisions:
                    for task in decision.tasks:
                        decided.tasks[task.kind, task.key] = (task, message)

    def _records(
        self, message: Message[Any], decisions: Sequence[Decision], now: datetime, ids: Ids
    ) -> list[outbox.Record]:
        events: list[Event] = [event for decision in decisions for event in decision.events]
        if isinstance(message.payload, Command) and not self._answers(message, events):
            events.append(self._accepted(key=message.key, command_id=message.id, command_type=message.type))
        return [outbox.record_of(event, self.source, message, now, ids) for event in events]

    def _answers(self, message: Message[Any], events: Sequence[Event]) -> bool:
        """A command is answered by an event on our own topic under the command's key."""
        topic = f"{self.service}.events"
        return any(event.topic == topic and event.kafka_key == message.key for event in events)

    def rejection_of_poison(self, message: Message[Any], fault: Fault, now: datetime) -> outbox.Record:
        """The answer to a command that could not be read or stored.

        Its id follows from the record's place: the command may come again, mended, and then its id has other answers.
        """
        place = f"{message.topic}/{message.partition}/{message.offset}"
        ids = Ids(self.service, "poison", place, message.time)
        return outbox.record_of(self._rejection(message, fault.code, fault.reason), self.source, message, now, ids)

    def _rejection(self, message: Message[Any], code: str, reason: str) -> Event:
        return self._rejected(
            key=message.key, command_id=message.id, command_type=message.type, code=code, message=reason[:2000]
        )


def _applied(decision: Decision, state: WorkingSet) -> Decision:
    for row in decision.changes:
        state.put(row)
    return decision


def _bug(message: Message[Any], error: Exception) -> str:
    """Where it failed, without the values: an exception's own text may hold personal data."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_qualname}, line {trace.tb_lineno}" if trace is not None else "unknown"
    return f"the decision on {message.type} raised {type(error).__name__} in {place}: mend it, then replay the letter"


def _pause(error: Exception, tries: int) -> float:
    """Seconds until the next try: at once after a conflict, doubling while the world is away."""
    return 0.0 if isinstance(error, CONFLICTS) else min(PAUSE_SECONDS_MAX, 0.05 * 2.0 ** min(tries, 10))


def named(error: BaseException) -> str:
    """An error that may be logged: its class and SQLSTATE, never its text, which may hold a row's values."""
    sqlstate = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} {sqlstate}" if sqlstate else type(error).__name__
