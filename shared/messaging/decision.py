"""What a decision gets and what it returns. Pure: nothing here knows a clock, a network or a database."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel

from shared.schemas.base import Event
from shared.schemas.immutable import immutable
from shared.schemas.uuids import uuid_of

P_co = TypeVar("P_co", covariant=True)


class Refused(Exception):
    """The domain says no: the sender's fault, and nothing changed.

    A refused command is answered with CommandRejected; a refused event becomes a dead letter of kind `refused`.
    `code` is stable and for programs; `message` says what to do and holds no personal data.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Entity(Protocol):
    """One row of a working set: a frozen dataclass that knows its key and the root whose lock guards it.

    A class of rows that is a root itself has `root == key`.
    """

    @property
    def key(self) -> Hashable: ...

    @property
    def root(self) -> Hashable: ...


@dataclass(slots=True, eq=False)
class Message(Generic[P_co]):
    """A record, a task's outcome or a timer, as a decision sees it. Read-only.

    `payload` is the validated schema; `id` and `source` name the cause; `time` is the moment of the fact (UTC), and the
    only time that a projection may use; `key` is the Kafka key, the name of the root whose lock the transaction holds.
    """

    payload: P_co
    id: str
    source: str
    type: str
    time: datetime
    key: str
    topic: str
    partition: int
    offset: int
    correlation_id: str
    traceparent: str | None


FREE_BITS = (0xFFF << 64) | (1 << 62) - 1
"""The bits of a UUIDv7 that are neither time nor version nor variant."""


class Ids:
    """The ids that follow from one cause: the same cause gives the same ids in the same order.

    Each has the shape of a UUIDv7 (RFC 9562, 5.7): the cause's milliseconds, then a hash of consumer group, cause
    source, cause id and ordinal.
    """

    __slots__ = ("_head", "_ordinal", "_seed")

    def __init__(self, group: str, source: str, cause_id: str, time: datetime) -> None:
        milliseconds = int(time.timestamp() * 1000) & 0xFFFF_FFFF_FFFF
        self._head = milliseconds << 80 | 0x7 << 76 | 0x2 << 62  # version 7, variant of RFC 9562
        self._seed = f"{group}\0{source}\0{cause_id}\0".encode()
        self._ordinal = 0

    def next(self) -> UUID:
        digest = blake2b(self._seed + self._ordinal.to_bytes(4, "big"), digest_size=10).digest()
        self._ordinal += 1
        return uuid_of((self._head | int.from_bytes(digest, "big") & FREE_BITS).to_bytes(16, "big"))


@immutable(frozen=True, slots=True)
class Task:
    """Something to do at a time: a call to the outside, or a timer. (kind, key) is its identity.

    `root` is the Kafka key under whose lock its outcome will be decided. `due_at` is in business time (`now` as the
    decision got it); None means at once. Scheduling a task that is already waiting moves it; one that was started
    is left alone. `payload` is what the performer needs, read back as the model that its TaskKind names.
    """

    kind: str
    key: str
    root: str
    payload: BaseModel
    due_at: datetime | None = None


@immutable(frozen=True, slots=True)
class Cancel:
    """Takes a waiting task back. One that was started, or whose outcome is unknown, stays."""

    kind: str
    key: str


@immutable(frozen=True, slots=True)
class Decision:
    """What follows from one message: rows that are new or changed, events to publish, tasks to schedule."""

    changes: Sequence[Entity] = ()
    events: Sequence[Event] = ()
    tasks: Sequence[Task | Cancel] = ()


NOTHING = Decision()


@immutable(frozen=True, slots=True)
class Unknown:
    """The call may or may not have had its effect: nobody answered. Reconciliation will ask."""

    reason: str


@immutable(frozen=True, slots=True)
class Exhausted:
    """The provider could not be reached, or said "later", as often as the task's policy allows. Nothing was done."""

    reason: str


@immutable(frozen=True, slots=True)
class Due:
    """A timer's moment has come."""


R_co = TypeVar("R_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)


@immutable(frozen=True, slots=True)
class Outcome(Generic[T_co, R_co]):
    """What came of a task: the payload of the message that its decision gets.

    `result` is what the performer returned, or Unknown, Exhausted or Due. `attempts` counts the calls so far.
    After a decision on Unknown the task stays, to be reconciled; after any other it is gone.
    """

    kind: str
    key: str
    attempts: int
    task: T_co
    result: R_co
