"""Copies of what others said: the timeline, balances, and what a customer has paid in each currency.

Only times in the messages are used, and only a higher version replaces what is known: dropped and replayed, all of it
comes out the same. Facts about somebody not registered yet are kept in the same rows, and show once there is a
customer to show them for.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from shared.schemas.billing import AccountBalanceChanged, InvoiceIssued, InvoicePaid, PaymentFailed, PaymentReceived
from shared.schemas.immutable import immutable
from shared.schemas.notify import (
    NotificationEvent,
    NotificationFailed,
    NotificationSent,
    NotificationSuppressed,
    NotificationUnknown,
)
from shared.schemas.sales import BookingConfirmed, PurchaseRecorded

PAID_MAX = 2**63 - 1
"""What PostgreSQL's bigint holds: a sum of payments stops there rather than fail."""

Trade: TypeAlias = PurchaseRecorded | BookingConfirmed | InvoiceIssued | InvoicePaid | PaymentReceived | PaymentFailed
Told: TypeAlias = Trade | NotificationEvent
"""What makes an entry of the timeline."""


@immutable(frozen=True, slots=True)
class TimelineEntry:
    """One fact of somebody's history. `reference` is the id of the thing it is about: one entry per kind and thing.

    `id` follows from the message and begins with its time: entries in the order of their ids are in order of time.
    """

    id: UUID
    party_id: UUID
    kind: str
    reference: UUID
    at: datetime
    amount: int | None
    currency: str | None
    details: dict[str, Any]
    source: str
    """The topic that told of it."""
    source_version: int

    @property
    def key(self) -> tuple[UUID, str, UUID]:
        return self.party_id, self.kind, self.reference

    @property
    def root(self) -> UUID:
        return self.party_id


@immutable(frozen=True, slots=True)
class AccountBalance:
    """What billing said last of an account, in minor units."""

    account_id: UUID
    customer_id: UUID
    currency: str
    outstanding: int
    credit: int
    source_version: int
    source_time: datetime

    @property
    def key(self) -> UUID:
        return self.account_id

    @property
    def root(self) -> UUID:
        return self.customer_id


@immutable(frozen=True, slots=True)
class PaidTotal:
    """The sum of the payments received from a customer in one currency, in minor units."""

    customer_id: UUID
    currency: str
    amount: int

    @property
    def key(self) -> tuple[UUID, str]:
        return self.customer_id, self.currency

    @property
    def root(self) -> UUID:
        return self.customer_id


def entry_of(event: Told, at: datetime, entry_id: UUID) -> TimelineEntry:
    """The entry that an event makes: facts and ids, no personal data."""
    if isinstance(event, NotificationEvent):
        return _notification(event, at, entry_id)
    kind, reference, amount, details = _told(event)
    return TimelineEntry(
        entry_id, event.customer_id, kind, reference, at, amount, event.currency, details, event.topic, event.version
    )


def paid_more(known: PaidTotal | None, payment: PaymentReceived) -> PaidTotal:
    """The sum with one more payment."""
    before = known or PaidTotal(payment.customer_id, payment.currency, 0)
    return replace(before, amount=min(PAID_MAX, before.amount + payment.amount))


def balance_of(event: AccountBalanceChanged, at: datetime) -> AccountBalance:
    return AccountBalance(
        event.account_id, event.customer_id, event.currency, event.outstanding, event.credit, event.version, at
    )


def _told(event: Trade) -> tuple[str, UUID, int, dict[str, Any]]:
    """Kind, reference, amount and details."""
    match event:
        case PurchaseRecorded():
            return "purchase", event.purchase_id, _lines_total(event), _goods(event)
        case BookingConfirmed():
            days = {"starts_on": event.starts_on.isoformat(), "ends_on": event.ends_on.isoformat()}
            return "booking", event.booking_id, _lines_total(event), days | _goods(event)
        case InvoiceIssued():
            bill = {"number": event.number, "due_on": event.due_on.isoformat(), "cause": event.cause.model_dump()}
            return "invoice-issued", event.invoice_id, event.total, bill
        case InvoicePaid():
            return "invoice-paid", event.invoice_id, event.total, {"paid_on": event.paid_on.isoformat()}
        case PaymentReceived():
            received = {"method": event.method, "credit": event.credit, "invoices": len(event.allocations)}
            return "payment-received", event.payment_id, event.amount, received
        case PaymentFailed():
            why = {"code": event.code, "invoice_id": str(event.invoice_id)}
            return "payment-failed", event.payment_id, event.amount, why


def _notification(event: NotificationEvent, at: datetime, entry_id: UUID) -> TimelineEntry:
    """One entry per notification, which says what became of it last."""
    details: dict[str, Any] = {"template": event.template, "category": event.category, "cause_type": event.cause_type}
    match event:
        case NotificationSent():
            details |= {"status": "sent", "channel": event.channel}
        case NotificationFailed():
            details |= {"status": "failed", "channel": event.channel, "reason": event.reason}
        case NotificationSuppressed():
            details |= {"status": "suppressed", "reason": event.reason}
        case NotificationUnknown():
            details |= {"status": "unknown", "channel": event.channel}
    return TimelineEntry(
        entry_id,
        event.recipient_id,
        "notification",
        event.notification_id,
        at,
        None,
        None,
        details,
        event.topic,
        event.version,
    )


def _lines_total(event: PurchaseRecorded | BookingConfirmed) -> int:
    return sum(line.amount for line in event.lines)


def _goods(event: PurchaseRecorded | BookingConfirmed) -> dict[str, Any]:
    items = [{"sku": line.sku, "description": line.description, "quantity": line.quantity} for line in event.lines]
    return {"items": items, "prices_include_tax": event.prices_include_tax}
