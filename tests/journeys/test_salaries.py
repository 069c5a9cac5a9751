"""From a payroll run to the employee's mail and to what care sees of it, through all four services."""

from hashlib import sha256
from uuid import UUID, uuid4

from deploy.local.sandboxes import Capture
from shared.harness.kello import Kello
from shared.schemas.customer import TicketClosed, TicketOpened
from shared.schemas.hr import EmployeeChanged
from shared.schemas.notify import NotificationSent
from shared.schemas.payroll import (
    ApprovePayrollRun,
    CommandRejected,
    PayrollReportGenerated,
    PayrollRunCalculated,
    PayrollRunCompleted,
    RetryPayslip,
    SalaryPaid,
    SalaryPaymentFailed,
    StartPayrollRun,
)
from tests.journeys.people import hired, somewhere

NET = 170_00


async def test_a_salary_is_paid_told_reported_and_seen_by_care(whole: Kello) -> None:
    employee, mailbox = uuid4(), somewhere()
    await whole.publish(hired(employee, mailbox, "care", "tok_unknown"))
    run = await calculated(whole, "care", employee)
    await whole.publish(ApprovePayrollRun(run_id=run, issued_by="officer"))
    await whole.expect(CommandRejected, key=str(run))
    await whole.publish(ApprovePayrollRun(run_id=run, issued_by="lead"), twice=True)
    paid = await whole.expect(SalaryPaid, employee_id=employee)
    sent = await whole.expect(NotificationSent, recipient_id=employee, template="salary-paid")
    report = await whole.expect(PayrollReportGenerated, run_id=run)
    await whole.settled()

    assert paid.net == NET
    assert [each.amount for each in captures(whole, paid.payslip_id)] == [NET]
    (mail,) = whole.sandboxes.mailbox.mails(to=mailbox)
    assert mail.message_id == sent.message_id
    status, content = await whole.get("payroll", f"/runs/{run}/report")
    assert (status, sha256(content).hexdigest()) == (200, report.sha256)
    _, seen = await whole.get("customer", f"/employees/{employee}/salary-payments")
    assert [(each["status"], each["net"]) for each in seen["salary_payments"]] == [("paid", NET)]
    assert seen["tickets"] == []


async def test_a_salary_that_was_refused_opens_a_ticket_until_it_is_paid(whole: Kello) -> None:
    employee, mailbox = uuid4(), somewhere()
    await whole.publish(hired(employee, mailbox, "sales", "tok_declined"))
    run = await calculated(whole, "sales", employee)
    await whole.publish(ApprovePayrollRun(run_id=run, issued_by="lead"))
    failed = await whole.expect(SalaryPaymentFailed, employee_id=employee)
    ticket = await whole.expect(TicketOpened, requester_id=employee)
    await whole.expect(NotificationSent, recipient_id=employee, template="salary-payment-failed")
    assert ticket.requester_kind == "employee"

    await whole.publish(EmployeeChanged(employee_id=employee, version=2, payment_token="tok_ok"))
    await whole.settled()
    again = RetryPayslip(payslip_id=failed.payslip_id, employee_id=employee, run_id=run, issued_by="officer")
    await whole.publish(again, twice=True)
    await whole.expect(TicketClosed, ticket_id=ticket.ticket_id)
    await whole.expect(PayrollRunCompleted, run_id=run, paid=1)
    await whole.expect(NotificationSent, recipient_id=employee, template="salary-paid")
    await whole.settled()

    assert [each.amount for each in captures(whole, failed.payslip_id)] == [NET]
    _, seen = await whole.get("customer", f"/employees/{employee}/salary-payments")
    assert [(each["status"], each["ticket_status"]) for each in seen["salary_payments"]] == [("paid", "closed")]


async def calculated(kello: Kello, department: str, employee: UUID) -> UUID:
    """A run of the employee's department, once payroll knows the employee."""

    async def is_known() -> bool:
        return bool(await kello.rows("payroll", "SELECT FROM employee WHERE id = $1 AND currency = 'EUR'", employee))

    await kello.until(is_known, "payroll knows the employee")
    run = uuid4()
    await kello.publish(
        StartPayrollRun(run_id=run, issued_by="officer", period="2026-01", currency="EUR", group=department)
    )
    await kello.expect(PayrollRunCalculated, run_id=run)
    return run


def captures(kello: Kello, payslip_id: UUID) -> list[Capture]:
    return [each for each in kello.sandboxes.gateway.captures() if each.reference == str(payslip_id)]
