"""Care's view of salaries: their state, and the ticket that a failed payment opens by itself."""

from uuid import uuid4

from shared.harness.kello import Kello
from shared.schemas.customer import (
    CommandRejected,
    RegisterCustomer,
    TicketClosed,
    TicketEvent,
    TicketOpened,
    TicketReopened,
    TicketResolved,
)
from tests.customer import words


async def test_a_failed_salary_opens_one_ticket_and_its_payment_closes_it(kello: Kello) -> None:
    employee, payslip = uuid4(), uuid4()
    async with kello.running("customer"):
        await kello.publish(words.payslip(employee, payslip))
        await kello.publish(words.salary_failed(employee, payslip, 2), twice=True)
        opened = await kello.expect(TicketOpened, requester_id=employee)
        await kello.publish(words.salary_failed(employee, payslip, 2), words.salary_failed(employee, payslip, 3))
        await kello.settled()
        _, view = await kello.get("customer", f"/employees/{employee}/salary-payments")
        assert len(await kello.events(TicketOpened)) == 1
        await kello.publish(words.salary_paid(employee, payslip, 4))
        await kello.expect(TicketClosed, requester_id=employee, version=3)
        told = await kello.events(TicketEvent, requester_id=employee)
        _, after = await kello.get("customer", f"/employees/{employee}/salary-payments")
    assert (opened.requester_kind, opened.category, opened.priority) == ("employee", "salary", "high")
    (failed,), (paid,) = view["salary_payments"], after["salary_payments"]
    assert (failed["status"], failed["code"], failed["net"], failed["ticket_status"]) == (
        "failed",
        "declined",
        200_000,
        "open",
    )
    assert failed["ticket_id"] == str(opened.ticket_id)
    assert (paid["status"], paid["code"], paid["payment_reference"], paid["ticket_status"]) == (
        "paid",
        None,
        "P-1",
        "closed",
    )
    assert [type(event) for event in told] == [TicketOpened, TicketResolved, TicketClosed]


async def test_the_state_follows_payroll_and_old_news_change_nothing(kello: Kello) -> None:
    employee, payslip = uuid4(), uuid4()
    async with kello.running("customer"):
        assert (await kello.get("customer", f"/employees/{employee}/salary-payments"))[0] == 404
        await kello.publish(words.payslip(employee, payslip), words.salary_unknown(employee, payslip, 2))
        await kello.settled()
        _, view = await kello.get("customer", f"/employees/{employee}/salary-payments")
        assert view["salary_payments"][0]["status"] == "unknown"
        await kello.publish(words.salary_paid(employee, payslip, 4), words.salary_failed(employee, payslip, 3))
        await kello.settled()
        _, view = await kello.get("customer", f"/employees/{employee}/salary-payments")
        assert not await kello.events(TicketEvent)
        await kello.publish(words.salary_failed(employee, payslip, 6), words.salary_paid(employee, payslip, 5))
        await kello.expect(TicketOpened, requester_id=employee)
        await kello.settled()
        assert not await kello.events(TicketClosed)
    assert view["salary_payments"][0]["status"] == "paid"
    assert [each["source"] for each in view["as_of"]] == ["notify.events", "payroll.events"]


async def test_a_salary_that_fails_again_after_its_ticket_was_resolved_reopens_it(kello: Kello) -> None:
    employee, payslip = uuid4(), uuid4()
    async with kello.running("customer"):
        await kello.publish(words.salary_failed(employee, payslip, 2))
        ticket = (await kello.expect(TicketOpened, requester_id=employee)).ticket_id
        await kello.publish(words.resolving(employee, ticket))
        await kello.expect(TicketResolved, ticket_id=ticket)
        await kello.publish(words.salary_failed(employee, payslip, 3))
        await kello.expect(TicketReopened, ticket_id=ticket, version=3)
        await kello.clock.move("customer", days=8)
        await kello.settled()
        assert not await kello.events(TicketClosed)


async def test_an_employee_whom_payroll_has_spoken_of_may_ask_for_help_and_is_no_customer(kello: Kello) -> None:
    employee, ticket = uuid4(), uuid4()
    async with kello.running("customer"):
        await kello.publish(words.payslip(employee, uuid4()))
        await kello.settled()
        await kello.publish(words.ticket(employee, ticket, category="salary"))
        assert (await kello.expect(TicketOpened, ticket_id=ticket)).requester_kind == "employee"
        (told,) = await kello.publish(words.registration(employee))
        refusal = await kello.expect(CommandRejected, command_id=told)
        assert (refusal.code, refusal.command_type) == ("id_of_an_employee", RegisterCustomer.ce_type)
        assert (await kello.get("customer", f"/customers/{employee}"))[0] == 404
