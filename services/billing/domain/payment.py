"""Payments: transfers that are recorded, collections through the gateway, and what they pay."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from services.billing.domain.account import Account, moved
from services.billing.domain.invoice import Invoice, paid
from services.billing.domain.ledger import Allocation, Entry, Postings, balanced
from shared.messaging.decision import Decision, Entity, Ids, Refused, Task
from shared.schemas import billing as told
from shared.schemas.base import Event
from shared.schemas.billing import CollectPayment, PaymentFailed, PaymentReceived, PaymentUnknown, RecordPayment
from shared.schemas.immutable import immutable

CAPTURE_PAYMENT = "capture-payment"
"""The kind of task that collects through the gateway."""

CAPTURE_VALID_FOR = timedelta(days=90)
"""How old an order may be for its payment token to be used: a rebuilt service charges nobody for history."""

ALLOCATIONS_MAX = 10_000
"""So many invoices at most are paid by one payment; what is left then is credit."""

GATEWAY_UNREACHABLE = "gateway_unreachable"


class CapturePayment(BaseModel):
    """What the gateway is asked for."""

    payment_id: UUID
    customer_id: UUID
    invoice_id: UUID
    amount: int
    currency: str
    token: str
    reference: str
    """The invoice's number, as the payer will read it."""


@immutable(frozen=True, slots=True)
class Captured:
    """The gateway took the money. `reference` is its own name for it."""

    reference: str


@immutable(frozen=True, slots=True)
class Declined:
    """The gateway did not take the money, and will not for this payment."""

    code: str


@immutable(frozen=True, slots=True)
class Payment:
    """A customer's money: expected from the gateway (pending, unknown), here (received), or not to come (failed).

    `invoice_id` is the invoice that it is meant for, if any. `credit` is the part that paid no invoice. `version`
    counts the payment's events.
    """

    id: UUID
    customer_id: UUID
    account_id: UUID
    invoice_id: UUID | None
    currency: str
    amount: int
    method: Literal["gateway", "transfer"]
    state: Literal["pending", "unknown", "received", "failed"]
    received_on: date | None
    reference: str | None
    """What the payer wrote, or the gateway's name for it."""
    failure_code: str | None
    credit: int
    version: int

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.customer_id

    @property
    def is_in_flight(self) -> bool:
        return self.state in ("pending", "unknown")


def recorded(command: RecordPayment, account: Account, invoices: Sequence[Invoice], ids: Ids) -> Decision:
    """A transfer that arrived pays `invoices` in their order; the rest is credit."""
    payment = Payment(
        command.payment_id,
        command.customer_id,
        account.id,
        command.invoice_id,
        command.currency,
        command.amount,
        "transfer",
        "received",
        command.received_on,
        command.reference,
        None,
        0,
        0,
    )
    return received(payment, account, invoices, command.received_on, ids)


def is_same_transfer(payment: Payment, command: RecordPayment) -> bool:
    """Whether a command tells of the transfer that was recorded under its id already."""
    return (
        payment.method == "transfer"
        and payment.customer_id == command.customer_id
        and payment.invoice_id == command.invoice_id
        and payment.currency == command.currency
        and payment.amount == command.amount
        and payment.received_on == command.received_on
        and payment.reference == command.reference
    )


def is_same_collection(payment: Payment, command: CollectPayment) -> bool:
    """Whether a command asks for the collection that was begun under its id already."""
    return (
        payment.method == "gateway"
        and payment.customer_id == command.customer_id
        and payment.invoice_id == command.invoice_id
    )


def is_worth_collecting(ordered_at: datetime, now: datetime) -> bool:
    """Whether an order's payment token is still to be used."""
    return now - ordered_at <= CAPTURE_VALID_FOR


def collection(payment_id: UUID, invoice: Invoice, token: str) -> tuple[Payment, Task]:
    """A payment of what is open on an invoice, and the call to the gateway that collects it.

    Refused: `invoice_not_issued`, `invoice_paid`.
    """
    bill, issue = invoice.bill, invoice.issue
    if issue is None:
        raise Refused("invoice_not_issued", "the invoice is a draft: collect it once it is issued")
    if not invoice.open:
        raise Refused("invoice_paid", "nothing is owed on the invoice any more: there is nothing to collect")
    payment = Payment(
        payment_id,
        bill.customer_id,
        issue.account_id,
        bill.id,
        bill.currency,
        invoice.open,
        "gateway",
        "pending",
        None,
        None,
        None,
        0,
        0,
    )
    asked = CapturePayment(
        payment_id=payment_id,
        customer_id=bill.customer_id,
        invoice_id=bill.id,
        amount=payment.amount,
        currency=bill.currency,
        token=token,
        reference=issue.printed,
    )
    return payment, Task(CAPTURE_PAYMENT, str(payment_id), str(bill.customer_id), asked)


def captured(payment: Payment, result: Captured, account: Account, invoice: Invoice, *, on: date, ids: Ids) -> Decision:
    """The gateway's money pays its invoice; what somebody else paid meanwhile makes it credit."""
    arrived = replace(payment, state="received", received_on=on, reference=result.reference)
    return received(arrived, account, [invoice], on, ids)


def received(payment: Payment, account: Account, invoices: Iterable[Invoice], on: date, ids: Ids) -> Decision:
    """Money is here: it pays `invoices` in their order, and what is left is credit."""
    entry_id = ids.next()
    left = payment.amount
    changes: list[Entity] = []
    allocations: list[told.Allocation] = []
    news: list[Event] = []
    for invoice in invoices:
        part = min(left, invoice.open)
        if not part:
            continue
        after, settled = paid(invoice, part, on)
        changes += [after, Allocation(entry_id, payment.customer_id, invoice.bill.id, payment.id, part)]
        allocations.append(told.Allocation(invoice_id=invoice.bill.id, amount=part))
        news += [settled] if settled else []
        left -= part
        if not left or len(allocations) == ALLOCATIONS_MAX:
            break
    used = payment.amount - left
    account, balance_changed = moved(account, outstanding=-used, credit=left)
    posted = balanced(Postings(receivable=-used, cash=payment.amount, customer_credit=-left))
    entry = Entry(
        entry_id,
        payment.customer_id,
        account.id,
        payment.currency,
        "payment",
        on,
        payment.invoice_id,
        payment.id,
        posted,
    )
    payment = replace(payment, credit=left, version=payment.version + 1)
    arrived = PaymentReceived(
        customer_id=payment.customer_id,
        payment_id=payment.id,
        account_id=account.id,
        currency=payment.currency,
        amount=payment.amount,
        allocations=tuple(allocations),
        credit=left,
        method=payment.method,
        version=payment.version,
    )
    return Decision([payment, account, entry, *changes], [arrived, *news, balance_changed])


def failed(payment: Payment, asked: CapturePayment, code: str, reason: str) -> Decision:
    """The money will not come; the invoice stays open and may be collected again, under another id."""
    after = replace(payment, state="failed", failure_code=code, version=payment.version + 1)
    event = PaymentFailed(
        customer_id=payment.customer_id,
        payment_id=payment.id,
        invoice_id=asked.invoice_id,
        currency=payment.currency,
        amount=payment.amount,
        code=code,
        reason=reason,
        version=after.version,
    )
    return Decision([after], [event])


def unknown(payment: Payment, asked: CapturePayment) -> Decision:
    """Nobody can say whether the money was taken: said once, and asked about until it is known."""
    after = replace(payment, state="unknown", version=payment.version + 1)
    event = PaymentUnknown(
        customer_id=payment.customer_id,
        payment_id=payment.id,
        invoice_id=asked.invoice_id,
        currency=payment.currency,
        amount=payment.amount,
        version=after.version,
    )
    return Decision([after], [event])
