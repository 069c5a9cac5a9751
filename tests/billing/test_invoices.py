"""Invoices, through billing's topics: from purchases, bookings and commands, for customers known and not known yet."""

from datetime import UTC, datetime
from uuid import uuid4

from shared.harness.kello import Kello
from shared.schemas.billing import (
    AccountBalanceChanged,
    AccountOpened,
    CommandAccepted,
    CommandRejected,
    InvoiceDrafted,
    InvoiceIssued,
    InvoicePaid,
)
from tests.billing.orders import booking, issue_invoice, line, profile, purchase


async def test_a_purchase_is_invoiced(kello: Kello) -> None:
    customer = uuid4()
    bought = purchase(customer, line(1000), line(333, quantity=3, tax_class="reduced"))
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        await kello.publish(bought, time=datetime(2026, 6, 1, 22, 30, tzinfo=UTC))
        invoice = await kello.expect(InvoiceIssued, customer_id=customer)
        await kello.settled()
    assert (invoice.net, invoice.tax, invoice.total) == (1999, 300, 2299)
    assert [(each.net, each.tax_rate, each.tax, each.gross) for each in invoice.lines] == [
        (1000, 2000, 200, 1200),
        (999, 1000, 100, 1099),
    ]
    assert invoice.cause.model_dump() == {"kind": "purchase", "id": str(bought.purchase_id)}
    assert invoice.issued_on.isoformat() == "2026-06-02", "half past midnight in Vienna"
    assert invoice.due_on.isoformat() == "2026-06-16"
    assert (invoice.number, invoice.series) == ("KELLO-2026-0-000001", "KELLO/2026/0")
    assert invoice.bill_to.name == "Ada Example"
    assert invoice.bill_to.address_lines == ("Ringstrasse 1", "1010 Wien")
    [opened] = await kello.events(AccountOpened)
    [balance] = await kello.events(AccountBalanceChanged)
    assert (opened.account_id, opened.version) == (invoice.account_id, 1)
    assert (balance.outstanding, balance.credit, balance.version) == (2299, 0, 2)
    assert await kello.dead_letters("billing") == []
