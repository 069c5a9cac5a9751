"""Payments, through billing's topics and the gateway: in part, too much, twice, declined, lost, unknown."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from deploy.local.sandboxes import Behaviour, Capture
from shared.harness.kello import Kello
from shared.schemas.base import Command
from shared.schemas.billing import (
    AccountBalanceChanged,
    AccountOpened,
    CommandAccepted,
    CommandRejected,
    InvoiceIssued,
    InvoicePaid,
    PaymentFailed,
    PaymentReceived,
    PaymentUnknown,
)
from tests.billing.audit import assert_the_books_are_right
from tests.billing.orders import collect, known_customer, line, profile, purchase, transfer

PRICE = 1200
"""Of a purchase: 10.00 and tax."""


async def invoice_of(kello: Kello, customer: UUID) -> InvoiceIssued:
    """An issued invoice of 12.00."""
    await kello.publish(purchase(customer))
    return await kello.expect(InvoiceIssued, customer_id=customer)


async def refusal_of(kello: Kello, command: Command) -> str:
    [command_id] = await kello.publish(command)
    return (await kello.expect(CommandRejected, command_id=command_id)).code


async def captures_of(kello: Kello, *customers: UUID) -> list[Capture]:
    """What the gateway took from customers."""
    ids = await kello.rows("billing", "SELECT id::text FROM payment WHERE customer_id = ANY ($1)", customers)
    wanted = {row["id"] for row in ids}
    return [capture for capture in kello.sandboxes.gateway.captures() if capture.key.rsplit(":", 1)[1] in wanted]


async def balance_of(kello: Kello, customer: UUID) -> tuple[int, int]:
    """Outstanding and credit, as last told."""
    told = max(await kello.events(AccountBalanceChanged, customer_id=customer), key=lambda each: each.version)
    return told.outstanding, told.credit


async def test_a_transfer_pays_in_part_then_too_much_and_credit_pays_the_next_invoice(billing: Kello) -> None:
    customer = await known_customer(billing)
    invoice = await invoice_of(billing, customer)
    first = transfer(customer, 500, invoice_id=invoice.invoice_id)
    await billing.publish(first)
    in_part = await billing.expect(PaymentReceived, payment_id=first.payment_id)
    await billing.settled()
    assert await balance_of(billing, customer) == (700, 0)
    assert await billing.events(InvoicePaid, customer_id=customer) == []
    second = transfer(customer, 1000, invoice_id=invoice.invoice_id, reference="invoice 1, the rest")
    await billing.publish(second)
    too_much = await billing.expect(PaymentReceived, payment_id=second.payment_id)
    paid = await billing.expect(InvoicePaid, customer_id=customer)
    await billing.settled()
    assert await balance_of(billing, customer) == (0, 300)
    await billing.publish(purchase(customer, line(200)))
    by_credit = await billing.expect(InvoiceIssued, net=200, customer_id=customer)
    await billing.expect(InvoicePaid, invoice_id=by_credit.invoice_id)
    await billing.publish(purchase(customer, line(300)))
    await billing.expect(InvoiceIssued, net=300, customer_id=customer)
    await billing.settled()
    assert await balance_of(billing, customer) == (300, 0)
    assert [(each.invoice_id, each.amount) for each in in_part.allocations] == [(invoice.invoice_id, 500)]
    assert ([each.amount for each in too_much.allocations], too_much.credit) == ([700], 300)
    assert (paid.invoice_id, paid.paid_on, paid.version) == (invoice.invoice_id, second.received_on, 2)
    await assert_the_books_are_right(billing)


async def test_a_transfer_without_an_invoice_pays_the_oldest_first(billing: Kello) -> None:
    customer = await known_customer(billing)
    for month, price in ((3, 300), (1, 100), (2, 200)):
        await billing.publish(purchase(customer, line(price)), time=datetime(2026, month, 1, tzinfo=UTC))
    await billing.expect(InvoiceIssued, count=3, customer_id=customer)
    await billing.publish(transfer(customer, 120 + 240 + 10))
    received = await billing.expect(PaymentReceived, customer_id=customer)
    await billing.settled()
    by_id = {each.invoice_id: each.net for each in await billing.events(InvoiceIssued, customer_id=customer)}
    assert [(by_id[each.invoice_id], each.amount) for each in received.allocations] == [
        (100, 120),
        (200, 240),
        (300, 10),
    ]
    assert [by_id[each.invoice_id] for each in await billing.events(InvoicePaid, customer_id=customer)] == [100, 200]
    await assert_the_books_are_right(billing)


async def test_a_transfer_before_any_invoice_opens_the_account_with_credit(billing: Kello) -> None:
    customer = await known_customer(billing)
    await billing.publish(transfer(customer, 5000, currency="CHF"))
    await billing.expect(PaymentReceived, credit=5000, customer_id=customer)
    opened = await billing.expect(AccountOpened, currency="CHF", customer_id=customer)
    await billing.settled()
    assert await balance_of(billing, customer) == (0, 5000)
    assert opened.version == 1
    await assert_the_books_are_right(billing)


async def test_a_repeated_payment_is_no_error_and_has_no_second_effect(billing: Kello) -> None:
    customer = await known_customer(billing)
    await invoice_of(billing, customer)
    once = transfer(customer, 500)
    await billing.publish(once, twice=True)
    await billing.expect(PaymentReceived, customer_id=customer)
    [again] = await billing.publish(once)
    await billing.expect(CommandAccepted, command_id=again)
    assert await refusal_of(billing, once.model_copy(update={"amount": 501})) == "payment_exists"
    await billing.settled()
    assert await balance_of(billing, customer) == (PRICE - 500, 0)
    assert len(await billing.events(PaymentReceived, customer_id=customer)) == 1
    await assert_the_books_are_right(billing)


async def test_what_cannot_be_paid_is_refused(billing: Kello) -> None:
    customer, other, stranger = await known_customer(billing), await known_customer(billing), uuid4()
    invoice = await invoice_of(billing, customer)
    await billing.publish(purchase(stranger, purchase_id=(waiting := uuid4())))
    await billing.settled()
    [draft] = await billing.rows("billing", "SELECT id FROM invoice WHERE cause_id = $1", waiting)
    theirs, drafted = invoice.invoice_id, draft["id"]
    codes = [
        await refusal_of(billing, command)
        for command in (
            transfer(customer, 1, invoice_id=uuid4()),
            transfer(other, 1, invoice_id=theirs),
            transfer(customer, 1, currency="CHF", invoice_id=theirs),
            transfer(uuid4(), 1),
            transfer(stranger, 1, invoice_id=drafted),
            collect(customer, uuid4(), "tok_ok"),
            collect(stranger, drafted, "tok_ok"),
        )
    ]
    await billing.settled()
    assert codes == [
        "unknown_invoice",
        "unknown_invoice",
        "currency_mismatch",
        "unknown_customer",
        "invoice_not_issued",
        "unknown_invoice",
        "invoice_not_issued",
    ]
    assert (
        await billing.rows("billing", "SELECT * FROM payment WHERE customer_id = ANY ($1)", [customer, stranger]) == []
    )
    await assert_the_books_are_right(billing)


async def test_a_purchase_with_a_token_is_collected_at_once(billing: Kello) -> None:
    customer = await known_customer(billing)
    await billing.publish(purchase(customer, payment_token="tok_ok"), twice=True)
    received = await billing.expect(PaymentReceived, customer_id=customer)
    issued = await billing.expect(InvoiceIssued, customer_id=customer)
    await billing.expect(InvoicePaid, invoice_id=issued.invoice_id)
    await billing.settled()
    assert await balance_of(billing, customer) == (0, 0)
    [capture] = await captures_of(billing, customer)
    assert (capture.amount, capture.currency, capture.reference) == (PRICE, "EUR", issued.number)
    assert (received.method, received.amount, received.credit) == ("gateway", PRICE, 0)
    assert str(received.payment_id) in capture.key
    await assert_the_books_are_right(billing)


async def test_a_draft_with_a_token_is_collected_when_it_is_issued(billing: Kello) -> None:
    customer = uuid4()
    await billing.publish(purchase(customer, payment_token="tok_ok"))
    await billing.settled()
    assert await captures_of(billing, customer) == []
    await billing.publish(profile(customer))
    await billing.expect(InvoicePaid, customer_id=customer)
    await billing.settled()
    assert len(await captures_of(billing, customer)) == 1
    [row] = await billing.rows("billing", "SELECT payment_token FROM invoice WHERE customer_id = $1", customer)
    assert row["payment_token"] is None, "nothing is kept of a means of payment"
    await assert_the_books_are_right(billing)


async def test_nobody_is_charged_for_history(billing: Kello) -> None:
    customer = await known_customer(billing)
    long_ago = datetime.now(UTC) - timedelta(days=120)
    await billing.publish(purchase(customer, payment_token="tok_ok"), time=long_ago)
    await billing.expect(InvoiceIssued, customer_id=customer)
    await billing.settled()
    assert await billing.rows("billing", "SELECT * FROM payment WHERE customer_id = $1", customer) == []


async def test_a_declined_payment_fails_and_may_be_tried_again_with_another_token(billing: Kello) -> None:
    customer = await known_customer(billing)
    await billing.publish(purchase(customer, payment_token="tok_insufficient_funds"))
    failed = await billing.expect(PaymentFailed, customer_id=customer)
    again = collect(customer, failed.invoice_id, "tok_ok")
    [command] = await billing.publish(again)
    await billing.expect(CommandAccepted, command_id=command)
    await billing.expect(PaymentReceived, payment_id=again.payment_id)
    await billing.settled()
    [same] = await billing.publish(again)
    await billing.expect(CommandAccepted, command_id=same)
    assert await refusal_of(billing, collect(customer, failed.invoice_id, "tok_ok")) == "invoice_paid"
    assert await refusal_of(billing, again.model_copy(update={"invoice_id": uuid4()})) == "payment_exists"
    await billing.settled()
    assert (failed.code, failed.amount) == ("insufficient_funds", PRICE)
    assert len(await captures_of(billing, customer)) == 1
    await assert_the_books_are_right(billing)


async def test_a_lost_reply_is_asked_about_and_captured_once(billing: Kello) -> None:
    customer = await known_customer(billing)
    await billing.publish(purchase(customer, payment_token="tok_lost_reply"))
    unknown = await billing.expect(PaymentUnknown, customer_id=customer)
    received = await billing.expect(PaymentReceived, payment_id=unknown.payment_id)
    await billing.settled()
    assert (unknown.version, received.version) == (1, 2)
    assert len(await captures_of(billing, customer)) == 1
    await assert_the_books_are_right(billing)


async def test_a_lost_request_is_sent_again_under_the_same_key(billing: Kello) -> None:
    customer = await known_customer(billing)
    await billing.publish(purchase(customer, payment_token="tok_lost_request"))
    await billing.expect(PaymentReceived, customer_id=customer)
    await billing.settled()
    [capture] = await captures_of(billing, customer)
    assert capture.requests == 2
    assert len(await billing.events(PaymentUnknown, customer_id=customer)) == 1
    await assert_the_books_are_right(billing)


async def test_an_unknown_outcome_is_told_once_and_resolved_by_asking(billing: Kello) -> None:
    paying, declined = await known_customer(billing), await known_customer(billing)
    await billing.publish(purchase(paying, payment_token="tok_unknown"))
    await billing.publish(purchase(declined, payment_token="tok_pending_declined"))
    await billing.expect(PaymentReceived, customer_id=paying)
    failed = await billing.expect(PaymentFailed, customer_id=declined)
    await billing.settled()
    assert failed.code == "card_declined"
    for customer, captures in ((paying, 1), (declined, 0)):
        assert len(await billing.events(PaymentUnknown, customer_id=customer)) == 1
        assert len(await captures_of(billing, customer)) == captures
    await assert_the_books_are_right(billing)


async def test_a_gateway_that_stays_down_fails_the_payment_and_takes_nothing(kello: Kello) -> None:
    customer = uuid4()
    kello.sandboxes.gateway.outage(True)
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        await kello.publish(purchase(customer, payment_token="tok_ok"))
        await kello.expect(InvoiceIssued)

        async def failed_after_every_try() -> list[PaymentFailed]:
            await kello.clock.move("billing", minutes=2)
            return await kello.events(PaymentFailed)

        [failed] = await kello.until(failed_after_every_try, "the payment fails")
        kello.sandboxes.gateway.outage(False)
        await kello.settled()
        assert await balance_of(kello, customer) == (PRICE, 0)
    assert failed.code == "gateway_unreachable"
    assert kello.sandboxes.gateway.captures() == []
    await assert_the_books_are_right(kello)


async def test_one_collection_at_a_time_and_what_was_paid_meanwhile_becomes_credit(billing: Kello) -> None:
    customer = await known_customer(billing)
    billing.sandboxes.gateway.script(Behaviour(pending_polls=3), token="tok_later")
    await billing.publish(purchase(customer, payment_token="tok_later"))
    invoice = await billing.expect(InvoiceIssued, customer_id=customer)
    await billing.expect(PaymentUnknown, customer_id=customer)
    billing.sandboxes.gateway.outage(True)  # so that it stays under way
    try:
        assert await refusal_of(billing, collect(customer, invoice.invoice_id, "tok_ok")) == "payment_in_flight"
        await billing.publish(transfer(customer, 1000, invoice_id=invoice.invoice_id))
        await billing.expect(PaymentReceived, method="transfer", customer_id=customer)
    finally:
        billing.sandboxes.gateway.outage(False)
    received = await billing.expect(PaymentReceived, method="gateway", customer_id=customer)
    await billing.settled()
    assert await balance_of(billing, customer) == (0, 1000)
    assert ([each.amount for each in received.allocations], received.credit) == ([200], 1000)
    await assert_the_books_are_right(billing)
