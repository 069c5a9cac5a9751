"""Which message leads to which decision, what is loaded for it, and what is saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.notify import letters, store
from services.notify.domain import notification as notifications
from services.notify.domain import recipient as recipients
from services.notify.domain.catalogue import (
    INVOICE_ISSUED,
    PAYMENT_FAILED,
    PAYMENT_RECEIVED,
    SALARY_PAID,
    SALARY_PAYMENT_FAILED,
    TEMPLATES,
    TICKET_CLOSED,
    TICKET_OPENED,
    TICKET_RESOLVED,
    Template,
)
from services.notify.domain.notification import OPEN, Cause, Fields, Letter, Notification, Step
from services.notify.domain.recipient import Recipient
from services.notify.domain.route import Route
from services.notify.domain.tasks import (
    FORGET_LETTERS,
    RECIPIENT_UNKNOWN,
    SEND_EMAIL,
    SEND_SMS,
    GivenUp,
    HandedOver,
    LettersUntil,
    SendEmail,
    SendSms,
    TurnedAway,
    Waiting,
)
from shared.messaging.database import Tx
from shared.messaging.decision import NOTHING, Decision, Exhausted, Ids, Message, Outcome, Refused, Unknown
from shared.messaging.handlers import Handlers
from shared.messaging.working_set import WorkingSet
from shared.schemas.billing import InvoiceIssued, PaymentFailed, PaymentReceived
from shared.schemas.customer import CustomerProfile, ProfileErased, TicketClosed, TicketOpened, TicketResolved
from shared.schemas.hr import EmployeeChanged, EmployeeHired, EmployeeTerminated
from shared.schemas.notify import RequestNotification
from shared.schemas.payroll import SalaryPaid, SalaryPaymentFailed
from shared.schemas.standards import Channel

ABOUT_PEOPLE = (CustomerProfile, ProfileErased, EmployeeHired, EmployeeChanged, EmployeeTerminated)
"""What changes our copy of a person, and with it what waits for the person."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The letters that were rendered before `until` have been kept long enough: save deletes them."""

    until: datetime

    @property
    def key(self) -> datetime:
        return self.until

    @property
    def root(self) -> datetime:
        return self.until


class Notify(WorkingSet):
    """The recipients of a batch, and those of their notifications that the batch needs."""

    def __init__(self) -> None:
        super().__init__()
        self.told: set[tuple[str, str, str]] = set()
        """What already followed: (cause source, cause id, template)."""

    def recipient(self, recipient_id: UUID) -> Recipient:
        """As far as we know: the copy, or somebody unknown."""
        return self.find(Recipient, recipient_id) or Recipient(recipient_id)

    def of_task(self, outcome: "Outcome[Any, Any]") -> Notification:
        """The notification that a task is about. A task and its notification are saved together, so it is there."""
        found = self.find(Notification, outcome.task.notification_id)
        if found is None:
            raise LookupError("a task without its notification")
        return found


Sent = HandedOver | TurnedAway | GivenUp | Exhausted | Unknown
"""What may come of sending a message."""

handlers = Handlers[Notify]()


@handlers.projection(CustomerProfile)
def customer_profile(state: Notify, message: Message[CustomerProfile], _now: datetime, _ids: Ids) -> Decision:
    known = state.recipient(message.payload.customer_id)
    return _copied(recipients.from_profile(known, message.payload, message.time))


@handlers.projection(ProfileErased)
def profile_erased(state: Notify, message: Message[ProfileErased], _now: datetime, _ids: Ids) -> Decision:
    known = state.recipient(message.payload.customer_id)
    return _copied(recipients.erased(known, message.payload, message.time))


@handlers.projection(EmployeeHired)
def employee_hired(state: Notify, message: Message[EmployeeHired], _now: datetime, _ids: Ids) -> Decision:
    known = state.recipient(message.payload.employee_id)
    return _copied(recipients.hired(known, message.payload, message.time))


@handlers.projection(EmployeeChanged)
def employee_changed(state: Notify, message: Message[EmployeeChanged], _now: datetime, _ids: Ids) -> Decision:
    known = state.recipient(message.payload.employee_id)
    return _copied(recipients.changed(known, message.payload, message.time))


@handlers.projection(EmployeeTerminated)
def employee_left(state: Notify, message: Message[EmployeeTerminated], _now: datetime, _ids: Ids) -> Decision:
    known = state.recipient(message.payload.employee_id)
    return _copied(recipients.left(known, message.payload, message.time))


def _copied(copy: Recipient | None) -> Decision:
    return NOTHING if copy is None else Decision([copy])


@handlers.reaction(CustomerProfile)
@handlers.reaction(EmployeeHired)
def whom_we_know_now(
    state: Notify, message: Message[CustomerProfile | EmployeeHired], now: datetime, _ids: Ids
) -> Decision:
    """What waited for this person is decided, in the order in which it was asked for."""
    recipient = state.recipient(UUID(message.key))
    if not recipient.is_known:
        return NOTHING
    waiting = [each for each in state.under(Notification, recipient.id) if each.state == "deferred"]
    return _together([notifications.decide(each, recipient, now, letters.render) for each in waiting])


@handlers.reaction(ProfileErased)
def nothing_more_to_say(state: Notify, message: Message[ProfileErased], now: datetime, _ids: Ids) -> Decision:
    recipient = state.recipient(message.payload.customer_id)
    if recipient.status != "erased":
        return NOTHING
    is_open = [each for each in state.under(Notification, recipient.id) if each.state in OPEN]
    return _together([notifications.forgotten(each, now) for each in is_open])


@handlers.reaction(InvoiceIssued)
def invoice_issued(state: Notify, message: Message[InvoiceIssued], now: datetime, ids: Ids) -> Decision:
    invoice = message.payload
    fields: Fields = {
        "number": invoice.number,
        "issued_on": invoice.issued_on.isoformat(),
        "due_on": invoice.due_on.isoformat(),
        "currency": invoice.currency,
        "total": invoice.total,
        "tax": invoice.tax,
    }
    return _told(state, message, INVOICE_ISSUED, fields, now=now, ids=ids)


@handlers.reaction(PaymentReceived)
def payment_received(state: Notify, message: Message[PaymentReceived], now: datetime, ids: Ids) -> Decision:
    payment = message.payload
    fields: Fields = {"amount": payment.amount, "credit": payment.credit, "currency": payment.currency}
    return _told(state, message, PAYMENT_RECEIVED, fields, now=now, ids=ids)


@handlers.reaction(PaymentFailed)
def payment_failed(state: Notify, message: Message[PaymentFailed], now: datetime, ids: Ids) -> Decision:
    payment = message.payload
    fields: Fields = {"amount": payment.amount, "currency": payment.currency, "reason": payment.reason}
    return _told(state, message, PAYMENT_FAILED, fields, now=now, ids=ids)


@handlers.reaction(SalaryPaid)
def salary_paid(state: Notify, message: Message[SalaryPaid], now: datetime, ids: Ids) -> Decision:
    paid = message.payload
    fields: Fields = {
        "period": paid.period,
        "paid_on": paid.paid_on.isoformat(),
        "net": paid.net,
        "currency": paid.currency,
        "reference": paid.payment_reference,
    }
    return _told(state, message, SALARY_PAID, fields, now=now, ids=ids)


@handlers.reaction(SalaryPaymentFailed)
def salary_payment_failed(state: Notify, message: Message[SalaryPaymentFailed], now: datetime, ids: Ids) -> Decision:
    failed = message.payload
    fields: Fields = {
        "period": failed.period,
        "net": failed.net,
        "currency": failed.currency,
        "reason": failed.reason,
    }
    return _told(state, message, SALARY_PAYMENT_FAILED, fields, now=now, ids=ids)


@handlers.reaction(TicketOpened)
def ticket_opened(state: Notify, message: Message[TicketOpened], now: datetime, ids: Ids) -> Decision:
    return _told(state, message, TICKET_OPENED, {"ticket": str(message.payload.ticket_id)}, now=now, ids=ids)


@handlers.reaction(TicketResolved)
def ticket_resolved(state: Notify, message: Message[TicketResolved], now: datetime, ids: Ids) -> Decision:
    return _told(state, message, TICKET_RESOLVED, {"ticket": str(message.payload.ticket_id)}, now=now, ids=ids)


@handlers.reaction(TicketClosed)
def ticket_closed(state: Notify, message: Message[TicketClosed], now: datetime, ids: Ids) -> Decision:
    return _told(state, message, TICKET_CLOSED, {"ticket": str(message.payload.ticket_id)}, now=now, ids=ids)


def _told(
    state: Notify, message: Message[Any], template: Template, fields: Fields, *, now: datetime, ids: Ids
) -> Decision:
    """Never twice for one cause, however long ago it was first published."""
    if (message.source, message.id, template.name) in state.told:
        return NOTHING
    told = Notification(
        id=ids.next(),
        recipient_id=UUID(message.key),
        template=template.name,
        category=template.category,
        cause=_cause(message),
        requested_at=now,
        expires_at=message.time + template.valid_for,
        fields=fields,
    )
    return _begun(state, told, now)


@handlers.command(RequestNotification)
def request_notification(state: Notify, message: Message[RequestNotification], now: datetime, _ids: Ids) -> Decision:
    """Refused: a template that is not there, another category than its own, a missing field, an id that is taken."""
    asked = message.payload
    letters.check(asked.template, asked.data)
    if asked.category != TEMPLATES[asked.template].category:
        category = TEMPLATES[asked.template].category
        raise Refused("wrong-category", f"the template {asked.template} is {category}: ask for it as that")
    existing = state.find(Notification, asked.notification_id)
    if existing is not None:
        if (existing.recipient_id, existing.template) == (asked.recipient_id, asked.template):
            return NOTHING
        raise Refused("id-taken", "this notification_id stands for something else: choose a new one")
    valid_for = asked.valid_for_seconds
    requested = Notification(
        id=asked.notification_id,
        recipient_id=asked.recipient_id,
        template=asked.template,
        category=asked.category,
        cause=_cause(message),
        requested_at=now,
        expires_at=None if valid_for is None else message.time + timedelta(seconds=valid_for),
        fields=asked.data,
        locale=asked.locale,
        only=asked.channels,
    )
    return _begun(state, requested, now)


def _begun(state: Notify, told: Notification, now: datetime) -> Decision:
    """Decided at once, or waiting. Whom nobody knows yet has a row, too: it is the lock root of what is published."""
    recipient = state.recipient(told.recipient_id)
    decision = notifications.decide(told, recipient, now, letters.render)
    if state.find(Recipient, recipient.id) is not None:
        return decision
    return Decision((recipient, *decision.changes), decision.events, decision.tasks)


def _cause(message: Message[Any]) -> Cause:
    return Cause(message.source, message.id, message.type, message.time)


@handlers.outcome(SEND_EMAIL)
def mail_ended(state: Notify, message: Message[Outcome[SendEmail, Sent]], now: datetime, _ids: Ids) -> Decision:
    return _ended(state, message.payload, Channel.EMAIL, now)


@handlers.outcome(SEND_SMS)
def sms_ended(state: Notify, message: Message[Outcome[SendSms, Sent]], now: datetime, _ids: Ids) -> Decision:
    return _ended(state, message.payload, Channel.SMS, now)


def _ended(state: Notify, outcome: "Outcome[SendEmail | SendSms, Sent]", channel: Channel, now: datetime) -> Decision:
    told = state.of_task(outcome)
    match outcome.result:
        case HandedOver(message_id):
            return notifications.sent(told, channel, message_id, now, f"attempts:{outcome.attempts}")
        case Unknown():
            return notifications.uncertain(told, channel, now)
        case GivenUp(code):
            return notifications.given_up(told, channel, code, now)
        case Exhausted():
            closed = TurnedAway("unreachable")
        case TurnedAway() as turned_away:
            closed = turned_away
        case other:
            raise TypeError(f"{outcome.kind} ended with {type(other).__name__}")
    recipient, letter = state.recipient(told.recipient_id), state.find(Letter, told.id)
    return notifications.turned_away(told, recipient, letter, Route(channel, outcome.task.to), closed, now=now)


@handlers.outcome(RECIPIENT_UNKNOWN)
def nobody_came(state: Notify, message: Message[Outcome[Waiting, Any]], now: datetime, _ids: Ids) -> Decision:
    return notifications.waited_too_long(state.of_task(message.payload), now)


@handlers.outcome(FORGET_LETTERS)
def letters_kept_long_enough(
    _state: Notify, message: Message[Outcome[LettersUntil, Any]], _now: datetime, _ids: Ids
) -> Decision:
    return Decision([Retention(message.payload.task.until)])


def _together(decisions: Sequence[Decision]) -> Decision:
    return Decision(
        [change for decision in decisions for change in decision.changes],
        [event for decision in decisions for event in decision.events],
        [task for decision in decisions for task in decision.tasks],
    )


async def load(tx: Tx, messages: Sequence[Message[Any]]) -> Notify:
    """Locks the recipients; then reads what the messages may decide upon."""
    state = Notify()
    state.add(await store.lock_recipients(tx, {UUID(m.key) for m in messages if m.type != f"task/{FORGET_LETTERS}"}))
    found = {
        notification.id: notification
        for notification in (
            *await _open(tx, messages),  # first: what waits keeps its order
            *await _by_cause(tx, messages),
            *await _by_id(tx, messages),
        )
    }
    state.add(found.values())
    state.told |= {(n.cause.source, n.cause.id, n.template) for n in found.values()}
    closed = {
        m.payload.task.notification_id
        for m in messages
        if isinstance(m.payload, Outcome) and isinstance(m.payload.result, TurnedAway | Exhausted)
    }
    if closed:
        state.add(await store.letters(tx, closed))
    return state


async def _by_cause(tx: Tx, messages: Sequence[Message[Any]]) -> list[Notification]:
    causes = {(m.source, m.id) for m in messages if not isinstance(m.payload, (Outcome, *ABOUT_PEOPLE))}
    return await store.notifications_by_cause(tx, causes) if causes else []


async def _by_id(tx: Tx, messages: Sequence[Message[Any]]) -> list[Notification]:
    ids = {m.payload.notification_id for m in messages if isinstance(m.payload, RequestNotification)}
    ids |= {
        m.payload.task.notification_id
        for m in messages
        if isinstance(m.payload, Outcome) and not isinstance(m.payload.task, LettersUntil)
    }
    return await store.notifications_by_id(tx, ids) if ids else []


async def _open(tx: Tx, messages: Sequence[Message[Any]]) -> list[Notification]:
    people = {UUID(m.key) for m in messages if isinstance(m.payload, ABOUT_PEOPLE)}
    return await store.open_notifications(tx, people) if people else []


async def save(tx: Tx, state: Notify) -> None:
    if inserted := state.inserted(Recipient):
        await store.insert_recipients(tx, inserted)
    if changed := state.updated(Recipient):
        await store.update_recipients(tx, changed)
    if begun := state.inserted(Notification):
        await store.insert_notifications(tx, begun)
    if moved := state.updated(Notification):
        await store.update_notifications(tx, moved)
    if steps := state.inserted(Step):
        await store.insert_steps(tx, steps)
    if written := state.inserted(Letter):
        await store.insert_letters(tx, written)
    await _forget(tx, state)


async def _forget(tx: Tx, state: Notify) -> None:
    """Erasure and retention, after whatever else the batch has written."""
    changed = [*state.inserted(Recipient), *(each.after for each in state.updated(Recipient))]
    erased = {recipient.id for recipient in changed if recipient.status == "erased"}
    if erased:
        await store.forget_letters_of(tx, erased)
    if kept_long_enough := state.inserted(Retention):
        await store.forget_letters_until(tx, max(each.until for each in kept_long_enough))
