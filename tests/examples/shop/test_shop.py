"""The shop with the real Kello: every test has one of its own, with a mail server and a payment gateway to direct."""

from shop import Order, Shopper

from shared.harness import Behaviour, Kello
from shared.schemas.billing import InvoiceIssued, InvoicePaid, PaymentFailed
from shared.schemas.customer import CustomerRegistered, TicketClosed, TicketResolved

PRICE_WITH_TAX = 180_00


async def test_our_shop_gets_its_invoice(kello: Kello) -> None:
    order = Order(Shopper("ada@example.com"))
    await kello.publish(order.shopper.registration(), order.purchase())
    invoice = await kello.expect(InvoiceIssued, customer_id=order.shopper.id)
    order.learn(invoice)
    assert (order.state, invoice.total, invoice.cause.id) == ("billed", PRICE_WITH_TAX, str(order.id))

    mail = await kello.expect_mail("ada@example.com", subject=order.invoice)
    body = mail.get_body(("plain",))
    assert body is not None
    assert order.invoice in body.get_content()


async def test_a_card_that_is_charged_pays_for_the_order(kello: Kello) -> None:
    order = Order(Shopper("ada@example.com"), card="tok_ada")
    await kello.publish(order.shopper.registration(), order.purchase(), twice=True)
    order.learn(await kello.expect(InvoicePaid, customer_id=order.shopper.id))
    await kello.settled()
    assert order.state == "paid"
    assert [capture.amount for capture in kello.gateway.captures()] == [PRICE_WITH_TAX]


async def test_a_card_that_is_refused_leaves_the_order_unpaid(kello: Kello) -> None:
    kello.gateway.script(Behaviour(decline_code="card_stolen"), token="tok_bob")
    order = Order(Shopper("bob@example.com"), card="tok_bob")
    await kello.publish(order.shopper.registration(), order.purchase())
    order.learn(await kello.expect(PaymentFailed, customer_id=order.shopper.id))
    assert order.state == "card-refused"
    assert kello.gateway.captures() == []


async def test_a_complaint_is_closed_a_week_after_the_repair(kello: Kello) -> None:
    order = Order(Shopper("ada@example.com"))
    await kello.publish(order.shopper.registration())
    await kello.expect(CustomerRegistered, customer_id=order.shopper.id)
    await kello.publish(order.complaint(), order.repaired())
    await kello.expect(TicketResolved, ticket_id=order.id)
    await kello.clock.move(days=6)
    await kello.settled()
    assert await kello.events(TicketClosed) == []
    await kello.clock.move(days=2)
    await kello.expect(TicketClosed, ticket_id=order.id)


async def test_nothing_of_another_test_is_here(kello: Kello) -> None:
    assert await kello.events(InvoiceIssued) == []
    assert kello.mailbox.mails() == []
    order = Order(Shopper("ada@example.com"))
    await kello.publish(order.shopper.registration(), order.purchase())
    invoice = await kello.expect(InvoiceIssued)
    assert invoice.number.endswith("1"), "the first number of this Kello"
