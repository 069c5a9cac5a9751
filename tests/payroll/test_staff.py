"""What HR tells, through its topic: in any order, twice, before the hire, and late."""

from datetime import date
from uuid import UUID, uuid4

import pytest

from shared.schemas.hr import (
    AbsenceRecorded,
    AdvanceGranted,
    EmployeeChanged,
    EmployeeEvent,
    EmployeeTerminated,
    OvertimeRecorded,
    OvertimeRecordedV1,
    SalaryChanged,
)
from shared.schemas.payroll import PayslipCalculated, SalaryPaid
from tests.payroll.company import Company, hired

DAYS = 31


def told(employee: UUID, department: str | None) -> list[EmployeeEvent]:
    """All that HR tells of somebody, whose January is: 10 days at 31.00, 10 days away, 6 days at 62.00, then gone."""
    return [
        hired(employee, salary=31_00 * DAYS),
        EmployeeChanged(employee_id=employee, department=department, version=2),
        SalaryChanged(employee_id=employee, monthly_salary=62_00 * DAYS, effective_from=date(2026, 1, 11), version=3),
        AbsenceRecorded(
            employee_id=employee,
            absence_id=UUID(int=employee.int ^ 1),
            starts_on=date(2026, 1, 11),
            ends_on=date(2026, 1, 20),
            kind="unpaid",
            version=4,
        ),
        OvertimeRecorded(
            employee_id=employee,
            overtime_id=UUID(int=employee.int ^ 2),
            worked_on=date(2026, 1, 5),
            minutes=104,
            rate_basis_points=10_000,
            version=5,
        ),
        AdvanceGranted(
            employee_id=employee,
            advance_id=UUID(int=employee.int ^ 3),
            amount=100_00,
            granted_on=date(2026, 1, 7),
            version=6,
        ),
        EmployeeTerminated(employee_id=employee, last_day=date(2026, 1, 26), version=7),
    ]


GROSS = 10 * 31_00 + 6 * 62_00 + 9_61
"""The overtime: a hundredth of the month's time, on a day at 961.00 a month."""


async def test_a_month_is_made_of_all_that_hr_told(company: Company) -> None:
    employee = uuid4()
    await company.tell(*told(employee, company.department))
    run = await company.calculated()
    assert (run.employees, run.gross, run.deductions) == (1, GROSS, 100_00)
    slip = await company.payslip(run.run_id, employee)
    assert slip["department"] == company.department
    assert [(each["code"], each["starts_on"], each["ends_on"], each["amount"]) for each in slip["components"]] == [
        ("salary", "2026-01-01", "2026-01-10", 10 * 31_00),
        ("salary", "2026-01-21", "2026-01-26", 6 * 62_00),
        ("overtime", "2026-01-05", "2026-01-05", 9_61),
        ("income-tax", "2026-01-01", "2026-01-31", run.withholdings),
        ("advance", "2026-01-01", "2026-01-31", 100_00),
    ]


async def test_facts_may_come_in_any_order_and_twice_and_before_the_hire(company: Company) -> None:
    kello = company.kello
    employee = uuid4()
    facts = told(employee, company.department)
    for fact in [*facts[:0:-1], facts[0]]:
        await kello.publish(fact, twice=True)
    await kello.settled()
    assert (await company.calculated()).gross == GROSS
    assert not await kello.dead_letters("payroll")


async def test_facts_about_somebody_unknown_wait_and_count_when_the_hire_comes(company: Company) -> None:
    kello = company.kello
    employee = uuid4()
    facts = told(employee, company.department)
    await company.tell(*facts[1:])
    assert (await company.calculated("2025-12")).employees == 0
    assert (await kello.get("payroll", f"/employees/{employee}/payslips"))[0] == 404
    await company.tell(facts[0])
    assert (await kello.get("payroll", f"/employees/{employee}/payslips"))[0] == 200
    assert (await company.calculated()).gross == GROSS


async def test_an_old_version_that_comes_late_changes_nothing(company: Company) -> None:
    employee = uuid4()
    absence = AbsenceRecorded(
        employee_id=employee,
        absence_id=uuid4(),
        starts_on=date(2026, 1, 1),
        ends_on=date(2026, 1, 31),
        kind="unpaid",
        version=2,
    )
    corrected = absence.model_copy(update={"kind": "paid", "version": 3})
    await company.tell(company.joining(employee), corrected)
    await company.tell(absence)
    await company.tell(EmployeeChanged(employee_id=employee, department=company.department, version=5))
    await company.tell(EmployeeChanged(employee_id=employee, department="garage", version=4))
    run = await company.calculated()
    assert (run.employees, run.gross) == (1, 200_00)


async def test_overtime_that_was_reported_late_is_paid_with_the_next_month_once(company: Company) -> None:
    employee = uuid4()
    await company.tell(company.joining(employee))
    await company.calculated("2026-01")
    await company.tell(
        OvertimeRecorded(
            employee_id=employee,
            overtime_id=uuid4(),
            worked_on=date(2026, 1, 31),
            minutes=1040,
            rate_basis_points=15_000,
            version=2,
        )
    )
    gross = [(await company.calculated(period)).gross for period in ("2026-02", "2026-03")]
    assert gross == [200_00 + 30_00, 200_00]


async def test_overtime_in_its_old_and_its_new_version_is_paid_side_by_side(company: Company) -> None:
    """One HR system writes v1 and another v2, of the same employee; v1 even corrects what v2 said first."""
    employee, corrected = uuid4(), uuid4()
    worked = {"employee_id": employee, "worked_on": date(2026, 1, 15), "minutes": 1040}
    await company.tell(
        company.joining(employee),
        OvertimeRecordedV1(overtime_id=uuid4(), rate_percent=150, version=2, **worked),
        OvertimeRecorded(overtime_id=uuid4(), rate_basis_points=13_750, version=3, **worked),
        OvertimeRecorded(overtime_id=corrected, rate_basis_points=40_000, version=4, **worked),
        OvertimeRecordedV1(overtime_id=corrected, rate_percent=100, version=5, **worked),
    )
    assert (await company.calculated()).gross == 200_00 + 30_00 + 27_50 + 20_00
    records = [record for record in await company.kello.records("hr.events") if record.key == str(employee).encode()]
    types = [dict(record.headers)["ce_type"].rpartition(b".")[2] for record in records]
    assert types == [b"v1", b"v1", b"v2", b"v2", b"v1"]


async def test_a_replay_of_hr_gives_the_same_copies_and_pays_nobody(own_company: Company) -> None:
    """The copies are dropped, and the same facts come again as new publications: as after a rebuild."""
    kello = own_company.kello
    employee = uuid4()
    await own_company.tell(*told(employee, "office"))
    before = await _copies(own_company)
    await kello.rows("payroll", "TRUNCATE employee, employment, salary, absence, overtime, advance")
    await own_company.tell(*reversed(told(employee, "office")))
    assert await _copies(own_company) == before
    assert not await own_company.events(PayslipCalculated)
    assert not await own_company.events(SalaryPaid)


@pytest.mark.parametrize("ends", [date(2025, 12, 31), date(2026, 1, 1)])
async def test_who_left_is_paid_up_to_the_last_day(company: Company, ends: date) -> None:
    employee = uuid4()
    await company.tell(
        company.joining(employee, salary=31_00 * DAYS),
        EmployeeTerminated(employee_id=employee, last_day=ends, version=2),
    )
    run = await company.calculated()
    assert (run.employees, run.gross) == ((1, 31_00) if ends.year == 2026 else (0, 0))


async def _copies(company: Company) -> list[list[tuple[object, ...]]]:
    queries = (
        "SELECT id, currency, country, department, payment_token FROM employee ORDER BY id",
        "SELECT * FROM employment ORDER BY 1, 2",
        "SELECT * FROM salary ORDER BY 1, 2",
        "SELECT * FROM absence ORDER BY 1, 2",
        "SELECT * FROM overtime ORDER BY 1, 2",
        "SELECT * FROM advance ORDER BY 1, 2",
    )
    return [[tuple(row) for row in await company.kello.rows("payroll", query)] for query in queries]
