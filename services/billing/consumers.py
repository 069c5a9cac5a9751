"""Which message leads to which decision in billing, and what a batch of them loads and saves."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from services.billing import store
from services.billing.domain import account as accounts
from services.billing.domain import invoice as invoices
from services.billing.domain import payment as payments
from services.billing.domain.account import Account, Customer
from services.billing.domain.invoice import Books, CauseKind, Invoice, Issued, Order
from services.billing.domain.ledger import Allocation, Entry
from services.billing.domain.legal_entity import LegalEntity, Series
from services.billing.domain.payment import CAPTURE_PAYMENT, Captured, CapturePayment, Declined, Payment
from services.billing.domain.tax import TaxRates
from shared.messaging.database import Tx
from shared.messaging.decision import NOTHING, Decision, Exhausted, Ids, Message, Outcome, Refused, Unknown
from shared.messaging.handlers import Handlers
from shared.messaging.working_set import WorkingSet
from shared.schemas.billing import CollectPayment, IssueInvoice, RecordPayment
from shared.schemas.customer import CustomerProfile, ProfileErased
from shared.schemas.sales import BookingConfirmed, PurchaseRecorded


class Billing(WorkingSet):
    """What a batch of billing's messages reads and changes."""

    def __init__(self, entity: LegalEntity, rates: TaxRates) -> None:
        super().__init__()
        self.entity = entity
        self.rates = rates

    def customer(self, customer_id: UUID) -> Customer:
        """The customer, unknown so far where nobody has spoken of it."""
        return self.find(Customer, customer_id) or accounts.unknown_customer(customer_id)

    def account(self, customer_id: UUID, currency: str) -> Account | None:
        return self.find(Account, (customer_id, currency))

    def series(self, partition: int, issued_on: date) -> Series:
        """The series that an invoice of that day takes its number from, where its cause came from that partition."""
        key = self.entity.series_of(partition, issued_on.year)
        return self.find(Series, key) or Series(*key, next_number=1)

    def drafts(self, customer_id: UUID) -> list[Invoice]:
        """What waits for a customer's profile, first come first."""
        waiting = [each for each in self.under(Invoice, customer_id) if each.status == "draft"]
        return sorted(waiting, key=lambda invoice: invoice.place or 0)

    def owed(self, customer_id: UUID, currency: str) -> list[Invoice]:
        """What a customer owes in a currency, the oldest first."""
        due = [each for each in self.under(Invoice, customer_id) if each.open and each.bill.currency == currency]
        return sorted(due, key=lambda invoice: invoice.age)

    def invoice(self, customer_id: UUID, invoice_id: UUID) -> Invoice:
        """Refused (`unknown_invoice`) where the customer has none of that id."""
        for each in self.under(Invoice, customer_id):
            if each.bill.id == invoice_id:
                return each
        raise Refused("unknown_invoice", f"the customer has no invoice {invoice_id}: correct its id or the customer's")

    def in_flight(self, customer_id: UUID, invoice_id: UUID) -> Payment | None:
        """The collection of an invoice that is under way."""
        for each in self.under(Payment, customer_id):
            if each.invoice_id == invoice_id and each.is_in_flight:
                return each
        return None


handlers = Handlers[Billing]()


@handlers.projection(CustomerProfile)
def copy_profile(state: Billing, message: Message[CustomerProfile], _now: datetime, _ids: Ids) -> Decision:
    before = state.customer(message.payload.customer_id)
    after = accounts.copied(before, message.payload, message.time)
    return NOTHING if after is before else Decision([after])


@handlers.projection(ProfileErased)
def erase_copy(state: Billing, message: Message[ProfileErased], _now: datetime, _ids: Ids) -> Decision:
    """Nothing personal stays in the copy; issued invoices are kept, as the law asks."""
    before = state.customer(message.payload.customer_id)
    after = accounts.erased(before, message.payload, message.time)
    return NOTHING if after is before else Decision([after])


@handlers.reaction(CustomerProfile)
def issue_what_waited(state: Billing, message: Message[CustomerProfile], now: datetime, ids: Ids) -> Decision:
    """The drafts of a customer who is known now, in their order. None is dated before it was ordered.

    One that would exceed the bound of its account goes on waiting; it must not keep the profile out.
    """
    customer = state.customer(message.payload.customer_id)
    if customer.status != "known":
        return NOTHING
    known_on = state.entity.business_day(message.time)
    whole = Decision([], [], [])
    open_accounts: dict[str, Account] = {}
    series_after: dict[object, Series] = {}
    for draft in state.drafts(customer.id):
        bill = draft.bill
        issued_on = max(known_on, state.entity.business_day(bill.ordered_at))
        account = open_accounts.get(bill.currency) or state.account(customer.id, bill.currency)
        series = state.series(message.partition, issued_on)
        series = series_after.get(series.key, series)
        books = Books(state.entity, customer, account, series)
        try:
            issued = invoices.issued(bill, books, issued_on, ids, version=draft.version + 1)
        except Refused:
            continue
        open_accounts[bill.currency], series_after[series.key] = issued.account, issued.series
        whole = joined(whole, followed_by_collection(issued, now, ids))
    return whole


@handlers.reaction(PurchaseRecorded)
@handlers.reaction(BookingConfirmed)
@handlers.command(IssueInvoice)
def bill_order(state: Billing, message: Message[Order], now: datetime, ids: Ids) -> Decision:
    """An invoice, or a draft while its customer is not known. Refused: `unknown_tax_rate`, `customer_erased`."""
    order = message.payload
    before = state.find(Invoice, invoices.cause_of(order))
    if before is not None:
        return billed_already(before, order)
    customer = state.customer(order.customer_id)
    if customer.status == "erased":
        raise Refused("customer_erased", "the customer was erased on request and cannot be billed: register a new one")
    ordered_on = state.entity.business_day(message.time)
    bill = invoices.bill_of(order, customer.id, state.rates, message.time, ordered_on, ids)
    if customer.status == "unknown":
        draft, waiting, told = invoices.drafted(bill, customer)
        return Decision([draft, waiting], [told])
    books = Books(
        state.entity, customer, state.account(customer.id, bill.currency), state.series(message.partition, ordered_on)
    )
    return followed_by_collection(invoices.issued(bill, books, ordered_on, ids), now, ids)


def billed_already(invoice: Invoice, order: Order) -> Decision:
    """A cause that comes again under another event id has no second effect; one that says otherwise is refused."""
    if invoice.bill.customer_id != order.customer_id:
        raise Refused("billed_to_another", "this was billed to another customer already: give each its own id")
    if isinstance(order, IssueInvoice) and not invoices.is_same_order(invoice, order):
        raise Refused("invoice_exists", "there is another invoice of this id already: choose a new id")
    return NOTHING


def followed_by_collection(issued: Issued, now: datetime, ids: Ids) -> Decision:
    """An invoice that is issued and, with a payment token that is fresh enough, collected at once."""
    bill = issued.invoice.bill
    token = bill.payment_token
    if token is None or not issued.invoice.open or not payments.is_worth_collecting(bill.ordered_at, now):
        return Decision(issued.changes, issued.events)
    payment, task = payments.collection(ids.next(), issued.invoice, token)
    return Decision([*issued.changes, payment], issued.events, [task])


@handlers.command(RecordPayment)
def record_payment(state: Billing, message: Message[RecordPayment], _now: datetime, ids: Ids) -> Decision:
    """A transfer pays the invoice that it names, or the oldest first; the rest is credit.

    Refused: `payment_exists`, `unknown_customer`, `unknown_invoice`, `invoice_not_issued`, `currency_mismatch`.
    """
    command = message.payload
    before = state.find(Payment, command.payment_id)
    if before is not None:
        return known_payment(is_same=payments.is_same_transfer(before, command))
    meant_for = paid_by(state, command)
    account = state.account(command.customer_id, command.currency)
    if account is not None:
        return payments.recorded(command, account, meant_for, ids)
    if state.customer(command.customer_id).status != "known":
        raise Refused("unknown_customer", "the customer is not known and owes nothing: correct the customer's id")
    account, opened = accounts.opened(command.customer_id, command.currency, ids)
    return joined(Decision([account], [opened]), payments.recorded(command, account, meant_for, ids))


def paid_by(state: Billing, command: RecordPayment) -> Sequence[Invoice]:
    """The invoices that a transfer is meant for, in the order in which it pays them."""
    if command.invoice_id is None:
        return state.owed(command.customer_id, command.currency)
    invoice = state.invoice(command.customer_id, command.invoice_id)
    if invoice.issue is None:
        raise Refused("invoice_not_issued", "the invoice is a draft: record the payment once it is issued")
    if invoice.bill.currency != command.currency:
        raise Refused("currency_mismatch", f"the invoice is in {invoice.bill.currency}: no currency pays another's")
    return [invoice]


@handlers.command(CollectPayment)
def collect_payment(state: Billing, message: Message[CollectPayment], _now: datetime, _ids: Ids) -> Decision:
    """What is open of an invoice, through the gateway; one at a time.

    Refused: `payment_exists`, `unknown_invoice`, `payment_in_flight`, `invoice_not_issued`, `invoice_paid`.
    """
    command = message.payload
    before = state.find(Payment, command.payment_id)
    if before is not None:
        return known_payment(is_same=payments.is_same_collection(before, command))
    invoice = state.invoice(command.customer_id, command.invoice_id)
    if state.in_flight(command.customer_id, command.invoice_id):
        raise Refused("payment_in_flight", "a payment of the invoice is under way: wait for its outcome")
    payment, task = payments.collection(command.payment_id, invoice, command.payment_token)
    return Decision([payment], [], [task])


def known_payment(*, is_same: bool) -> Decision:
    """A payment that comes again has no second effect; another one under its id is refused."""
    if not is_same:
        raise Refused("payment_exists", "there is another payment of this id already: choose a new id")
    return NOTHING


@handlers.outcome(CAPTURE_PAYMENT)
def end_capture(
    state: Billing,
    message: Message[Outcome[CapturePayment, Captured | Declined | Exhausted | Unknown]],
    _now: datetime,
    ids: Ids,
) -> Decision:
    """What the gateway said: money, a refusal, or nothing that anybody could rely on."""
    asked, result = message.payload.task, message.payload.result
    payment = state.find(Payment, asked.payment_id)
    if payment is None or not payment.is_in_flight:
        return NOTHING
    match result:
        case Captured():
            account = state.account(asked.customer_id, asked.currency)
            invoice = state.invoice(asked.customer_id, asked.invoice_id)
            assert account is not None  # noqa: S101 - the invoice opened it
            on = state.entity.business_day(message.time)
            return payments.captured(payment, result, account, invoice, on=on, ids=ids)
        case Declined():
            return payments.failed(payment, asked, result.code, f"the gateway declined it: {result.code}")
        case Exhausted():
            reason = "the gateway could not be reached: nothing was taken"
            return payments.failed(payment, asked, payments.GATEWAY_UNREACHABLE, reason)
        case Unknown():
            return NOTHING if payment.state == "unknown" else payments.unknown(payment, asked)
    raise TypeError(f"no outcome of a capture: {type(result).__name__}")


def joined(first: Decision, second: Decision) -> Decision:
    """Both, one after the other."""
    return Decision([*first.changes, *second.changes], [*first.events, *second.events], [*first.tasks, *second.tasks])


@dataclass(slots=True)
class Named:
    """What the messages of a batch name: all that is to be loaded for them."""

    customers: set[UUID] = field(default_factory=set)
    causes: set[tuple[CauseKind, UUID]] = field(default_factory=set)
    countries: set[str] = field(default_factory=set)
    orders: list[tuple[int, datetime]] = field(default_factory=list)
    """The partition and the time of each."""
    profiles: list[tuple[UUID, int, datetime]] = field(default_factory=list)
    """The customer, the partition and the time of each."""
    payers: set[UUID] = field(default_factory=set)
    invoices: set[UUID] = field(default_factory=set)
    payments: set[UUID] = field(default_factory=set)

    def add(self, payload: Any, partition: int, time: datetime) -> None:
        match payload:
            case PurchaseRecorded() | BookingConfirmed() | IssueInvoice():
                self.customers.add(payload.customer_id)
                self.causes.add(invoices.cause_of(payload))
                self.countries.add(payload.country)
                self.orders.append((partition, time))
            case CustomerProfile():
                self.customers.add(payload.customer_id)
                self.profiles.append((payload.customer_id, partition, time))
            case RecordPayment() | CollectPayment() | CapturePayment():
                self.customers.add(payload.customer_id)
                self.payments.add(payload.payment_id)
                if payload.invoice_id is None:
                    self.payers.add(payload.customer_id)
                else:
                    self.invoices.add(payload.invoice_id)
            case ProfileErased():
                self.customers.add(payload.customer_id)
            case Outcome():
                self.add(payload.task, partition, time)


async def load(tx: Tx, messages: Sequence[Message[Any]]) -> Billing:
    """Locks the customers, reads what is under them, then locks the series that numbers may be taken from."""
    named = Named()
    for message in messages:
        named.add(message.payload, message.partition, message.time)
    customers = await store.locked_customers(tx, named.customers)
    state = Billing(*await store.legal_entity_and_rates(tx, named.countries))
    state.add(customers)
    state.add(await store.accounts_of(tx, named.customers))
    known = {customer.id for customer in customers if customer.status == "known"}
    becoming_known = [profile for profile in named.profiles if profile[0] not in known]
    await _add_invoices(tx, state, named, {customer_id for customer_id, _, _ in becoming_known})
    if named.payments:
        state.add(await store.payments_of(tx, named.payments, named.invoices))
    state.add(await store.locked_series(tx, _series_of(state, named, becoming_known)))
    return state


async def _add_invoices(tx: Tx, state: Billing, named: Named, becoming_known: set[UUID]) -> None:
    if named.causes:
        state.add(await store.invoices_of_causes(tx, named.causes))
    if named.invoices:
        state.add(await store.invoices_with_ids(tx, named.invoices))
    if becoming_known or named.payers:
        state.add(await store.unpaid_invoices_of(tx, becoming_known | named.payers))


ENDS_OF_A_DAY = (time.min, time.max)


def _series_of(
    state: Billing, named: Named, becoming_known: Sequence[tuple[UUID, int, datetime]]
) -> set[tuple[str, int, int]]:
    """Wherever a number may be taken: the years of the days (in UTC) of the orders, or of the profiles waited for."""
    profiles = [(partition, time) for _, partition, time in becoming_known]
    drafts = [
        (partition, draft.bill.ordered_at)
        for customer_id, partition, _ in becoming_known
        for draft in state.drafts(customer_id)
    ]
    entity = state.entity
    days = {(partition, moment.date()) for partition, moment in (*named.orders, *profiles, *drafts)}
    return {
        entity.series_of(partition, entity.business_day(datetime.combine(day, end, UTC)).year)
        for partition, day in days
        for end in ENDS_OF_A_DAY
    }


WRITES: Sequence[tuple[type[Any], Callable[..., Awaitable[None]], Callable[..., Awaitable[None]] | None]] = (
    (Customer, store.insert_customers, store.update_customers),
    (Account, store.insert_accounts, store.update_accounts),
    (Series, store.insert_series, store.update_series),
    (Invoice, store.insert_invoices, store.update_invoices),
    (Payment, store.insert_payments, store.update_payments),
    (Entry, store.insert_entries, None),
    (Allocation, store.insert_allocations, None),
)
"""How the rows of each class are written, in this order."""


async def save(tx: Tx, state: Billing) -> None:
    """Each class of rows in one statement, where there are any."""
    for cls, insert, update in WRITES:
        if rows := state.inserted(cls):
            await insert(tx, rows)
        if update is not None and (changed := state.updated(cls)):
            await update(tx, changed)
