"""What the shops and the booking system say (topic sales.events): somebody else publishes it, Kello listens."""

from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from shared.schemas.base import Code, Day, Event, Flag, Id, ShortText, Value
from shared.schemas.money import Currency, NonNegativeAmount
from shared.schemas.standards import Country

LINES_TOTAL_MAX = 10**14
"""What the lines of one purchase may sum to, in minor units: tax on top of it stays within the bound of an amount."""


class Line(Value):
    """One position of a purchase, a booking or an invoice to be made."""

    sku: ShortText
    """The seller's article number."""
    description: ShortText
    quantity: Annotated[int, Field(strict=True, ge=1, le=1_000_000, json_schema_extra={"x-unit": "piece"})]
    """Whole pieces."""
    unit_price: NonNegativeAmount
    """Minor units for one piece; with tax where the prices include it."""
    discount: NonNegativeAmount = 0
    """Minor units off the whole line."""
    tax_class: Code = "standard"
    """Which of the country's rates applies."""

    @property
    def amount(self) -> int:
        """Quantity times unit price, less the discount, in minor units."""
        return self.quantity * self.unit_price - self.discount

    @model_validator(mode="after")
    def _discount_within_price(self) -> Self:
        if self.amount < 0:
            raise ValueError("the discount must not exceed quantity x unit price")
        return self


L = TypeVar("L", bound=Line)


def _within_bound(lines: tuple[L, ...]) -> tuple[L, ...]:
    if sum(line.quantity * line.unit_price for line in lines) > LINES_TOTAL_MAX:
        raise ValueError("the lines must not sum to more than 10^14 minor units")
    return lines


Lines = Annotated[tuple[L, ...], Field(min_length=1, max_length=100), AfterValidator(_within_bound)]
"""1 to 100 lines, together at most LINES_TOTAL_MAX before discounts."""


class PurchaseRecorded(
    Event,
    type="kello.sales.purchase-recorded.v1",
    topic="sales.events",
    key="customer_id",
    subject="purchase/{purchase_id}",
):
    """A customer bought something."""

    purchase_id: Id
    customer_id: Id
    currency: Currency
    country: Country
    """Where it is taxed."""
    lines: Lines[Line]
    prices_include_tax: Flag = False
    """Whether unit prices and discounts are gross."""
    payment_token: ShortText | None = None
    """The gateway's token of a payment method: with it, billing collects at once."""


class BookingConfirmed(
    Event,
    type="kello.sales.booking-confirmed.v1",
    topic="sales.events",
    key="customer_id",
    subject="booking/{booking_id}",
):
    """A customer booked something for a span of days."""

    booking_id: Id
    customer_id: Id
    currency: Currency
    country: Country
    """Where it is taxed."""
    starts_on: Day
    ends_on: Day
    """The last day, not before the first."""
    lines: Lines[Line]
    prices_include_tax: Flag = False
    """Whether unit prices and discounts are gross."""
    payment_token: ShortText | None = None
    """The gateway's token of a payment method: with it, billing collects at once."""

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.ends_on < self.starts_on:
            raise ValueError("ends_on must not lie before starts_on")
        return self
