"""`kello trace`: one story through all services, whatever id it is asked by."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from shared.harness.kello import Kello
from shared.schemas.billing import InvoiceIssued, PaymentReceived
from shared.schemas.customer import CustomerRegistered, OpenTicket, ResolveTicket, TicketResolved
from shared.schemas.notify import NotificationSent
from shared.schemas.payroll import ApprovePayrollRun
from tests.journeys.people import bought, hired, registered, somewhere
from tests.journeys.test_salaries import calculated
from tests.operations.conftest import Command

SERVICES = ("customer", "billing", "notify")


async def test_a_story_is_told_by_what_led_to_what_whatever_it_is_asked_by(kello: Kello, command: Command) -> None:
    customer = uuid4()
    async with kello.running(*SERVICES):
        await kello.publish(registered(customer, somewhere()))
        await kello.expect(CustomerRegistered, customer_id=customer)
        await kello.settled()  # everybody knows the customer
        purchase = bought(customer, payment_token="tok_unknown")
        (purchase_id,) = await kello.publish(purchase, twice=True)
        invoice = await kello.expect(InvoiceIssued, customer_id=customer)
        await kello.expect(PaymentReceived, customer_id=customer)
        await kello.expect(NotificationSent, recipient_id=customer, template="payment-received")
        await kello.publish_raw("sales.events", str(customer).encode(), b"no JSON", headers_of_another(purchase_id))
        await kello.dead_letters("billing", 1)
        ticket = uuid4()
        about = {"ticket_id": ticket, "requester_id": customer, "issued_by": "care.desk"}
        await kello.publish(OpenTicket(**about, subject_line="Wet", text="It came wet.", category="delivery"))
        await kello.publish(ResolveTicket(**about, resolution="A new one."))
        await kello.expect(TicketResolved, ticket_id=ticket)
        await kello.settled()

    by_purchase = (await command("trace", purchase_id, "--json")).document
    (root,) = [each for each in by_purchase["story"] if each["kind"] == "record"]
    assert (root["what"], root["times"]) == ("kello.sales.purchase-recorded.v1", 2)
    issued = child(root, "kello.billing.invoice-issued.v1")
    child(child(issued, "task send-email"), "kello.notify.notification-sent.v1")
    unsure, asked = [each for each in root["led_to"] if each["what"] == "task capture-payment"]
    assert [each["what"] for each in unsure["led_to"]] == ["kello.billing.payment-unknown.v1"]
    assert "asked" in asked["more"]
    received = child(asked, "kello.billing.payment-received.v1")
    assert child(received, "kello.customer.loyalty-points-earned.v1")["source"] == "kello/customer"
    assert {each["correlation"] for each in all_of(root) if each["kind"] == "record"} == {purchase_id}

    by_invoice = (await command("trace", str(invoice.invoice_id), "--json")).document
    assert ids_of(by_invoice) == ids_of(by_purchase)

    by_customer = (await command("trace", str(customer), "--json")).document
    assert ids_of(by_customer) > ids_of(by_purchase)
    letters = [each for each in all_lines(by_customer) if each["kind"] == "letter"]
    assert {each["what"] for each in letters} == {"put aside by billing", "put aside by customer"}
    (timer,) = [each for each in all_lines(by_customer) if each["kind"] == "task"]
    assert (timer["what"], timer["cause"] in ids_of(by_customer)) == ("task close-resolved-ticket", True)
    said = await command("trace", str(customer))
    assert "task capture-payment" in said.out
    assert "put aside by billing" in said.out
    cut = (await command("trace", str(customer), "--limit", "3", "--json")).document
    assert cut["more"]


async def test_an_employees_story_names_the_run_that_it_is_part_of(kello: Kello, command: Command) -> None:
    employee, mailbox = uuid4(), somewhere()
    async with kello.running("payroll", "notify"):
        await kello.publish(hired(employee, mailbox, "care", "tok_ok"))
        run = await calculated(kello, "care", employee)
        await kello.publish(ApprovePayrollRun(run_id=run, issued_by="lead"))
        await kello.expect(NotificationSent, recipient_id=employee, template="salary-paid")
    story = (await command("trace", str(employee), "--json")).document
    (started,) = [each for each in story["story"] if each["what"] == "kello.payroll.start-payroll-run.v1"]
    assert started["key"] == str(run)
    child(child(started, "task calculate-payslips"), "kello.payroll.payslip-calculated.v1")
    (approved,) = [each for each in story["story"] if each["what"] == "kello.payroll.approve-payroll-run.v1"]
    paid = child(child(approved, "task pay-salary"), "kello.payroll.salary-paid.v1")
    child(child(paid, "task send-email"), "kello.notify.notification-sent.v1")


async def test_what_waits_in_an_outbox_is_part_of_the_story(kello: Kello, command: Command) -> None:
    customer = uuid4()
    await kello.publish(registered(customer, somewhere()))
    async with kello.running("customer"):
        await kello.expect(CustomerRegistered, customer_id=customer)
        await kello.settled()
    await kello.rows(
        "customer",
        "INSERT INTO messaging.outbox (topic, key, records) VALUES ('customer.events', $1, '\\x9192c090')",
        str(customer).encode(),
    )
    said = await command("trace", str(customer), "--hours", "1", "--json")
    assert [each["where"] for each in said.document["story"] if each["kind"] == "waiting"] == [
        "customer's outbox, for customer.events"
    ]


async def test_nothing_is_known_of_an_id_that_nobody_used(command: Command) -> None:
    said = await command("trace", str(uuid4()), code=1)
    assert "nothing is known" in said.out


def headers_of_another(correlation: str) -> list[tuple[str, bytes | None]]:
    """Of a purchase that cannot be read, and belongs to the story of the first."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"unreadable"),
        ("ce_source", b"tests"),
        ("ce_type", b"kello.sales.purchase-recorded.v1"),
        ("ce_time", b"2026-01-31T12:00:00Z"),
        ("ce_causationid", correlation.encode()),
    ]


def child(line: dict[str, Any], what: str) -> dict[str, Any]:
    (found,) = [each for each in line["led_to"] if each["what"] == what]
    return dict(found)


def all_of(line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield line
    for each in line["led_to"]:
        yield from all_of(each)


def all_lines(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for root in document["story"]:
        yield from all_of(root)


def ids_of(document: dict[str, Any]) -> set[str]:
    return {each["id"] for each in all_lines(document)}
