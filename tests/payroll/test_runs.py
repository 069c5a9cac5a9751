"""Runs through topics and HTTP: started, calculated, approved by somebody else, paid, reported."""

import csv
import hashlib
from io import StringIO
from uuid import uuid4

import httpx

from shared.harness.kello import TOKEN
from shared.schemas.payroll import (
    ApprovePayrollRun,
    CommandRejected,
    PayrollRunApproved,
    PayrollRunCalculated,
    PayrollRunCompleted,
    PayrollRunStarted,
    PayslipCalculated,
    SalaryPaid,
    StartPayrollRun,
)
from tests.payroll.company import NET, SALARY, TAX, Company


async def test_a_run_is_calculated_approved_paid_and_reported(company: Company) -> None:
    kello = company.kello
    staff = await company.hire(*["tok_ok"] * 10)
    calculated = await company.calculated()
    assert (calculated.employees, calculated.gross, calculated.withholdings) == (10, 10 * SALARY, 10 * TAX)
    assert calculated.gross == calculated.net + calculated.withholdings + calculated.deductions
    await kello.settled()
    assert not await company.events(SalaryPaid)
    assert not await company.captures()

    await kello.publish(ApprovePayrollRun(run_id=calculated.run_id, issued_by="berta"))
    completed = await kello.expect(PayrollRunCompleted, run_id=calculated.run_id)
    assert (completed.paid, completed.paid_amount, completed.failed) == (10, 10 * NET, 0)
    paid = await company.events(SalaryPaid, run_id=calculated.run_id)
    assert {each.employee_id for each in paid} == set(staff)
    assert {each.payment_reference for each in paid} == {each.id for each in await company.captures()}
    assert {each.reference for each in await company.captures()} == {str(each.payslip_id) for each in paid}

    status, run = await kello.get("payroll", f"/runs/{calculated.run_id}")
    assert status == 200
    assert (run["state"], run["started_by"], run["approved_by"]) == ("completed", "anna", "berta")
    versions = [
        (await kello.events(model, run_id=calculated.run_id))[0].version
        for model in (PayrollRunStarted, PayrollRunCalculated, PayrollRunApproved, PayrollRunCompleted)
    ]
    assert versions == [1, 2, 3, 4]


async def test_a_report_is_stored_with_its_hash_and_adds_up(own_company: Company) -> None:
    kello = own_company.kello
    await own_company.hire("tok_ok", "tok_ok", department="factory")
    await own_company.hire("tok_ok", "tok_declined")
    completed = await own_company.completed()
    generated = await own_company.reported(completed.run_id)
    status, content = await kello.get("payroll", f"/runs/{completed.run_id}/report")
    assert status == 200
    assert hashlib.sha256(content).hexdigest() == generated.sha256
    assert generated.rows == 4

    lines = list(csv.DictReader(StringIO(content.decode())))
    payslips = [line for line in lines if line["record"] == "payslip"]
    departments = {line["department"]: line for line in lines if line["record"] == "department"}
    (total,) = [line for line in lines if line["record"] == "total"]
    assert [line["state"] for line in payslips].count("failed") == 1
    assert {name: line["gross"] for name, line in departments.items()} == {"factory": "400.00", "office": "400.00"}
    assert (total["gross"], total["withholding:income-tax"], total["net"]) == ("800.00", "120.00", "680.00")
    assert total["paid"] == "510.00"
    status, run = await kello.get("payroll", f"/runs/{completed.run_id}")
    assert run["report"] == {"report_id": str(generated.report_id), "sha256": generated.sha256}


async def test_whoever_started_a_run_cannot_approve_it(company: Company) -> None:
    kello = company.kello
    await company.hire("tok_ok")
    run = await company.calculated()
    for alias in ("anna", " Anna "):
        (command_id,) = await kello.publish(ApprovePayrollRun(run_id=run.run_id, issued_by=alias))
        rejected = await kello.expect(CommandRejected, command_id=command_id)
        assert (rejected.code, rejected.key) == ("four_eyes", str(run.run_id))
    await kello.settled()
    assert not await company.captures()
    assert not await company.events(PayrollRunApproved)


async def test_commands_about_runs_that_do_not_allow_them_are_refused(company: Company) -> None:
    kello = company.kello
    await company.hire("tok_ok")
    completed = await company.completed()
    refused = {
        "unknown_run": ApprovePayrollRun(run_id=uuid4(), issued_by="berta"),
        "already_approved": ApprovePayrollRun(run_id=completed.run_id, issued_by="clara"),
        "run_exists": StartPayrollRun(run_id=completed.run_id, period="2026-02", currency="EUR", issued_by="anna"),
        "unknown_legal_entity": StartPayrollRun(
            run_id=uuid4(), period="2026-02", currency="EUR", legal_entity="nobody", issued_by="anna"
        ),
    }
    for code, command in refused.items():
        (command_id,) = await kello.publish(command)
        assert (await kello.expect(CommandRejected, command_id=command_id)).code == code
    await kello.settled()
    assert len(await company.captures()) == 1


async def test_a_second_run_of_the_same_month_pays_nobody_twice_and_says_so(company: Company) -> None:
    kello = company.kello
    (early,) = await company.hire("tok_ok")
    first = await company.completed()
    (late,) = await company.hire("tok_ok")
    second = await company.completed()
    assert (first.paid, second.paid) == (1, 1)
    assert {each.employee_id: each.run_id for each in await company.events(SalaryPaid)} == {
        early: first.run_id,
        late: second.run_id,
    }
    assert len(await company.captures()) == 2
    status, body = await kello.get("payroll", f"/runs/{second.run_id}/skipped")
    assert status == 200
    payslip = await company.payslip(first.run_id, early)
    assert body["skipped"] == [
        {"employee_id": str(early), "code": "already_in_a_run", "payslip_id": payslip["payslip_id"]}
    ]
    await company.reported(second.run_id)
    _, report = await kello.get("payroll", f"/runs/{second.run_id}/report")
    assert f"{early},{payslip['payslip_id']}" in report.decode()


async def test_two_runs_of_one_month_at_the_same_time_pay_each_employee_once(company: Company) -> None:
    kello = company.kello
    staff = await company.hire(*["tok_ok"] * 20)
    await kello.publish(company.start(), company.start())
    for run_id in company.runs:
        await kello.expect(PayrollRunCalculated, run_id=run_id)
    await kello.publish(*(ApprovePayrollRun(run_id=each, issued_by="berta") for each in company.runs))
    completed = [await kello.expect(PayrollRunCompleted, run_id=each) for each in company.runs]
    assert sum(each.paid for each in completed) == 20
    assert sorted(each.employee_id for each in await company.events(SalaryPaid)) == sorted(staff)
    assert len(await company.captures()) == 20


async def test_commands_and_facts_that_come_twice_have_one_effect(company: Company) -> None:
    kello = company.kello
    employee = uuid4()
    await kello.publish(company.joining(employee), twice=True)
    await kello.settled()
    start = company.start()
    run_id = start.run_id
    await kello.publish(start, twice=True)
    await kello.expect(PayrollRunCalculated, run_id=run_id)
    await kello.publish(ApprovePayrollRun(run_id=run_id, issued_by="berta"), twice=True)
    await company.reported(run_id)
    await kello.settled()
    assert len(await company.events(PayslipCalculated)) == len(await company.events(SalaryPaid)) == 1
    assert len(await company.captures()) == 1
    assert not await kello.events(CommandRejected, key=str(run_id))
    assert not await kello.dead_letters("payroll")


async def test_a_run_takes_those_of_its_currency_and_group(company: Company) -> None:
    (ours,) = await company.hire("tok_ok")
    await company.hire("tok_ok", department="another")
    await company.hire("tok_ok", currency="CHF", country="CH")
    completed = await company.completed()
    assert completed.paid == 1
    assert [each.employee_id for each in await company.events(SalaryPaid)] == [ours]


async def test_one_who_cannot_be_calculated_holds_up_nobody(company: Company) -> None:
    (stranger,) = await company.hire("tok_ok", country="AQ")
    await company.hire("tok_ok")
    completed = await company.completed()
    assert completed.paid == 1
    _, body = await company.kello.get("payroll", f"/runs/{completed.run_id}/skipped")
    assert body["skipped"] == [{"employee_id": str(stranger), "code": "no_rules", "payslip_id": None}]


async def test_a_run_of_nobody_completes_too(company: Company) -> None:
    completed = await company.completed()
    assert (completed.paid, completed.failed) == (0, 0)
    assert (await company.reported(completed.run_id)).rows == 0


async def test_a_run_takes_its_staff_by_turns(own_company: Company) -> None:
    """More employees than one transaction takes: two turns to calculate, two to pay."""
    kello = own_company.kello
    staff = await own_company.hire(*["tok_ok"] * 600)
    run = await own_company.calculated(within=60)
    assert run.employees == 600
    await kello.publish(ApprovePayrollRun(run_id=run.run_id, issued_by="berta"))

    async def is_completed() -> bool:
        return bool(await kello.rows("payroll", "SELECT FROM payroll_run WHERE state = 'completed'"))

    await kello.until(is_completed, "the run is completed", within=60)
    await kello.settled()
    assert {each.employee_id for each in await own_company.events(SalaryPaid)} == set(staff)
    assert len(await own_company.captures()) == 600


async def test_reading_needs_a_token_and_names_what_is_not_there(company: Company) -> None:
    kello = company.kello
    (employee,) = await company.hire("tok_ok")
    for path in (
        f"/runs/{uuid4()}",
        f"/runs/{uuid4()}/report",
        f"/payslips/{uuid4()}",
        f"/employees/{uuid4()}/payslips",
    ):
        assert (await kello.get("payroll", path))[0] == 404
        assert (await kello.get("payroll", path, token=None))[0] == 401
    status, body = await kello.get("payroll", f"/employees/{employee}/payslips")
    assert (status, body["payslips"]) == (200, [])
    assert body["as_of"]["hr.events"]


async def test_a_report_that_is_known_already_is_not_sent_again(company: Company) -> None:
    await company.hire("tok_ok")
    run = await company.completed()
    generated = await company.reported(run.run_id)
    (process,) = company.kello.processes["payroll"]
    address = f"http://127.0.0.1:{process.http_port}/runs/{run.run_id}/report"
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        first = await client.get(address)
        again = await client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert first.headers["etag"] == f'"{generated.sha256}"'
    assert first.headers["content-type"] == generated.media_type
    assert (again.status_code, again.content) == (304, b"")


async def test_payslips_are_read_page_by_page(company: Company) -> None:
    kello = company.kello
    staff = await company.hire(*["tok_ok"] * 5)
    run = await company.calculated()
    found: list[str] = []
    after = ""
    while True:
        status, page = await kello.get("payroll", f"/runs/{run.run_id}/payslips?limit=2{after}")
        assert status == 200
        found += [each["employee_id"] for each in page["payslips"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert sorted(found) == sorted(str(each) for each in staff)
