"""Deciding again what was decided before: by the service's own load, decide and save, and held against Kafka.

A decision is a function of the rows, the message, the moment and the ids that follow from the cause. All four are known
of what was published, so it comes out again to the byte, with every row that no event tells of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from shared.messaging import inbox, outbox
from shared.messaging.database import Tx
from shared.messaging.dead_letters import Fault, letter
from shared.messaging.decision import Message, Unknown
from shared.messaging.handlers import Decide, Handlers
from shared.messaging.intake import ID_TAKEN
from shared.messaging.received import Received
from shared.messaging.service import Service
from shared.messaging.unit import Decided, Opened, Unit
from shared.operations.restore.published import Published, Step, Told
from shared.schemas.registry import COMPACTED_TOPICS


class Mismatch(Exception):
    """What came out is not what was published. Nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A task whose outcome is decided again: what it was, and how it ended."""

    kind: str
    key: str
    message: Message[Any]

    @property
    def is_unknown(self) -> bool:
        return isinstance(self.message.payload.result, Unknown)


@dataclass(frozen=True, slots=True)
class Case:
    """One message to decide again: a record that was taken in, or a task that ended; and what it led to, if told.

    `before` is a sequence up to which it was certainly decided, where one is known.
    """

    cause: Received | Ended
    step: Step | None = None
    before: int | None = None

    @property
    def message(self) -> Message[Any]:
        message: Message[Any] | None = self.cause.message
        assert message is not None  # noqa: S101 - what could not be read is no case
        return message


class Again(Unit[Any]):
    """The unit of work of a service, in a transaction that is open already."""

    def __init__(self, service: Service[Any, Any], published: Published) -> None:
        no_pool: Any = None  # the transaction is the restore's
        super().__init__(service.name, no_pool, service.load, service.save, lambda _decided: None)
        self.handlers: Handlers[Any] = service.handlers
        self.published = published

    async def decide_again(self, tx: Tx, cases: Sequence[Case], now: datetime) -> int:
        """Decides, saves, and leaves in the outbox what Kafka does not have. Returns how many records those are.

        Raises Mismatch.
        """
        work = _Work(cases, self)
        await self._carried_out(tx, work, Opened(now, [case.message for case in cases]))
        return work.unpublished

    async def bury(self, tx: Tx, received: Received, fault: Fault, now: datetime) -> None:
        """A dead letter that was not published, and the answer to whoever sent it."""
        records = self.letters(received, fault, now)
        await outbox.append(tx, [each for each in records if each.event_id not in self.published.told])

    def letters(self, received: Received, fault: Fault, now: datetime) -> list[outbox.Record]:
        letters = [letter(self.service, received.partition, received.record, fault)]
        if received.command is not None and fault.kind == "poison" and fault is not ID_TAKEN:
            letters.append(self.rejection_of_poison(received.command, fault, now))
        return letters


class _Work:
    """The cases of one transaction, as the unit of work runs them."""

    def __init__(self, cases: Sequence[Case], again: Again) -> None:
        self._cases = cases
        self._again = again
        self._before = {case.message.id: case.before for case in cases}
        self.unpublished = 0

    def __len__(self) -> int:
        return len(self._cases)

    async def open(self, tx: Tx) -> Opened | None:
        raise NotImplementedError("a restore opens its transaction itself")

    def decisions(self, message: Message[Any]) -> Sequence[Decide[Any]]:
        if message.type.startswith("task/"):
            return self._again.handlers.of_outcome(message.payload.kind)
        return self._again.handlers.of_type(message.type)

    async def close(self, tx: Tx, opened: Opened, decided: Decided) -> None:
        """Holds what came out against what was published, and settles tasks and inbox as it was done then."""
        dead = self._dead(opened, decided)
        expected = {told.event_id: told for case in self._cases if case.step for told in case.step.records}
        kept: list[outbox.Record] = []
        for record in decided.records:
            told = expected.pop(record.event_id, None)
            if told is None:
                if self._is_to_publish(record):
                    kept.append(record)
            elif not told.says(record):
                raise Mismatch(f"{told.type} {told.event_id} comes out differently: {_difference(told, record)}")
        if expected:
            missing = next(iter(expected.values()))
            raise Mismatch(f"{missing.type} {missing.event_id} does not come out again")
        decided.records[:] = kept
        self.unpublished = len(kept)
        await self._settle(tx)
        fresh = [case.cause for case in self._cases if isinstance(case.cause, Received) and id(case.cause) not in dead]
        if fresh:
            await inbox.remember(tx, self._again.service, {each.identity: each.value_hash for each in fresh})

    def _dead(self, opened: Opened, decided: Decided) -> set[int]:
        """Records that turned out to be dead letters: of those nothing else may have been published."""
        dead: set[int] = set()
        for position, fault in decided.faults.items():
            case = self._cases[position]
            if case.step is not None or not isinstance(case.cause, Received):
                what = case.step.records[0].type if case.step is not None else case.message.id
                raise Mismatch(f"the decision on {what} fails: {fault.kind} {fault.code}")
            decided.records += self._again.letters(case.cause, fault, opened.now)
            dead.add(id(case.cause))
        return dead

    def _is_to_publish(self, record: outbox.Record) -> bool:
        """Whether a record that Kafka does not have was never published; else it was compacted away."""
        published = self._again.published
        if record.event_id in published.told:
            raise Mismatch(f"{record.event_id} comes out, which belongs elsewhere")
        if not published.has_later(record, self._before.get(outbox.header(record.headers, "ce_causationid"))):
            return True
        if record.topic in COMPACTED_TOPICS:
            return False
        raise Mismatch(
            f"a record of {record.topic} comes out that was never published, although later ones of its key were: "
            f"it follows from {outbox.header(record.headers, 'ce_causationid') or record.event_id}"
        )

    async def _settle(self, tx: Tx) -> None:
        ended = [case.cause for case in self._cases if isinstance(case.cause, Ended)]
        if not ended:
            return
        await tx.execute(
            """
            DELETE FROM messaging.task AS t USING unnest($1::text[], $2::text[]) AS b (kind, key)
            WHERE t.kind = b.kind AND t.key = b.key
            """,
            [each.kind for each in ended if not each.is_unknown],
            [each.key for each in ended if not each.is_unknown],
        )
        await tx.execute(
            """
            UPDATE messaging.task AS t
            SET state = 'unknown', due_at = clock_timestamp(), lease = NULL, lease_until = NULL
            FROM unnest($1::text[], $2::text[]) AS b (kind, key)
            WHERE t.kind = b.kind AND t.key = b.key
            """,
            [each.kind for each in ended if each.is_unknown],
            [each.key for each in ended if each.is_unknown],
        )

    def committed(self) -> None:
        raise NotImplementedError("a restore commits once, at its end")

    def halves(self) -> "tuple[_Work, _Work]":
        raise NotImplementedError("a restore takes a mismatch apart itself")

    def alone(self, fault: Fault) -> "_Work":
        raise NotImplementedError("a restore takes a mismatch apart itself")


def _difference(told: Told, record: outbox.Record) -> str:
    """Where they differ, by name and never by value."""
    if (told.topic, told.key) != (record.topic, record.key):
        return "another topic or key"
    if told.value != record.value:
        before, after = orjson.loads(told.value or b"{}"), orjson.loads(record.value or b"{}")
        names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        return ", ".join(names) or "the order or the spelling of its fields"
    headers = dict(record.headers)
    return ", ".join(sorted(name for name, value in told.headers if headers.get(name) != value)) or "its headers"
