"""What billing's tests say of customers, purchases and payments."""

from datetime import date
from typing import Any
from uuid import UUID, uuid4

from shared.harness.kello import Kello, RawRecord
from shared.schemas.billing import CollectPayment, IssueInvoice, RecordPayment, RequestedLine
from shared.schemas.customer import CustomerProfile, ProfileAddress
from shared.schemas.sales import BookingConfirmed, Line, PurchaseRecorded

AUSTRIAN = 2000
"""Basis points of Austria's standard rate."""


def profile(customer_id: UUID, version: int = 1, **changes: Any) -> CustomerProfile:
    fields: dict[str, Any] = {
        "customer_id": customer_id,
        "version": version,
        "kind": "person",
        "status": "active",
        "name": "Ada Example",
        "locale": "de-AT",
        "country": "AT",
        "zone": "Europe/Vienna",
        "address": ProfileAddress(lines=("Ringstrasse 1",), postal_code="1010", city="Wien", country="AT"),
    }
    return CustomerProfile(**{**fields, **changes})


def line(unit_price: int = 1000, quantity: int = 1, **changes: Any) -> Line:
    return Line(**{"sku": "A-1", "description": "Chair", "quantity": quantity, "unit_price": unit_price, **changes})


def purchase(customer_id: UUID, *lines: Line, **changes: Any) -> PurchaseRecorded:
    """A chair of 10.00 and tax, unless something else is said."""
    fields: dict[str, Any] = {
        "purchase_id": uuid4(),
        "customer_id": customer_id,
        "currency": "EUR",
        "country": "AT",
        "lines": lines or (line(),),
        "version": 1,
    }
    return PurchaseRecorded(**{**fields, **changes})


def booking(customer_id: UUID, *lines: Line, **changes: Any) -> BookingConfirmed:
    fields: dict[str, Any] = {
        "booking_id": uuid4(),
        "customer_id": customer_id,
        "currency": "EUR",
        "country": "AT",
        "starts_on": date(2026, 7, 1),
        "ends_on": date(2026, 7, 5),
        "lines": lines or (line(),),
        "version": 1,
    }
    return BookingConfirmed(**{**fields, **changes})


def issue_invoice(customer_id: UUID, **changes: Any) -> IssueInvoice:
    fields: dict[str, Any] = {
        "invoice_id": uuid4(),
        "customer_id": customer_id,
        "currency": "EUR",
        "country": "AT",
        "lines": (RequestedLine(sku="S-1", description="Service", quantity=2, unit_price=500),),
        "issued_by": "tests",
    }
    return IssueInvoice(**{**fields, **changes})


def transfer(customer_id: UUID, amount: int, **changes: Any) -> RecordPayment:
    fields: dict[str, Any] = {
        "payment_id": uuid4(),
        "customer_id": customer_id,
        "currency": "EUR",
        "amount": amount,
        "received_on": date(2026, 6, 15),
        "issued_by": "tests",
    }
    return RecordPayment(**{**fields, **changes})


def collect(customer_id: UUID, invoice_id: UUID, token: str, **changes: Any) -> CollectPayment:
    fields: dict[str, Any] = {
        "payment_id": uuid4(),
        "customer_id": customer_id,
        "invoice_id": invoice_id,
        "payment_token": token,
        "issued_by": "tests",
    }
    return CollectPayment(**{**fields, **changes})


async def known_customer(kello: Kello) -> UUID:
    """Somebody whose profile billing has seen."""
    customer = uuid4()
    await kello.publish(profile(customer))

    async def is_known() -> bool:
        return bool(await kello.rows("billing", "SELECT FROM customer WHERE id = $1", customer))

    await kello.until(is_known, "the profile is copied")
    return customer


async def letters_of(kello: Kello, customer: UUID, count: int) -> list[RawRecord]:
    """The dead letters under a customer's key, once there are `count`."""
    key = str(customer).encode()

    async def under_key() -> list[RawRecord] | None:
        letters = [letter for letter in await kello.records("billing.dead-letters") if letter.key == key]
        return letters if len(letters) >= count else None

    if not count:
        return await under_key() or []
    letters: list[RawRecord] = await kello.until(under_key, f"{count} dead letters")
    return letters


def dead_kind_and_code(letter: RawRecord) -> tuple[str, str]:
    """Why a record became a dead letter."""
    headers = dict(letter.headers)
    return headers["kello_dead_kind"].decode(), headers["kello_dead_code"].decode()
