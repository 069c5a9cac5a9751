"""A dead letter's second chance: the same load -> decide -> save, on the service's database, outside the consumer.

Nothing goes back to a topic. The letter's end is written in the transaction of its effects, so that nobody replays it
twice; a rehearsal does all of it, tells what would come out, and is rolled back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from shared.messaging import dead_letter_store, inbox, outbox
from shared.messaging.database import ACQUIRE_TIMEOUT_SECONDS, Pool, Tx, is_the_data, is_transient
from shared.messaging.dead_letter_store import Edit, End
from shared.messaging.dead_letters import Fault, Letter, Raw, edited
from shared.messaging.decision import Cancel, Entity, Message, Task
from shared.messaging.handlers import Decide
from shared.messaging.intake import AHEAD_MAX, FROM_THE_FUTURE, ID_TAKEN
from shared.messaging.received import Reader, Received
from shared.messaging.service import Service
from shared.messaging.unit import CONFLICT_TRIES_MAX, CONFLICTS, Decided, Opened, Unit, Work, named
from shared.messaging.working_set import WorkingSet

REBUILD_LOCK = 0x6B656C6C70
"""An advisory lock: held alone while a projection is rebuilt, shared while a letter is replayed."""

NEVER_ANSWERED = frozenset({ID_TAKEN.code, "unknown-type", "wrong-topic"})
"""Codes of poison that nobody was told of, though its record can be read as a command now."""

RUN_AGAIN = (*CONFLICTS, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""What the running service and a replay may do to each other."""

DROPPED = Fault("bug", "dropped", "it met a fault of ours and was given up: send another command if it is still wanted")
"""What the sender of a command is told that an operator drops."""


class NotReplayed(Exception):
    """The letter was not replayed, and nothing changed. The text says why, and what can be done."""


class Ended(NotReplayed):
    """Somebody has replayed or dropped it before."""

    def __init__(self, ending: End) -> None:
        when = f" at {ending.at:%Y-%m-%d %H:%M:%S}Z" if ending.at else ""
        super().__init__(f"it was {ending.outcome} by {ending.by}{when} already")


class StillDead(NotReplayed):
    """It would be a dead letter again."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"it is still {fault.kind} ({fault.code}): {fault.reason}")
        self.fault = fault


class HandledSince(NotReplayed):
    """The sender has published it again, mended, under the same id."""

    def __init__(self) -> None:
        super().__init__("the same event was published again and handled since: drop the letter")


class Answered(NotReplayed):
    """The sender of a command was told that it is rejected."""

    def __init__(self) -> None:
        super().__init__(
            "its sender was answered CommandRejected and may have sent another one since: drop it, or replay it "
            "--although-answered, and it is answered again"
        )


class Rebuilding(NotReplayed):
    """A projection of the service is being rebuilt."""

    def __init__(self) -> None:
        super().__init__("a projection of the service is being rebuilt: try again when that is done")


@dataclass(frozen=True, slots=True)
class Replayable:
    """A letter with what an operator made of it."""

    letter: Letter
    edit: Edit | None = None

    @property
    def record(self) -> Raw:
        """What a replay decides upon: the newest edit, or the record as it came."""
        if self.edit is None or self.edit.headers is None:
            return self.letter.record
        return edited(self.letter.record, self.edit.key, self.edit.value, self.edit.headers)


@dataclass(slots=True)
class Effect:
    """What came of a replay, or would come of it."""

    message: Message[Any] | None = None
    now: datetime | None = None
    changes: Sequence[tuple[Entity | None, Entity]] = ()
    """Each row before and after; before is None where it is new."""
    records: list[outbox.Record] = field(default_factory=list)
    tasks: list[Task | Cancel] = field(default_factory=list)


def read(service: Service[Any, Any], record: Raw, letter: Letter) -> Received | None:
    """The record as the service's consumer reads it today: with today's contracts and upcasters."""
    return Reader(service.handlers).read(letter.place, record)


def was_answered(service: Service[Any, Any], letter: Letter) -> bool:
    """Whether the letter is a command whose sender was told that it is rejected."""
    if letter.fault.kind != "poison" or letter.fault.code in NEVER_ANSWERED:
        return False
    received = read(service, letter.record, letter)
    return received is not None and received.command is not None


class Replayer:
    """Replays letters of one service, each in one transaction. `by` is the operator, as the letter's end will say."""

    def __init__(self, service: Service[Any, Any], pool: Pool, by: str) -> None:
        self._service = service
        self._pool = pool
        self._by = by

    async def rehearse(self, subject: Replayable, *, although_answered: bool = False) -> Effect:
        """What a replay would do now; all of it is rolled back. Raises NotReplayed where it would not succeed."""
        return await self._carried_out(subject, although_answered, is_rehearsal=True)

    async def replay(self, subject: Replayable, *, although_answered: bool = False) -> Effect:
        """Commits what follows from the letter, and its end. Raises NotReplayed, and then nothing changed."""
        return await self._carried_out(subject, although_answered, is_rehearsal=False)

    async def drop(self, letter: Letter, reason: str) -> bool:
        """Ends a letter without effect. Raises Ended. True: a command that nobody had answered is answered now."""
        unit = Unit(self._service.name, self._pool, self._service.load, self._service.save, lambda _: None)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as tx, tx.transaction():
            if not await dead_letter_store.end(tx, End(letter.id, "dropped", self._by, reason=reason)):
                raise Ended((await dead_letter_store.ends_of(tx, [letter.id]))[letter.id])
            received = read(self._service, letter.record, letter) if letter.fault.kind == "bug" else None
            if received is None or received.command is None:
                return False
            now: datetime = await tx.fetchval("SELECT messaging.kello_now()")
            await outbox.append(tx, [unit.rejection_of_poison(received.command, DROPPED, now)])
            return True

    async def _carried_out(self, subject: Replayable, although_answered: bool, *, is_rehearsal: bool) -> Effect:
        if not although_answered and was_answered(self._service, subject.letter):
            raise Answered
        tries = 0
        while True:
            work = _Replay(self._service, subject, self._by, is_rehearsal=is_rehearsal)
            unit = Unit(self._service.name, self._pool, self._service.load, self._save_into(work), lambda _: None)
            try:
                await unit.run(work)
            except _Rehearsed:
                return work.effect
            except NotReplayed:
                raise
            except Exception as error:
                tries += 1
                if isinstance(error, RUN_AGAIN) and tries <= CONFLICT_TRIES_MAX:
                    continue
                if is_transient(error):
                    raise
                raise StillDead(_fault_of(error)) from error
            else:
                return work.effect

    def _save_into(self, work: "_Replay") -> Any:
        async def save(tx: Tx, state: WorkingSet) -> None:
            work.effect.changes = state.changes()
            await self._service.save(tx, state)

        return save


class _Rehearsed(Exception):
    """Takes a rehearsal's transaction back."""


class _Replay:
    """One letter as the unit of work saves it: its end in place of the fence."""

    def __init__(self, service: Service[Any, Any], subject: Replayable, by: str, *, is_rehearsal: bool) -> None:
        self._service = service
        self._subject = subject
        self._by = by
        self._is_rehearsal = is_rehearsal
        self.effect = Effect()

    def __len__(self) -> int:
        return 1

    async def open(self, tx: Tx) -> Opened:
        """Ends the letter and asks the inbox, as for any other record."""
        await self._end(tx)
        now: datetime = await tx.fetchval("SELECT messaging.kello_now()")
        received = read(self._service, self._subject.record, self._subject.letter)
        if received is None:
            raise StillDead(Fault("poison", "of-no-interest", "the service decides on no such type: drop it"))
        if received.fault is not None:
            raise StillDead(received.fault)
        assert received.message is not None  # noqa: S101 - what is no fault is a message
        if received.message.time > now + AHEAD_MAX:
            raise StillDead(FROM_THE_FUTURE)
        await self._remember(tx, received)
        self.effect.message, self.effect.now = received.message, now
        return Opened(now, [received.message])

    async def _end(self, tx: Tx) -> None:
        letter, edit = self._subject.letter, self._subject.edit
        if not await tx.fetchval("SELECT pg_try_advisory_xact_lock_shared($1)", REBUILD_LOCK):
            raise Rebuilding
        if not await dead_letter_store.end(
            tx, End(letter.id, "replayed", self._by, edit.number if edit is not None else None)
        ):
            raise Ended((await dead_letter_store.ends_of(tx, [letter.id]))[letter.id])

    async def _remember(self, tx: Tx, received: Received) -> None:
        group = self._service.name
        if await inbox.remember(tx, group, {received.identity: received.value_hash}):
            return
        known = await inbox.hashes_of(tx, group, [received.identity])
        if known.get(received.identity) == received.value_hash:
            raise HandledSince
        raise StillDead(ID_TAKEN)

    def decisions(self, message: Message[Any]) -> Sequence[Decide[Any]]:
        return self._service.handlers.of_type(message.type)

    async def close(self, tx: Tx, opened: Opened, decided: Decided) -> None:  # noqa: ARG002 - the unit's signature
        for fault in decided.faults.values():
            raise StillDead(fault)
        self.effect.records = list(decided.records)
        self.effect.tasks = [task for task, _ in decided.tasks.values()]
        if self._is_rehearsal:
            raise _Rehearsed

    def committed(self) -> None:
        """The running service's relay and tasks find what is new at their next look."""

    def halves(self) -> tuple[Work, Work]:
        raise TypeError("one letter has no halves")

    def alone(self, fault: Fault) -> Work:
        raise StillDead(fault)


def _fault_of(error: Exception) -> Fault:
    if is_the_data(error):
        reason = f"PostgreSQL cannot store it ({type(error).__name__}): correct the values by an edit"
        return Fault("poison", "not-storable", reason)
    return Fault("bug", type(error).__name__, f"load or save raised {named(error)}: mend it, then replay")
