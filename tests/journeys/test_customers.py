"""From a purchase to the customer's view of it, through all four services."""

from uuid import uuid4

from shared.harness.kello import Kello
from shared.schemas.billing import InvoiceDrafted, InvoiceIssued, InvoicePaid, PaymentReceived, RecordPayment
from shared.schemas.customer import CustomerRegistered, LoyaltyPointsEarned, OpenTicket, ResolveTicket
from shared.schemas.notify import NotificationSent
from tests.journeys.people import CHAIRS_TOTAL, bought, registered, somewhere, today


async def test_a_purchase_becomes_an_invoice_a_mail_and_a_line_of_the_customers_view(whole: Kello) -> None:
    customer, mailbox = uuid4(), somewhere()
    await whole.publish(registered(customer, mailbox), twice=True)
    await whole.expect(CustomerRegistered, customer_id=customer)
    purchase = bought(customer)
    await whole.publish(purchase, twice=True)
    invoice = await whole.expect(InvoiceIssued, customer_id=customer)
    sent = await whole.expect(NotificationSent, recipient_id=customer, template="invoice-issued")
    await whole.settled()

    assert (invoice.total, invoice.cause.id) == (CHAIRS_TOTAL, str(purchase.purchase_id))
    (mail,) = whole.sandboxes.mailbox.mails(to=mailbox)
    assert mail.message_id == sent.message_id
    assert invoice.number in mail.subject
    _, view = await whole.get("customer", f"/customers/{customer}")
    assert sorted(entry["kind"] for entry in view["timeline"]) == ["invoice-issued", "purchase"]
    assert [(each["currency"], each["outstanding"]) for each in view["balances"]] == [("EUR", CHAIRS_TOTAL)]
    assert [(each["template"], each["status"]) for each in view["communication"]] == [("invoice-issued", "sent")]
    assert {each["source"] for each in view["as_of"] if each["time"]} >= {"sales.events", "billing.events"}


async def test_a_purchase_of_somebody_unknown_is_billed_once_the_customer_registers(whole: Kello) -> None:
    customer, mailbox = uuid4(), somewhere()
    await whole.publish(bought(customer), bought(customer))
    await whole.expect(InvoiceDrafted, customer_id=customer, count=2)
    assert await whole.events(InvoiceIssued, customer_id=customer) == []
    await whole.publish(registered(customer, mailbox))
    await whole.expect(InvoiceIssued, customer_id=customer, count=2)
    await whole.expect(NotificationSent, recipient_id=customer, count=2)
    await whole.settled()

    assert len(whole.sandboxes.mailbox.mails(to=mailbox)) == 2
    _, view = await whole.get("customer", f"/customers/{customer}")
    assert [each["outstanding"] for each in view["balances"]] == [2 * CHAIRS_TOTAL]


async def test_a_card_whose_answer_is_lost_is_charged_once_and_rewarded_once(whole: Kello) -> None:
    customer, mailbox = uuid4(), somewhere()
    await whole.publish(registered(customer, mailbox))
    await whole.publish(bought(customer, payment_token="tok_lost_reply"), twice=True)
    await whole.expect(InvoicePaid, customer_id=customer)
    points = await whole.expect(LoyaltyPointsEarned, customer_id=customer)
    await whole.expect(NotificationSent, recipient_id=customer, template="payment-received")
    await whole.settled()

    (payment,) = await whole.events(PaymentReceived, customer_id=customer)
    captures = [each for each in whole.sandboxes.gateway.captures() if str(payment.payment_id) in each.key]
    assert [each.amount for each in captures] == [CHAIRS_TOTAL]
    assert points.points == CHAIRS_TOTAL // 100
    _, view = await whole.get("customer", f"/customers/{customer}")
    assert [each["outstanding"] for each in view["balances"]] == [0]
    assert view["loyalty"]["points"] == points.points


async def test_a_transfer_that_is_too_large_pays_the_next_invoice_as_well(whole: Kello) -> None:
    customer = uuid4()
    await whole.publish(registered(customer, somewhere()), bought(customer))
    await whole.expect(InvoiceIssued, customer_id=customer)
    transfer = RecordPayment(
        customer_id=customer,
        issued_by="bank",
        payment_id=uuid4(),
        currency="EUR",
        amount=CHAIRS_TOTAL + 100_00,
        received_on=today(),
    )
    await whole.publish(transfer, twice=True)
    await whole.expect(PaymentReceived, payment_id=transfer.payment_id, credit=100_00)
    await whole.publish(bought(customer))
    await whole.expect(InvoiceIssued, customer_id=customer, count=2)
    await whole.settled()

    _, accounts = await whole.get("billing", f"/accounts/{customer}")
    _, view = await whole.get("customer", f"/customers/{customer}")
    owed = [(each["outstanding"], each["credit"]) for each in accounts["accounts"]]
    assert owed == [(CHAIRS_TOTAL - 100_00, 0)]
    assert [(each["outstanding"], each["credit"]) for each in view["balances"]] == owed


async def test_whoever_complains_is_told_what_becomes_of_it(whole: Kello) -> None:
    customer, ticket, mailbox = uuid4(), uuid4(), somewhere()
    await whole.publish(registered(customer, mailbox))
    about = {"ticket_id": ticket, "requester_id": customer, "issued_by": "care.desk"}
    await whole.publish(OpenTicket(**about, subject_line="Wet parcel", text="It came wet.", category="delivery"))
    await whole.publish(ResolveTicket(**about, resolution="Sent a new one."))
    await whole.expect(NotificationSent, recipient_id=customer, template="ticket-resolved")
    await whole.settled()

    assert len(whole.sandboxes.mailbox.mails(to=mailbox)) == 2
    _, view = await whole.get("customer", f"/customers/{customer}")
    assert [each["status"] for each in view["tickets"]] == ["resolved"]
