"""What billing is asked (topic billing.commands) and what it says (topic billing.events); the key is the customer."""

from typing import Annotated, Literal

from pydantic import Field

from shared.schemas.answers import Accepted, Rejected
from shared.schemas.base import Code, Command, CommandValue, Day, Event, Flag, Id, ShortText, Value
from shared.schemas.money import BasisPoints, Currency, NonNegativeAmount, PositiveAmount
from shared.schemas.sales import Line, Lines
from shared.schemas.standards import Country


class BillingCommand(Command, topic="billing.commands", key="customer_id"):
    """Something that billing is asked to do. A base."""

    customer_id: Id


class BillingEvent(Event, topic="billing.events", key="customer_id"):
    """Something that happened to a customer's accounts. A base."""

    customer_id: Id


class RequestedLine(Line, CommandValue):
    """A line of an invoice that a command asks for."""


class IssueInvoice(BillingCommand, type="kello.billing.issue-invoice.v1", subject="invoice/{invoice_id}"):
    """Bill a customer. Answered by InvoiceIssued, or InvoiceDrafted while the customer is not known yet."""

    invoice_id: Id
    currency: Currency
    country: Country
    """Where it is taxed."""
    lines: Lines[RequestedLine]
    prices_include_tax: Flag = False
    """Whether unit prices and discounts are gross."""


class RecordPayment(BillingCommand, type="kello.billing.record-payment.v1", subject="payment/{payment_id}"):
    """A customer's bank transfer arrived. Answered by PaymentReceived."""

    payment_id: Id
    currency: Currency
    amount: PositiveAmount
    """Minor units."""
    received_on: Day
    reference: ShortText | None = None
    """What the payer wrote on it."""
    invoice_id: Id | None = None
    """The invoice it is meant for; without one it pays the oldest first."""


class CollectPayment(BillingCommand, type="kello.billing.collect-payment.v1", subject="payment/{payment_id}"):
    """Collect what is open of an invoice through the gateway. Answered by PaymentReceived, -Failed or -Unknown."""

    payment_id: Id
    invoice_id: Id
    payment_token: ShortText
    """The gateway's token of a payment method."""


class Cause(Value):
    """Why there is an invoice."""

    kind: Literal["purchase", "booking", "command"]
    id: ShortText
    """The id of the purchase, the booking or (of a command) the invoice."""


class InvoiceLine(Value):
    """One line as it was billed. net = quantity x unit_price - discount, less the tax where prices include it."""

    sku: ShortText
    description: ShortText
    quantity: Annotated[int, Field(strict=True, ge=1, le=1_000_000, json_schema_extra={"x-unit": "piece"})]
    """Whole pieces."""
    unit_price: NonNegativeAmount
    """Minor units for one piece, as it was offered: with tax where prices include it."""
    discount: NonNegativeAmount
    """Minor units off the whole line, as it was offered."""
    net: NonNegativeAmount
    """Minor units without tax."""
    tax_rate: BasisPoints
    """Basis points: 2000 is 20 %."""
    tax: NonNegativeAmount
    """Minor units, rounded half-even."""
    gross: NonNegativeAmount
    """Minor units: net + tax."""


class BillTo(Value):
    """Who was billed, as it was when the invoice was issued."""

    name: ShortText
    address_lines: Annotated[tuple[ShortText, ...], Field(max_length=10)] = ()
    """Street, postal code and city as they are printed."""
    country: Country | None = None
    tax_id: ShortText | None = None


class AccountOpened(BillingEvent, type="kello.billing.account-opened.v1", subject="account/{account_id}"):
    """A customer has an account in one more currency."""

    account_id: Id
    currency: Currency


class AccountBalanceChanged(
    BillingEvent, type="kello.billing.account-balance-changed.v1", subject="account/{account_id}"
):
    """What a customer owes, or has in credit, is now this."""

    account_id: Id
    currency: Currency
    outstanding: NonNegativeAmount
    """Minor units owed on issued invoices."""
    credit: NonNegativeAmount
    """Minor units paid too much and not yet used."""


class InvoiceDrafted(BillingEvent, type="kello.billing.invoice-drafted.v1", subject="invoice/{invoice_id}"):
    """An invoice waits for something, and has no number yet."""

    invoice_id: Id
    currency: Currency
    cause: Cause
    waits_for: Code
    """What is missing: `customer`, whose profile has not been seen yet."""


class InvoiceIssued(BillingEvent, type="kello.billing.invoice-issued.v1", subject="invoice/{invoice_id}"):
    """A customer was billed. The total is the sum of the lines, to the unit; nothing of it ever changes."""

    invoice_id: Id
    account_id: Id
    number: ShortText
    """As printed: gapless within its series."""
    series: ShortText
    """Legal entity, year and lane within which numbers are counted."""
    issued_on: Day
    due_on: Day
    currency: Currency
    lines: Annotated[tuple[InvoiceLine, ...], Field(min_length=1, max_length=100)]
    net: NonNegativeAmount
    """Minor units: the lines' net."""
    tax: NonNegativeAmount
    """Minor units: the lines' tax."""
    total: NonNegativeAmount
    """Minor units: net + tax."""
    bill_to: BillTo
    cause: Cause


class InvoicePaid(BillingEvent, type="kello.billing.invoice-paid.v1", subject="invoice/{invoice_id}"):
    """Nothing is owed on an invoice any more."""

    invoice_id: Id
    currency: Currency
    total: NonNegativeAmount
    """Minor units."""
    paid_on: Day


class Allocation(Value):
    """The part of a payment that went to one invoice."""

    invoice_id: Id
    amount: PositiveAmount
    """Minor units."""


class PaymentReceived(BillingEvent, type="kello.billing.payment-received.v1", subject="payment/{payment_id}"):
    """A customer's money arrived. amount = the allocations + credit, to the unit."""

    payment_id: Id
    account_id: Id
    currency: Currency
    amount: PositiveAmount
    """Minor units."""
    allocations: Annotated[tuple[Allocation, ...], Field(max_length=10_000)]
    credit: NonNegativeAmount
    """Minor units paid too much: they wait for the next invoice."""
    method: Literal["gateway", "transfer"]


class PaymentFailed(BillingEvent, type="kello.billing.payment-failed.v1", subject="payment/{payment_id}"):
    """The gateway did not take the money, and will not for this payment."""

    payment_id: Id
    invoice_id: Id
    currency: Currency
    amount: PositiveAmount
    """Minor units that were asked for."""
    code: Code
    """Why, for programs: `declined`, `unreachable` …"""
    reason: ShortText
    """Why, for people; without personal data."""


class PaymentUnknown(BillingEvent, type="kello.billing.payment-unknown.v1", subject="payment/{payment_id}"):
    """The gateway may or may not have taken the money. PaymentReceived or PaymentFailed follows."""

    payment_id: Id
    invoice_id: Id
    currency: Currency
    amount: PositiveAmount
    """Minor units that were asked for."""


class CommandAccepted(Accepted, type="kello.billing.command-accepted.v1", topic="billing.events"):
    """Billing carried a command out, and nothing else tells of it."""


class CommandRejected(Rejected, type="kello.billing.command-rejected.v1", topic="billing.events"):
    """Billing refused a command."""
