"""Payments, through billing's topics and the gateway: in part, too much, twice, declined, lost, unknown."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from deploy.local.sandboxes import Behaviour
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
from tests.billing.orders import collect, line, profile, purchase, transfer

PRICE = 1200
"""Of a purchase: 10.00 and tax."""


async def invoice_of(kello: Kello, customer: UUID, unit_price: int = 1000) -> InvoiceIssued:
    """An issued invoice of a purchase by a customer who is known by then."""
    bought = purchase(customer, line(unit_price))
    await kello.publish(profile(customer))
    await kello.settled()
    await kello.publish(bought)
    return await kello.expect(InvoiceIssued, customer_id=customer, net=unit_price)


async def refusal_of(kello: Kello, command: Command) -> str:
    [command_id] = await kello.publish(command)
    return (await kello.expect(CommandRejected, command_id=command_id)).code


async def balance_of(kello: Kello, customer: UUID) -> tuple[int, int]:
    """Outstanding and credit, as last told."""
    told = max(await kello.events(AccountBalanceChanged, customer_id=customer), key=lambda each: each.version)
    return told.outstanding, told.credit


async def test_a_transfer_pays_in_part_then_too_much_and_credit_pays_the_next_invoice(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("billing"):
        invoice = await invoice_of(kello, customer)
        first = transfer(customer, 500, invoice_id=invoice.invoice_id)
        await kello.publish(first)
        in_part = await kello.expect(PaymentReceived, payment_id=first.payment_id)
        await kello.settled()
        assert await balance_of(kello, customer) == (700, 0)
        assert await kello.events(InvoicePaid) == []
        second = transfer(customer, 1000, invoice_id=invoice.invoice_id, reference="invoice 1, the rest")
        await kello.publish(second)
        too_much = await kello.expect(PaymentReceived, payment_id=second.payment_id)
        paid = await kello.expect(InvoicePaid)
        await kello.settled()
        assert await balance_of(kello, customer) == (0, 300)
        await kello.publish(purchase(customer, line(200)))
        by_credit = await kello.expect(InvoiceIssued, net=200)
        await kello.expect(InvoicePaid, invoice_id=by_credit.invoice_id)
        await kello.publish(purchase(customer, line(300)))
        await kello.expect(InvoiceIssued, net=300)
        await kello.settled()
        assert await balance_of(kello, customer) == (300, 0)
    assert [(each.invoice_id, each.amount) for each in in_part.allocations] == [(invoice.invoice_id, 500)]
    assert ([each.amount for each in too_much.allocations], too_much.credit) == ([700], 300)
    assert (paid.invoice_id, paid.paid_on, paid.version) == (invoice.invoice_id, second.received_on, 2)
    await assert_the_books_are_right(kello)


async def test_a_transfer_without_an_invoice_pays_the_oldest_first(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        for month, price in ((3, 300), (1, 100), (2, 200)):
            await kello.publish(purchase(customer, line(price)), time=datetime(2026, month, 1, tzinfo=UTC))
        await kello.expect(InvoiceIssued, count=3)
        await kello.publish(transfer(customer, 120 + 240 + 10))
        received = await kello.expect(PaymentReceived)
        await kello.settled()
    by_id = {each.invoice_id: each.net for each in await kello.events(InvoiceIssued)}
    assert [(by_id[each.invoice_id], each.amount) for each in received.allocations] == [
        (100, 120),
        (200, 240),
        (300, 10),
    ]
    assert [by_id[each.invoice_id] for each in await kello.events(InvoicePaid)] == [100, 200]
    await assert_the_books_are_right(kello)


async def test_a_transfer_before_any_invoice_opens_the_account_with_credit(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        await kello.publish(transfer(customer, 5000, currency="CHF"))
        await kello.expect(PaymentReceived, credit=5000)
        opened = await kello.expect(AccountOpened, currency="CHF")
        await kello.settled()
        assert await balance_of(kello, customer) == (0, 5000)
    assert opened.version == 1
    await assert_the_books_are_right(kello)


async def test_a_repeated_payment_is_no_error_and_has_no_second_effect(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("billing"):
        await invoice_of(kello, customer)
        once = transfer(customer, 500)
        await kello.publish(once, twice=True)
        await kello.expect(PaymentReceived)
        [again] = await kello.publish(once)
        await kello.expect(CommandAccepted, command_id=again)
        assert await refusal_of(kello, once.model_copy(update={"amount": 501})) == "payment_exists"
        await kello.settled()
        assert await balance_of(kello, customer) == (PRICE - 500, 0)
    assert len(await kello.events(PaymentReceived)) == 1
    await assert_the_books_are_right(kello)


async def test_what_cannot_be_paid_is_refused(kello: Kello) -> None:
    customer, other, stranger = uuid4(), uuid4(), uuid4()
    async with kello.running("billing"):
        invoice = await invoice_of(kello, customer)
        await kello.publish(profile(other), purchase(stranger, purchase_id=(waiting := uuid4())))
        await kello.settled()
        [draft] = await kello.rows("billing", "SELECT id FROM invoice WHERE cause_id = $1", waiting)
        theirs, drafted = invoice.invoice_id, draft["id"]
        codes = [
            await refusal_of(kello, command)
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
        await kello.settled()
    assert codes == [
        "unknown_invoice",
        "unknown_invoice",
        "currency_mismatch",
        "unknown_customer",
        "invoice_not_issued",
        "unknown_invoice",
        "invoice_not_issued",
    ]
    assert await kello.rows("billing", "SELECT * FROM payment") == []
    assert kello.sandboxes.gateway.captures() == []
    await assert_the_books_are_right(kello)


async def test_a_purchase_with_a_token_is_collected_at_once(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        await kello.publish(purchase(customer, payment_token="tok_ok"), twice=True)
        received = await kello.expect(PaymentReceived)
        issued = await kello.expect(InvoiceIssued)
        await kello.expect(InvoicePaid, invoice_id=issued.invoice_id)
        await kello.settled()
        assert await balance_of(kello, customer) == (0, 0)
    [capture] = kello.sandboxes.gateway.captures()
    assert (capture.amount, capture.currency, capture.reference) == (PRICE, "EUR", issued.number)
    assert (received.method, received.amount, received.credit) == ("gateway", PRICE, 0)
    assert str(received.payment_id) in capture.key
    await assert_the_books_are_right(kello)


async def test_a_draft_with_a_token_is_collected_when_it_is_issued(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("billing"):
        await kello.publish(purchase(customer, payment_token="tok_ok"))
        await kello.settled()
        assert kello.sandboxes.gateway.captures() == []
        await kello.publish(profile(customer))
        await kello.expect(InvoicePaid)
        await kello.settled()
    assert len(kello.sandboxes.gateway.captures()) == 1
    [row] = await kello.rows("billing", "SELECT payment_token FROM invoice")
    assert row["payment_token"] is None, "nothing is kept of a means of payment"
    await assert_the_books_are_right(kello)


async def test_nobody_is_charged_for_history(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        long_ago = datetime.now(UTC) - timedelta(days=120)
        await kello.publish(purchase(customer, payment_token="tok_ok"), time=long_ago)
        await kello.expect(InvoiceIssued)
        await kello.settled()
    assert kello.sandboxes.gateway.captures() == []
    assert await kello.rows("billing", "SELECT * FROM payment") == []


async def test_a_declined_payment_fails_and_may_be_tried_again_with_another_token(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        await kello.publish(purchase(customer, payment_token="tok_insufficient_funds"))
        failed = await kello.expect(PaymentFailed)
        again = collect(customer, failed.invoice_id, "tok_ok")
        [command] = await kello.publish(again)
        await kello.expect(CommandAccepted, command_id=command)
        await kello.expect(PaymentReceived, payment_id=again.payment_id)
        await kello.settled()
        [same] = await kello.publish(again)
        await kello.expect(CommandAccepted, command_id=same)
        assert await refusal_of(kello, collect(customer, failed.invoice_id, "tok_ok")) == "invoice_paid"
        assert await refusal_of(kello, again.model_copy(update={"invoice_id": uuid4()})) == "payment_exists"
        await kello.settled()
    assert (failed.code, failed.amount) == ("insufficient_funds", PRICE)
    assert len(kello.sandboxes.gateway.captures()) == 1
    await assert_the_books_are_right(kello)


async def test_a_lost_reply_is_asked_about_and_captured_once(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        await kello.publish(purchase(customer, payment_token="tok_lost_reply"))
        unknown = await kello.expect(PaymentUnknown)
        received = await kello.expect(PaymentReceived, payment_id=unknown.payment_id)
        await kello.settled()
    assert (unknown.version, received.version) == (1, 2)
    assert len(kello.sandboxes.gateway.captures()) == 1
    await assert_the_books_are_right(kello)


async def test_a_lost_request_is_sent_again_under_the_same_key(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        await kello.publish(purchase(customer, payment_token="tok_lost_request"))
        await kello.expect(PaymentReceived)
        await kello.settled()
    [capture] = kello.sandboxes.gateway.captures()
    assert capture.requests == 2
    assert len(await kello.events(PaymentUnknown)) == 1
    await assert_the_books_are_right(kello)


async def test_an_unknown_outcome_is_told_once_and_resolved_by_asking(kello: Kello) -> None:
    paying, declined = uuid4(), uuid4()
    async with kello.running("billing"):
        await kello.publish(profile(paying), profile(declined))
        await kello.settled()
        await kello.publish(purchase(paying, payment_token="tok_unknown"))
        await kello.publish(purchase(declined, payment_token="tok_pending_declined"))
        await kello.expect(PaymentReceived, customer_id=paying)
        failed = await kello.expect(PaymentFailed, customer_id=declined)
        await kello.settled()
    assert failed.code == "card_declined"
    told = await kello.events(PaymentUnknown)
    assert {each.customer_id for each in told} == {paying, declined}
    assert len(told) == 2
    assert len(kello.sandboxes.gateway.captures()) == 1
    assert await kello.rows("billing", "SELECT * FROM payment WHERE state IN ('pending', 'unknown')") == []
    await assert_the_books_are_right(kello)


async def test_a_gateway_that_stays_down_fails_the_payment_and_takes_nothing(kello: Kello) -> None:
    customer = uuid4()
    kello.sandboxes.gateway.outage(True)
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        await kello.publish(purchase(customer, payment_token="tok_ok"))
        await kello.expect(InvoiceIssued)

        async def failed_after_every_try() -> list[PaymentFailed]:
            await kello.move_clock("billing", minutes=2)
            return await kello.events(PaymentFailed)

        [failed] = await kello.until(failed_after_every_try, "the payment fails")
        kello.sandboxes.gateway.outage(False)
        await kello.settled()
        assert await balance_of(kello, customer) == (PRICE, 0)
    assert failed.code == "gateway_unreachable"
    assert kello.sandboxes.gateway.captures() == []
    await assert_the_books_are_right(kello)


async def test_one_collection_at_a_time_and_what_was_paid_meanwhile_becomes_credit(kello: Kello) -> None:
    customer = uuid4()
    kello.sandboxes.gateway.script(Behaviour(pending_polls=3), token="tok_later")
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        await kello.publish(purchase(customer, payment_token="tok_later"))
        invoice = await kello.expect(InvoiceIssued)
        await kello.expect(PaymentUnknown)
        assert await refusal_of(kello, collect(customer, invoice.invoice_id, "tok_ok")) == "payment_in_flight"
        await kello.publish(transfer(customer, 1000, invoice_id=invoice.invoice_id))
        await kello.expect(PaymentReceived, method="transfer")
        received = await kello.expect(PaymentReceived, method="gateway")
        await kello.settled()
        assert await balance_of(kello, customer) == (0, 1000)
    assert ([each.amount for each in received.allocations], received.credit) == ([200], 1000)
    await assert_the_books_are_right(kello)
