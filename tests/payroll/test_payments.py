"""Payments through the gateway: each payslip is paid once, whatever the network does, and nobody waits for another."""

from uuid import UUID, uuid4

from deploy.local.sandboxes.provider import Behaviour
from shared.harness.kello import Kello
from shared.schemas.hr import AdvanceGranted, EmployeeChanged
from shared.schemas.payroll import (
    ApprovePayrollRun,
    CommandAccepted,
    CommandRejected,
    PayrollRunCompleted,
    RetryPayslip,
    SalaryPaid,
    SalaryPaymentFailed,
    SalaryPaymentUnknown,
)
from tests.payroll.company import NET, SALARY, Company


async def test_a_declined_payment_fails_and_holds_up_nobody(company: Company) -> None:
    (poor, rich) = await company.hire("tok_declined", "tok_ok")
    completed = await company.completed()
    assert (completed.paid, completed.failed, completed.failed_amount) == (1, 1, NET)
    failed = await company.kello.expect(SalaryPaymentFailed, employee_id=poor)
    assert (failed.code, failed.net) == ("declined", NET)
    assert "card_declined" in failed.reason
    assert [each.employee_id for each in await company.events(SalaryPaid)] == [rich]
    status, body = await company.kello.get("payroll", f"/employees/{poor}/payslips")
    assert status == 200
    assert [each["state"] for each in body["payslips"]] == ["failed"]


async def test_an_unfinished_payment_holds_up_nobody_else(own_company: Company) -> None:
    kello = own_company.kello
    kello.sandboxes.gateway.script(Behaviour(pending_polls=10_000), token="tok_endless")
    (endless, quick) = await own_company.hire("tok_endless", "tok_ok")
    run = await own_company.calculated()
    await kello.publish(ApprovePayrollRun(run_id=run.run_id, issued_by="berta"))
    await kello.expect(SalaryPaid, employee_id=quick)
    await kello.expect(SalaryPaymentUnknown, employee_id=endless)
    assert not await own_company.events(PayrollRunCompleted)
    assert not await own_company.events(SalaryPaid, employee_id=endless)
    status, body = await kello.get("payroll", f"/runs/{run.run_id}")
    assert (status, body["state"], body["paid"]) == (200, "paying", 1)


async def test_a_lost_reply_pays_once(company: Company) -> None:
    (employee,) = await company.hire("tok_lost_reply")
    await company.completed()
    (capture,) = await company.captures()
    paid = await company.events(SalaryPaid)
    assert [(each.employee_id, each.payment_reference) for each in paid] == [(employee, capture.id)]
    assert len(await company.events(SalaryPaymentUnknown)) == 1


async def test_a_lost_request_is_sent_again_under_the_same_key(company: Company) -> None:
    await company.hire("tok_lost_request")
    completed = await company.completed()
    assert completed.paid == 1
    (capture,) = await company.captures()
    assert capture.key.endswith(f"{capture.reference}/1")


async def test_an_unknown_outcome_is_reconciled_before_anything_is_told(company: Company) -> None:
    (employee, unlucky) = await company.hire("tok_unknown", "tok_pending_declined")
    completed = await company.completed()
    assert (completed.paid, completed.failed) == (1, 1)
    payslip = await company.payslip(completed.run_id, employee)
    assert [each.reference for each in await company.captures()] == [payslip["payslip_id"]]
    for who, last in ((employee, SalaryPaid), (unlucky, SalaryPaymentFailed)):
        unknown = await company.events(SalaryPaymentUnknown, employee_id=who)
        settled = await company.events(last, employee_id=who)
        assert [each.version for each in (*unknown, *settled)] == [2, 3]


async def test_a_gateway_that_is_down_or_busy_is_asked_again(company: Company) -> None:
    await company.hire("tok_down", "tok_throttled", "tok_duplicate", "tok_slow")
    completed = await company.completed()
    assert completed.paid == 4
    assert len(await company.captures()) == 4


async def test_a_gateway_that_stays_away_fails_the_payment_and_a_retry_pays(kello: Kello) -> None:
    async with kello.running("payroll", payment_attempts_max=2):
        company = Company(kello)
        (employee,) = await company.hire("tok_ok")
        kello.sandboxes.gateway.outage(True)
        completed = await company.completed()
        assert completed.failed == 1
        assert (await kello.expect(SalaryPaymentFailed, employee_id=employee)).code == "unreachable"
        kello.sandboxes.gateway.outage(False)
        await _retried(company, completed.run_id, employee)
        assert (await kello.expect(SalaryPaid, employee_id=employee)).net == NET
        assert len(await company.captures()) == 1


async def test_a_failed_payment_is_retried_under_a_new_key_and_the_run_completes_again(company: Company) -> None:
    kello = company.kello
    (employee,) = await company.hire("tok_declined")
    first = await company.completed()
    await company.reported(first.run_id)
    await company.tell(EmployeeChanged(employee_id=employee, payment_token="tok_ok", version=2))
    command_id = await _retried(company, first.run_id, employee)
    await kello.expect(CommandAccepted, command_id=command_id)
    again = await kello.expect(PayrollRunCompleted, run_id=first.run_id, paid=1)
    assert (again.failed, again.paid_amount, again.version) == (0, NET, first.version + 1)
    (capture,) = await company.captures()
    assert capture.key.endswith(f"{capture.reference}/2")
    report = await company.reported(first.run_id, count=2)
    reports = await company.events(type(report))
    _, run = await kello.get("payroll", f"/runs/{first.run_id}")
    assert run["report"]["sha256"] in {each.sha256 for each in reports} - {reports[0].sha256}


async def test_only_what_certainly_failed_is_retried(own_company: Company) -> None:
    kello = own_company.kello
    kello.sandboxes.gateway.script(Behaviour(pending_polls=10_000), token="tok_endless")
    (paid, pending) = await own_company.hire("tok_ok", "tok_endless")
    run = await own_company.calculated()
    await kello.publish(ApprovePayrollRun(run_id=run.run_id, issued_by="berta"))
    await kello.expect(SalaryPaid, employee_id=paid)
    await kello.expect(SalaryPaymentUnknown, employee_id=pending)
    for employee in (paid, pending):
        command_id = await _retried(own_company, run.run_id, employee)
        assert (await kello.expect(CommandRejected, command_id=command_id)).code == "not_failed"
    stranger = UUID(int=7)
    (command_id,) = await kello.publish(
        RetryPayslip(payslip_id=stranger, employee_id=paid, run_id=run.run_id, issued_by="berta")
    )
    assert (await kello.expect(CommandRejected, command_id=command_id)).code == "unknown_payslip"


async def test_who_has_nothing_coming_is_recorded_and_not_paid(company: Company) -> None:
    employee = uuid4()
    await company.tell(
        company.joining(employee),
        AdvanceGranted(employee_id=employee, advance_id=uuid4(), amount=SALARY, granted_on="2026-01-02", version=2),
    )
    completed = await company.completed()
    assert (completed.paid, completed.failed) == (0, 0)
    payslip = await company.payslip(completed.run_id, employee)
    assert (payslip["state"], payslip["net"], payslip["deductions"]) == ("nothing_due", 0, NET)
    await company.kello.settled()
    assert not await company.captures()
    assert not await company.events(SalaryPaid)
    february = await company.completed("2026-02")
    assert (await company.payslip(february.run_id, employee))["deductions"] == SALARY - NET


async def _retried(company: Company, run_id: UUID, employee: UUID) -> str:
    payslip = await company.payslip(run_id, employee)
    (command_id,) = await company.kello.publish(
        RetryPayslip(payslip_id=payslip["payslip_id"], employee_id=employee, run_id=run_id, issued_by="berta")
    )
    return command_id
