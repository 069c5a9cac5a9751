"""The probe: the smallest service that uses the whole kit. It counts, pays what it is told to pay, and reminds.

Its topics are `probe.commands`, `probe.events`, `noted.events` and the compacted `probe.profiles`; its root is
`counter`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from fastapi import APIRouter
from pydantic import BaseModel

from shared.messaging.database import Tx, expect_rows
from shared.messaging.decision import NOTHING, Cancel, Decision, Due, Ids, Message, Outcome, Refused, Task, Unknown
from shared.messaging.handlers import Handlers
from shared.messaging.service import Service
from shared.messaging.settings import ServiceSettings
from shared.messaging.tasks import NOT_DONE, Later, TaskCall, TaskKind, Uncertain
from shared.messaging.working_set import WorkingSet
from shared.schemas.answers import Accepted, Rejected
from shared.schemas.base import Command, Event, Id

SCHEMA = Path(__file__).with_name("schema.sql")
PAY = "pay"
PAY_SECONDS = 3
"""So long may a call to the gateway take."""
REMIND = "remind"

broken: set[str] = set()
"""Names of decisions that fail as long as they stand here."""


class Add(Command, type="kello.probe.add.v1", topic="probe.commands", key="counter_id", subject="counter/{counter_id}"):
    """Adds to a counter. 13 is refused, 666 is a bug, a text can be anything; `pay` pays the amount.

    `remind_days` sets a timer, or moves it; a negative number takes it back.
    """

    counter_id: Id
    amount: int
    text: str = ""
    pay: bool = False
    remind_days: int | None = None


class Noted(Event, type="kello.probe.noted.v1", topic="noted.events", key="counter_id", subject="note/{note_id}"):
    """Somebody else's event; an amount of 13 is refused."""

    counter_id: Id
    note_id: Id
    amount: int


class Added(Event, type="kello.probe.added.v1", topic="probe.events", key="counter_id", subject="counter/{counter_id}"):
    """A counter grew."""

    counter_id: Id
    amount: int
    total: int


class Paid(Event, type="kello.probe.paid.v1", topic="probe.events", key="counter_id", subject="payment/{payment_id}"):
    """The gateway paid; `state` is paid, declined, unknown or exhausted."""

    counter_id: Id
    payment_id: Id
    state: str


class Reminded(
    Event, type="kello.probe.reminded.v1", topic="probe.events", key="counter_id", subject="reminder/{counter_id}"
):
    """A timer's moment came."""

    counter_id: Id
    days: int


class CommandAccepted(
    Accepted, type="kello.probe.command-accepted.v1", topic="probe.events", key="key", subject="command/{command_id}"
):
    """The probe's answer."""


class CommandRejected(
    Rejected, type="kello.probe.command-rejected.v1", topic="probe.events", key="key", subject="command/{command_id}"
):
    """The probe's refusal."""


class Profile(
    Event, type="kello.probe.profile.v1", topic="probe.profiles", key="counter_id", subject="profile/{counter_id}"
):
    """A compacted copy."""

    counter_id: Id
    total: int


@dataclass(frozen=True, slots=True)
class Counter:
    """A root."""

    id: UUID
    total: int
    version: int
    text: str = ""

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.id


@dataclass(frozen=True, slots=True)
class Entry:
    """One addition: append-only."""

    id: UUID
    counter_id: UUID
    amount: int

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.counter_id


@dataclass(frozen=True, slots=True)
class Copy:
    """A row of a projection: what somebody else says of a counter, in its highest version."""

    counter_id: UUID
    total: int
    version: int

    @property
    def key(self) -> UUID:
        return self.counter_id

    @property
    def root(self) -> UUID:
        return self.counter_id


class Reminder(BaseModel):
    """What a timer brings back."""

    counter_id: UUID
    days: int


class Payment(BaseModel):
    """What a payment task needs."""

    payment_id: UUID
    counter_id: UUID
    amount: int
    token: str


class Counting(WorkingSet):
    """Counters and what was added to them."""


handlers: Handlers[Counting] = Handlers()


@handlers.command(Add)
def add(state: Counting, message: Message[Add], now: datetime, ids: Ids) -> Decision:
    decision = _added(state, message.payload.counter_id, message.payload.amount, message.payload.text, ids)
    if message.payload.remind_days is not None:
        return replace(decision, tasks=[_reminder(message.payload.counter_id, message.payload.remind_days, now)])
    if not message.payload.pay:
        return decision
    payment_id = ids.next()
    payment = Payment(
        payment_id=payment_id,
        counter_id=message.payload.counter_id,
        amount=message.payload.amount,
        token=message.payload.text or "tok_ok",
    )
    return replace(decision, tasks=[Task(PAY, str(payment_id), str(message.payload.counter_id), payment)])


@handlers.reaction(Noted)
def noted(state: Counting, message: Message[Noted], now: datetime, ids: Ids) -> Decision:
    return _added(state, message.payload.counter_id, message.payload.amount, "", ids)


@handlers.projection(Profile)
def profile(state: Counting, message: Message[Profile], now: datetime, ids: Ids) -> Decision:
    told = message.payload
    known = state.find(Copy, told.counter_id)
    if known is not None and known.version >= told.version:
        return NOTHING
    return Decision(changes=[Copy(told.counter_id, told.total, told.version)])


@handlers.outcome(REMIND)
def reminded(state: Counting, message: Message[Outcome[Reminder, Due]], now: datetime, ids: Ids) -> Decision:
    if "reminded" in broken:
        raise ZeroDivisionError("a bug in a timer's decision")
    reminder = message.payload.task
    return Decision(events=[Reminded(counter_id=reminder.counter_id, days=reminder.days, version=1)])


@handlers.outcome(PAY)
def paid(state: Counting, message: Message[Outcome[Payment, Any]], now: datetime, ids: Ids) -> Decision:
    if "paid" in broken:
        raise ZeroDivisionError("a bug in an outcome's decision")
    payment, result = message.payload.task, message.payload.result
    word = result if isinstance(result, str) else type(result).__name__.lower()
    version = 1 if isinstance(result, Unknown) or message.payload.attempts == 1 else 2
    return Decision(
        events=[Paid(counter_id=payment.counter_id, payment_id=payment.payment_id, state=word, version=version)]
    )


def _added(state: Counting, counter_id: UUID, amount: int, text: str, ids: Ids) -> Decision:
    if amount == 13:
        raise Refused("unlucky", "choose another amount than 13")
    if amount == 666:
        raise ZeroDivisionError("a bug, with somebody@example.org in its text")
    if amount == 0:
        return NOTHING
    counter = state.find(Counter, counter_id) or Counter(counter_id, 0, 0)
    grown = replace(counter, total=counter.total + amount, version=counter.version + 1, text=text or counter.text)
    return Decision(
        changes=[grown, Entry(ids.next(), counter_id, amount)],
        events=[Added(counter_id=counter_id, amount=amount, total=grown.total, version=grown.version)],
    )


def _reminder(counter_id: UUID, days: int, now: datetime) -> Task | Cancel:
    if days < 0:
        return Cancel(REMIND, str(counter_id))
    reminder = Reminder(counter_id=counter_id, days=days)
    return Task(REMIND, str(counter_id), str(counter_id), reminder, now + timedelta(days=days))


async def load(tx: Tx, messages: Sequence[Message[Any]]) -> Counting:
    state = Counting()
    ids = sorted({UUID(message.key) for message in messages})
    counters = await tx.fetch(
        "SELECT id, total, version, text FROM counter WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE", ids
    )
    state.add(Counter(**row) for row in counters)
    copies = await tx.fetch("SELECT counter_id, total, version FROM copy WHERE counter_id = ANY ($1::uuid[])", ids)
    state.add(Copy(**row) for row in copies)
    return state


async def save(tx: Tx, state: Counting) -> None:
    if new := state.inserted(Counter):
        await tx.execute(
            """
            INSERT INTO counter (id, total, version, text)
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[])
            """,
            [row.id for row in new],
            [row.total for row in new],
            [row.version for row in new],
            [row.text for row in new],
        )
    if changed := state.updated(Counter):
        status = await tx.execute(
            """
            UPDATE counter AS c SET total = b.total, version = b.version, text = b.text
            FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[])
                AS b (id, total, version, text, loaded)
            WHERE c.id = b.id AND c.version = b.loaded
            """,
            [row.after.id for row in changed],
            [row.after.total for row in changed],
            [row.after.version for row in changed],
            [row.after.text for row in changed],
            [row.before.version for row in changed],
        )
        expect_rows(status, len(changed))
    if entries := state.inserted(Entry):
        await tx.execute(
            "INSERT INTO entry (id, counter_id, amount) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[])",
            [row.id for row in entries],
            [row.counter_id for row in entries],
            [row.amount for row in entries],
        )
    if copies := [*state.inserted(Copy), *(row.after for row in state.updated(Copy))]:
        await tx.execute(
            """
            INSERT INTO copy (counter_id, total, version)
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])
            ON CONFLICT (counter_id) DO UPDATE SET total = excluded.total, version = excluded.version
            WHERE excluded.version > copy.version
            """,
            [row.counter_id for row in copies],
            [row.total for row in copies],
            [row.version for row in copies],
        )


class ProbeSettings(ServiceSettings):
    """The probe pays through the gateway."""

    gateway_url: str


@asynccontextmanager
async def task_kinds(settings: ProbeSettings) -> AsyncIterator[Sequence[TaskKind[Any]]]:
    async with httpx.AsyncClient(base_url=settings.gateway_url, timeout=3 * PAY_SECONDS) as client:

        async def perform(payment: Payment, call: TaskCall) -> str:
            body = {
                "kind": "capture",
                "amount": payment.amount,
                "currency": "EUR",
                "token": payment.token,
                "reference": str(payment.payment_id),
            }
            try:
                answer = await client.post("/payments", json=body, headers={"Idempotency-Key": call.idempotency_key})
            except httpx.ConnectError as error:
                raise Later("the gateway does not listen") from error
            except httpx.HTTPError as error:
                raise Uncertain(type(error).__name__) from error
            return _word(answer)

        async def reconcile(payment: Payment, call: TaskCall) -> Any:
            try:
                answer = await client.get("/payments", params={"idempotency_key": call.idempotency_key})
            except httpx.HTTPError as error:
                raise Uncertain(type(error).__name__) from error
            return NOT_DONE if answer.status_code == 404 else _word(answer)

        yield [
            TaskKind(
                PAY,
                Payment,
                perform,
                reconcile,
                call_timeout_seconds=PAY_SECONDS,
                lease_seconds=6,
                attempts_max=4,
                backoff_seconds=0.05,
                backoff_max_seconds=0.5,
            ),
            TaskKind(REMIND, Reminder),
        ]


def _word(answer: httpx.Response) -> str:
    if answer.status_code in (429, 500, 502, 503, 409):
        raise Later(f"the gateway said {answer.status_code}")
    state = answer.json().get("state")
    if state in ("pending", "processing"):
        raise Uncertain("still pending")
    return "paid" if state in ("captured", "succeeded", "paid") else "declined"


def service() -> Service[Counting, ProbeSettings]:
    return Service(
        name="probe",
        consumes=("probe.commands", "noted.events", "probe.profiles"),
        publishes=("probe.events",),
        handlers=handlers,
        load=load,
        save=save,
        routes=lambda _pool: APIRouter(),
        settings=ProbeSettings,
        task_kinds=task_kinds,
    )
