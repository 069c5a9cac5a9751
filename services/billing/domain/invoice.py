"""Invoices: drafted, issued with a gapless number, paid."""

from dataclasses import replace
from datetime import date, datetime
from typing import Literal, TypeAlias
from uuid import UUID

from services.billing.domain.account import Account, Customer, moved, opened
from services.billing.domain.ledger import Allocation, Entry, Postings, balanced
from services.billing.domain.legal_entity import LegalEntity, Series, printed_number
from services.billing.domain.tax import TaxRates, taxed
from shared.messaging.decision import Entity, Ids
from shared.schemas.base import Event, validator_of
from shared.schemas.billing import (
    BillTo,
    Cause,
    InvoiceDrafted,
    InvoiceIssued,
    InvoiceLine,
    InvoicePaid,
    IssueInvoice,
)
from shared.schemas.immutable import immutable
from shared.schemas.sales import BookingConfirmed, PurchaseRecorded

CauseKind: TypeAlias = Literal["purchase", "booking", "command"]

Order: TypeAlias = PurchaseRecorded | BookingConfirmed | IssueInvoice
"""What somebody wants billed."""


@immutable(frozen=True, slots=True)
class Bill:
    """What is charged, and why. Fixed from the beginning: tax is that of the day on which it was ordered."""

    id: UUID
    customer_id: UUID
    currency: str
    cause_kind: CauseKind
    cause_id: UUID
    ordered_at: datetime
    payment_token: str | None
    """The gateway's token to collect with once issued."""
    lines: tuple[InvoiceLine, ...]
    net: int
    tax: int
    total: int


@immutable(frozen=True, slots=True)
class Issue:
    """What is settled when an invoice is issued, and never changes after."""

    account_id: UUID
    legal_entity: str
    year: int
    lane: int
    number: int
    printed: str
    issued_on: date
    due_on: date
    bill_to: BillTo


@immutable(frozen=True, slots=True)
class Invoice:
    """A bill on its way: a draft in its place of the customer's queue until it has an `issue`. Amounts in minor units.

    `version` counts the invoice's events. What causes an invoice names it: (cause_kind, cause_id) is billed once.
    """

    bill: Bill
    status: Literal["draft", "issued", "paid"]
    place: int | None
    issue: Issue | None
    paid: int
    version: int

    @property
    def key(self) -> tuple[CauseKind, UUID]:
        return self.bill.cause_kind, self.bill.cause_id

    @property
    def root(self) -> UUID:
        return self.bill.customer_id

    @property
    def open(self) -> int:
        """What is still owed on it: nothing on a draft."""
        return 0 if self.issue is None else self.bill.total - self.paid

    @property
    def age(self) -> tuple[date, str, int, int, int]:
        """Sorts issued invoices, the oldest first."""
        if self.issue is None:
            raise ValueError("a draft has no age: it was never issued")
        issue = self.issue
        return issue.issued_on, issue.legal_entity, issue.year, issue.lane, issue.number


@immutable(frozen=True, slots=True)
class Books:
    """Where an invoice is entered: who bills whom, on which account, and in which series.

    There is no account yet at the first use of its currency.
    """

    entity: LegalEntity
    customer: Customer
    account: Account | None
    series: Series


@immutable(frozen=True, slots=True)
class Issued:
    """What follows from issuing: the invoice, the account and the series after it, and everything to write and tell."""

    invoice: Invoice
    account: Account
    series: Series
    changes: list[Entity]
    events: list[Event]


def bill_of(
    order: Order,
    customer_id: UUID,
    rates: TaxRates,
    ordered_at: datetime,
    ordered_on: date,
    ids: Ids,
) -> Bill:
    """What an order comes to. Refused (`unknown_tax_rate`) where a rate of its day is not known."""
    invoice_id, payment_token = _identity(order, ids)
    kind, cause_id = cause_of(order)
    lines = taxed(order.lines, rates, order.country, ordered_on, prices_include_tax=order.prices_include_tax)
    net = sum([line.net for line in lines])
    tax = sum([line.tax for line in lines])
    return Bill(
        invoice_id,
        customer_id,
        order.currency,
        kind,
        cause_id,
        ordered_at,
        payment_token,
        lines,
        net,
        tax,
        net + tax,
    )


def cause_of(order: Order) -> tuple[CauseKind, UUID]:
    """Why there is to be an invoice: the natural key that is billed once."""
    match order:
        case PurchaseRecorded():
            return "purchase", order.purchase_id
        case BookingConfirmed():
            return "booking", order.booking_id
        case IssueInvoice():
            return "command", order.invoice_id


def drafted(bill: Bill, customer: Customer) -> tuple[Invoice, Customer, InvoiceDrafted]:
    """An invoice that waits, without a number, until its customer is known."""
    invoice = Invoice(bill, "draft", customer.drafts, None, 0, 1)
    waiting = replace(customer, version=customer.version + 1, drafts=customer.drafts + 1)
    event = InvoiceDrafted(
        customer_id=bill.customer_id,
        invoice_id=bill.id,
        currency=bill.currency,
        cause=Cause(kind=bill.cause_kind, id=str(bill.cause_id)),
        waits_for="customer",
        version=1,
    )
    return invoice, waiting, event


def issued(bill: Bill, books: Books, issued_on: date, ids: Ids, *, version: int = 1) -> Issued:
    """The invoice with its number, in the ledger; credit on the account is used first.

    `version` is that of InvoiceIssued: 1, and 2 where it was drafted before.
    """
    account, series = books.account, books.series
    if books.customer.bill_to is None or series.year != issued_on.year:
        raise ValueError("an invoice is issued to a customer who is known, in the series of its year")
    events: list[Event] = []
    if account is None:
        account, account_opened = opened(bill.customer_id, bill.currency, ids)
        events.append(account_opened)
    issue = Issue(
        account.id,
        series.legal_entity,
        series.year,
        series.lane,
        series.next_number,
        printed_number(series),
        issued_on,
        books.entity.due_on(issued_on),
        books.customer.bill_to,
    )
    credit = min(account.credit, bill.total)
    is_paid = credit == bill.total
    invoice = Invoice(bill, "paid" if is_paid else "issued", None, issue, credit, version + is_paid)
    events.append(_told(bill, issue, series, version))
    if is_paid:
        events.append(_told_paid(invoice, issued_on))
    entries: list[Entity] = []
    if bill.total:
        entries = _entries(bill, account, credit, issued_on, ids)
        account, balance_changed = moved(account, outstanding=bill.total - credit, credit=-credit)
        events.append(balance_changed)
    following = series.following()
    return Issued(invoice, account, following, [invoice, account, following, *entries], events)


def paid(invoice: Invoice, amount: int, on: date) -> tuple[Invoice, InvoicePaid | None]:
    """The invoice after a payment of it, and the news where nothing is owed any more."""
    if not 0 < amount <= invoice.open:
        raise ValueError("a payment of an invoice lies between one unit and what is open")
    if amount < invoice.open:
        return replace(invoice, paid=invoice.paid + amount), None
    settled = replace(invoice, status="paid", paid=invoice.bill.total, version=invoice.version + 1)
    return settled, _told_paid(settled, on)


def is_same_order(invoice: Invoice, order: IssueInvoice) -> bool:
    """Whether a command asks for what was billed under its id already: a repeated command is no mistake."""
    bill = invoice.bill
    wanted = [(line.sku, line.description, line.quantity, line.unit_price, line.discount) for line in order.lines]
    billed = [(line.sku, line.description, line.quantity, line.unit_price, line.discount) for line in bill.lines]
    return bill.customer_id == order.customer_id and bill.currency == order.currency and wanted == billed


def _identity(order: Order, ids: Ids) -> tuple[UUID, str | None]:
    """The id of the invoice, chosen by a command's sender and by us otherwise; and the token to collect with."""
    if isinstance(order, IssueInvoice):
        return order.invoice_id, None
    return ids.next(), order.payment_token


def _entries(bill: Bill, account: Account, credit: int, on: date, ids: Ids) -> list[Entity]:
    """An invoice in the ledger, and the credit that pays some of it."""
    owed = balanced(Postings(receivable=bill.total, revenue=-bill.net, tax_payable=-bill.tax))
    whose = bill.customer_id, account.id, bill.currency
    entry = Entry(ids.next(), *whose, "invoice", on, bill.id, None, owed)
    if not credit:
        return [entry]
    used = balanced(Postings(receivable=-credit, customer_credit=credit))
    credit_entry = Entry(ids.next(), *whose, "credit_used", on, bill.id, None, used)
    return [entry, credit_entry, Allocation(credit_entry.id, bill.customer_id, bill.id, None, credit)]


_invoice_issued = validator_of(InvoiceIssued)


def _told(bill: Bill, issue: Issue, series: Series, version: int) -> InvoiceIssued:
    return _invoice_issued(
        {
            "customer_id": bill.customer_id,
            "invoice_id": bill.id,
            "account_id": issue.account_id,
            "number": issue.printed,
            "series": series.name,
            "issued_on": issue.issued_on,
            "due_on": issue.due_on,
            "currency": bill.currency,
            "lines": bill.lines,
            "net": bill.net,
            "tax": bill.tax,
            "total": bill.total,
            "bill_to": issue.bill_to,
            "cause": {"kind": bill.cause_kind, "id": str(bill.cause_id)},
            "version": version,
        }
    )


def _told_paid(invoice: Invoice, on: date) -> InvoicePaid:
    bill = invoice.bill
    return InvoicePaid(
        customer_id=bill.customer_id,
        invoice_id=bill.id,
        currency=bill.currency,
        total=bill.total,
        paid_on=on,
        version=invoice.version,
    )
