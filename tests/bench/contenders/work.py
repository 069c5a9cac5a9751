"""What all contenders do, whatever carries it: an invoice from a purchase, and the tables that keep it.

Only the standard library: this runs in the peers' environment, too.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

SERIES = "KELLO/2026/0"
RATES = {"standard": 2000, "reduced": 1000, "zero": 0}
"""VAT of Austria, in basis points."""
ISSUED = "kello.billing.invoice-issued.v1"
SOURCE = "bench"
KNOWN_CUSTOMER = {"name": "Ada Example", "address_lines": ["1 Long Street", "1010 Vienna"], "country": "AT"}

SCHEMA = """
CREATE TABLE account (
    customer_id uuid PRIMARY KEY,
    id uuid NOT NULL,
    currency text NOT NULL,
    outstanding bigint NOT NULL,
    version bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE number_series (series text PRIMARY KEY, next_number bigint NOT NULL) WITH (fillfactor = 10);
CREATE TABLE invoice (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL,
    cause_id uuid NOT NULL,
    number bigint NOT NULL,
    lines json NOT NULL,
    net bigint NOT NULL,
    tax bigint NOT NULL,
    total bigint NOT NULL
);
CREATE TABLE ledger_entry (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL,
    invoice_id uuid NOT NULL,
    receivable bigint NOT NULL,
    revenue bigint NOT NULL,
    tax_payable bigint NOT NULL
);
CREATE TABLE inbox (id text PRIMARY KEY);
CREATE TABLE consumer_offset (partition integer PRIMARY KEY, next_offset bigint NOT NULL);
INSERT INTO number_series VALUES ('KELLO/2026/0', 1);
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contender works, as the environment says."""

    kafka: str
    database_url: str
    topic_in: str
    topic_out: str
    group: str
    state: str
    """A folder of its own, for what its library keeps on disk."""

    @classmethod
    def from_environment(cls) -> "Place":
        names = ("KAFKA", "DATABASE_URL", "TOPIC_IN", "TOPIC_OUT", "GROUP", "STATE")
        return cls(*(os.environ[f"BENCH_{name}"] for name in names))


@dataclass(frozen=True, slots=True)
class Bill:
    """The money of one invoice, in minor units, and its lines as they are printed."""

    lines: list[dict[str, Any]]
    net: int
    tax: int

    @property
    def total(self) -> int:
        return self.net + self.tax

    @property
    def postings(self) -> tuple[int, int, int]:
        """What the invoice's entry says to the ledger, receivable, revenue and tax payable; sums to zero."""
        return self.total, -self.net, -self.tax


def bill_of(purchase: Mapping[str, Any]) -> Bill:
    """Lines with their tax, rounded half-even each."""
    lines = []
    net_sum = tax_sum = 0
    for line in purchase["lines"]:
        net = line["quantity"] * line["unit_price"] - line.get("discount", 0)
        rate = RATES[line.get("tax_class", "standard")]
        tax = half_even(net * rate, 10_000)
        net_sum += net
        tax_sum += tax
        lines.append(
            {
                "sku": line["sku"],
                "description": line["description"],
                "quantity": line["quantity"],
                "unit_price": line["unit_price"],
                "discount": line.get("discount", 0),
                "net": net,
                "tax_rate": rate,
                "tax": tax,
                "gross": net + tax,
            }
        )
    return Bill(lines, net_sum, tax_sum)


def half_even(numerator: int, denominator: int) -> int:
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient % 2))


def derived(cause: UUID, ordinal: int) -> UUID:
    """An id that follows from a cause: the same cause gives the same ids."""
    return UUID(int=cause.int ^ (ordinal << 80))


def invoice_issued(purchase: Mapping[str, Any], bill: Bill, number: int, ids: tuple[UUID, UUID]) -> dict[str, Any]:
    """The payload of InvoiceIssued; `ids` are those of the invoice and of the account."""
    return {
        "version": 1,
        "customer_id": purchase["customer_id"],
        "invoice_id": str(ids[0]),
        "account_id": str(ids[1]),
        "number": f"KELLO-2026-0-{number:06d}",
        "series": SERIES,
        "issued_on": "2026-01-31",
        "due_on": "2026-02-14",
        "currency": purchase["currency"],
        "lines": bill.lines,
        "net": bill.net,
        "tax": bill.tax,
        "total": bill.total,
        "bill_to": KNOWN_CUSTOMER,
        "cause": {"kind": "purchase", "id": purchase["purchase_id"]},
    }


def headers_of(event_id: UUID, invoice_id: UUID, time: bytes, cause: bytes) -> dict[str, bytes]:
    """The CloudEvents headers of InvoiceIssued; `time` and `cause` are headers of what led to it."""
    event = str(event_id).encode()
    return {
        "ce_specversion": b"1.0",
        "ce_id": event,
        "ce_source": SOURCE.encode(),
        "ce_type": ISSUED.encode(),
        "ce_time": time,
        "ce_subject": f"invoice/{invoice_id}".encode(),
        "ce_correlationid": cause,
        "ce_causationid": cause,
        "content-type": b"application/json",
    }
