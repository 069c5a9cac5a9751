"""Invoices, through billing's topics: from purchases, bookings and commands, for customers known and not known yet."""

import re
from datetime import UTC, date, datetime
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
from shared.schemas.customer import CustomerProfile
from tests.billing.audit import assert_the_books_are_right
from tests.billing.orders import (
    booking,
    dead_kind_and_code,
    issue_invoice,
    known_customer,
    letters_of,
    line,
    profile,
    purchase,
)

ENVELOPE = [
    ("ce_specversion", b"1.0"),
    ("ce_source", b"tests"),
    ("ce_time", b"2026-06-01T00:00:00Z"),
]


async def test_a_purchase_is_invoiced(billing: Kello) -> None:
    customer = await known_customer(billing)
    bought = purchase(customer, line(1000), line(333, quantity=3, tax_class="reduced"))
    await billing.publish(bought, time=datetime(2026, 6, 1, 22, 30, tzinfo=UTC))
    invoice = await billing.expect(InvoiceIssued, customer_id=customer)
    await billing.settled()
    assert (invoice.net, invoice.tax, invoice.total) == (1999, 300, 2299)
    assert [(each.net, each.tax_rate, each.tax, each.gross) for each in invoice.lines] == [
        (1000, 2000, 200, 1200),
        (999, 1000, 100, 1099),
    ]
    assert invoice.cause.model_dump() == {"kind": "purchase", "id": str(bought.purchase_id)}
    assert invoice.issued_on.isoformat() == "2026-06-02", "half past midnight in Vienna"
    assert invoice.due_on.isoformat() == "2026-06-16"
    assert invoice.series == "KELLO/2026/0"
    assert re.fullmatch(r"KELLO-2026-0-[0-9]{6}", invoice.number)
    assert invoice.bill_to.name == "Ada Example"
    assert invoice.bill_to.address_lines == ("Ringstrasse 1", "1010 Wien")
    [opened] = await billing.events(AccountOpened, customer_id=customer)
    [balance] = await billing.events(AccountBalanceChanged, customer_id=customer)
    assert (opened.account_id, opened.version) == (invoice.account_id, 1)
    assert (balance.outstanding, balance.credit, balance.version) == (2299, 0, 2)
    assert await letters_of(billing, customer, 0) == []
    await assert_the_books_are_right(billing)


async def test_bookings_and_commands_are_invoiced_as_purchases_are(billing: Kello) -> None:
    customer = await known_customer(billing)
    booked, asked = booking(customer), issue_invoice(customer, prices_include_tax=True)
    await billing.publish(booked, asked)
    by_booking = await billing.expect(InvoiceIssued, total=1200, customer_id=customer)
    by_command = await billing.expect(InvoiceIssued, total=1000, customer_id=customer)
    await billing.settled()
    assert (by_booking.cause.kind, by_booking.cause.id) == ("booking", str(booked.booking_id))
    assert (by_command.cause.kind, by_command.invoice_id) == ("command", asked.invoice_id)
    assert (by_command.net, by_command.tax) == (833, 167), "the price of 10.00 includes the tax"
    assert by_booking.account_id == by_command.account_id
    assert by_booking.number != by_command.number
    assert await billing.events(CommandAccepted, key=str(customer)) == [], "InvoiceIssued is the answer"
    await assert_the_books_are_right(billing)


async def test_what_an_unknown_customer_buys_waits_and_is_issued_in_order(billing: Kello) -> None:
    customer, other = uuid4(), await known_customer(billing)
    waiting = [purchase(customer, line(100 * n)) for n in (1, 2, 3)]
    await billing.publish(*waiting, time=datetime(2026, 3, 1, tzinfo=UTC))
    await billing.expect(InvoiceDrafted, count=3, customer_id=customer, waits_for="customer")
    await billing.publish(purchase(other), time=datetime(2026, 3, 2, tzinfo=UTC))
    between = await billing.expect(InvoiceIssued, customer_id=other)
    assert await billing.events(InvoiceIssued, customer_id=customer) == []
    await billing.publish(profile(customer), time=datetime(2026, 3, 3, tzinfo=UTC))
    await billing.expect(InvoiceIssued, count=3, customer_id=customer)
    await billing.settled()
    issued = await billing.events(InvoiceIssued, customer_id=customer)
    assert [each.cause.id for each in issued] == [str(each.purchase_id) for each in waiting]
    numbers = [int(each.number[-6:]) for each in (between, *issued)]
    assert numbers == list(range(numbers[0], numbers[0] + 4)), "a draft takes no number"
    assert {each.issued_on for each in issued} == {date(2026, 3, 3)}
    assert {each.version for each in issued} == {2}
    balance = await billing.expect(AccountBalanceChanged, customer_id=customer, version=4)
    assert balance.outstanding == sum(each.total for each in issued)
    await assert_the_books_are_right(billing)


async def test_drafts_of_the_same_batch_are_issued_with_the_profile_that_follows(kello: Kello) -> None:
    """Everything is there before billing starts, so that one batch may hold it all."""
    customer = uuid4()
    await kello.publish(purchase(customer, line(100)), purchase(customer, line(200)), profile(customer))
    await kello.publish(purchase(customer, line(300)))
    async with kello.running("billing"):
        await kello.expect(InvoiceIssued, count=3, customer_id=customer)
        await kello.settled()
    assert sorted(each.net for each in await kello.events(InvoiceIssued)) == [100, 200, 300]
    await assert_the_books_are_right(kello)


async def test_a_purchase_is_billed_once_whatever_ids_its_events_have(billing: Kello) -> None:
    customer, thief = await known_customer(billing), await known_customer(billing)
    bought = purchase(customer)
    await billing.publish(bought, twice=True)
    await billing.publish(bought, bought)
    await billing.settled()
    await billing.publish(purchase(thief, purchase_id=bought.purchase_id))
    [letter] = await letters_of(billing, thief, 1)
    await billing.settled()
    assert len(await billing.events(InvoiceIssued, customer_id=customer)) == 1
    assert dead_kind_and_code(letter) == ("refused", "billed_to_another")
    await assert_the_books_are_right(billing)


async def test_a_repeated_command_is_accepted_and_another_one_of_its_id_refused(billing: Kello) -> None:
    customer = await known_customer(billing)
    asked = issue_invoice(customer)
    await billing.publish(asked)
    [again] = await billing.publish(asked)
    [other] = await billing.publish(asked.model_copy(update={"currency": "CHF"}))
    await billing.expect(CommandAccepted, command_id=again)
    rejection = await billing.expect(CommandRejected, command_id=other)
    await billing.settled()
    assert rejection.code == "invoice_exists"
    assert len(await billing.events(InvoiceIssued, customer_id=customer)) == 1
    await assert_the_books_are_right(billing)


async def test_an_invoice_of_nothing_is_paid_at_once(billing: Kello) -> None:
    customer = await known_customer(billing)
    await billing.publish(purchase(customer, line(500, discount=500), payment_token="tok_ok"))
    issued = await billing.expect(InvoiceIssued, customer_id=customer)
    paid = await billing.expect(InvoicePaid, invoice_id=issued.invoice_id)
    await billing.settled()
    assert (issued.total, paid.total, paid.paid_on) == (0, 0, issued.issued_on)
    assert await billing.events(AccountBalanceChanged, customer_id=customer) == []
    assert await billing.rows("billing", "SELECT * FROM payment WHERE invoice_id = $1", issued.invoice_id) == []
    await assert_the_books_are_right(billing)


async def test_who_was_billed_stays_as_it_was_when_the_invoice_was_issued(billing: Kello) -> None:
    customer = await known_customer(billing)
    await billing.publish(purchase(customer))
    first = await billing.expect(InvoiceIssued, customer_id=customer)
    await billing.publish(profile(customer, 3, name="Ada Married", tax_id="ATU12345678"))
    await billing.publish(profile(customer, 2, name="Ada Stale"))
    await billing.settled()
    await billing.publish(purchase(customer, line(7)))
    second = await billing.expect(InvoiceIssued, net=7, customer_id=customer)
    await billing.settled()
    _, shown = await billing.get("billing", f"/invoices/{first.invoice_id}")
    assert (first.bill_to.name, shown["bill_to"]["name"]) == ("Ada Example", "Ada Example")
    assert (second.bill_to.name, second.bill_to.tax_id) == ("Ada Married", "ATU12345678")


async def test_who_is_erased_leaves_invoices_and_no_copy(billing: Kello) -> None:
    customer = await known_customer(billing)
    tombstone = [("ce_id", b"erased-1"), ("ce_type", CustomerProfile.ce_type.encode()), ("kello_version", b"2")]
    await billing.publish(purchase(customer))
    invoice = await billing.expect(InvoiceIssued, customer_id=customer)
    await billing.publish_raw("customer.profiles", str(customer).encode(), None, [*ENVELOPE, *tombstone])
    await billing.settled()
    await billing.publish(profile(customer, 1, name="Ada Resent"))
    await billing.settled()
    await billing.publish(purchase(customer))
    [letter] = await letters_of(billing, customer, 1)
    await billing.settled()
    statuses = [
        (await billing.get("billing", path))[0] for path in (f"/invoices/{invoice.invoice_id}", f"/accounts/{customer}")
    ]
    assert dead_kind_and_code(letter) == ("refused", "customer_erased")
    [row] = await billing.rows(
        "billing", "SELECT status, bill_to, source_version FROM customer WHERE id = $1", customer
    )
    assert tuple(row) == ("erased", None, 2)
    assert statuses == [404, 404]
    await assert_the_books_are_right(billing)


async def test_what_cannot_be_taxed_is_refused(billing: Kello) -> None:
    customer = await known_customer(billing)
    await billing.publish(purchase(customer, country="US"))
    await billing.publish(purchase(customer, line(tax_class="luxury")))
    [too_early] = await billing.publish(issue_invoice(customer), time=datetime(1950, 1, 1, tzinfo=UTC))
    rejection = await billing.expect(CommandRejected, command_id=too_early)
    letters = await letters_of(billing, customer, 2)
    await billing.settled()
    assert {dead_kind_and_code(letter) for letter in letters} == {("refused", "unknown_tax_rate")}
    assert rejection.code == "unknown_tax_rate"
    assert "1950-01-01" in rejection.message
    assert await billing.events(InvoiceIssued, customer_id=customer) == []
    await assert_the_books_are_right(billing)


async def test_the_years_have_series_of_their_own(billing: Kello) -> None:
    customer = await known_customer(billing)
    await billing.publish(purchase(customer), time=datetime(2025, 12, 31, 22, 59, tzinfo=UTC))
    await billing.publish(purchase(customer), time=datetime(2025, 12, 31, 23, 1, tzinfo=UTC))
    await billing.expect(InvoiceIssued, count=2, customer_id=customer)
    await billing.settled()
    series = {each.series for each in await billing.events(InvoiceIssued, customer_id=customer)}
    assert series == {"KELLO/2025/0", "KELLO/2026/0"}
    await assert_the_books_are_right(billing)


async def test_malformed_messages_are_kept_and_nothing_else_is_lost(billing: Kello) -> None:
    customer = await known_customer(billing)
    key = str(customer).encode()
    typed = [*ENVELOPE, ("ce_type", b"kello.sales.purchase-recorded.v1")]
    for n, value in enumerate((b"", b"{", b"[]", b'{"version": 1}', b"\xff\xfe", b'{"version": NaN}')):
        headers = [*typed, ("ce_id", f"bad-{n}".encode())]
        await billing.publish_raw("sales.events", key, value, headers)
    await billing.publish_raw("sales.events", key, b"{}", [])
    await billing.publish(purchase(customer))
    await billing.expect(InvoiceIssued, customer_id=customer)
    letters = await letters_of(billing, customer, 7)
    await billing.settled()
    assert {dead_kind_and_code(letter)[0] for letter in letters} == {"poison"}
    assert len(letters) == 7
    await assert_the_books_are_right(billing)


async def test_a_command_with_an_unknown_field_is_answered(billing: Kello) -> None:
    customer = uuid4()
    asked = issue_invoice(customer)
    headers = [*ENVELOPE, ("ce_id", b"raw-1"), ("ce_type", asked.ce_type.encode())]
    value = asked.model_dump_json()[:-1].encode() + b', "discount_code": "X"}'
    await billing.publish_raw("billing.commands", str(customer).encode(), value, headers)
    rejection = await billing.expect(CommandRejected, key=str(customer))
    await letters_of(billing, customer, 1)
    await billing.settled()
    assert rejection.command_id == "raw-1"
    assert rejection.code == "breaks-contract"
