"""Personnel files, rules and runs for pure tests."""

from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

from services.payroll.domain.month import Month
from services.payroll.domain.rules import Bracket, Contribution, Rules
from services.payroll.domain.run import Run
from services.payroll.domain.staff import (
    Absence,
    Advance,
    Employee,
    Employment,
    Overtime,
    PersonnelFile,
    Salary,
    Stated,
)

WHO = UUID(int=1)
RUN = UUID(int=2)
PAYSLIP = UUID(int=3)
JANUARY = Month(date(2026, 1, 1))

BRACKETS = (Bracket(0, 1000), Bracket(100_00, 2000), Bracket(200_00, 3000))
RULES = Rules(BRACKETS, (), 10_400)
INSURED = Rules(
    BRACKETS, (Contribution("pension-insurance", 1025, 6_450_00), Contribution("health", 387, None)), 10_400
)


def employee(employee_id: UUID = WHO, department: str = "office") -> Employee:
    return Employee(
        employee_id,
        1,
        1,
        None,
        Stated("EUR", 1),
        Stated("IT", 1),
        Stated(department, 1),
        Stated("tok_ok", 1),
    )


def file(
    salary: int = 3_000_00,
    *,
    hired_on: date = date(2024, 1, 1),
    last_day: date | None = None,
    raises: Sequence[tuple[date, int]] = (),
    unpaid: Sequence[tuple[date, date]] = (),
    overtimes: Sequence[Overtime] = (),
    advances: Sequence[Advance] = (),
) -> PersonnelFile:
    """Somebody's file, in the order in which HR told it."""
    ends = [Employment(WHO, 100, joins=False, day=last_day)] if last_day else []
    return PersonnelFile(
        employee(),
        [Employment(WHO, 1, joins=True, day=hired_on), *ends],
        [Salary(WHO, 1, hired_on, salary), *(Salary(WHO, 2 + n, day, to) for n, (day, to) in enumerate(raises))],
        [Absence(WHO, UUID(int=n), 10 + n, start, end, is_paid=False) for n, (start, end) in enumerate(unpaid)],
        overtimes,
        advances,
    )


def overtime(minutes: int, rate_percent: int = 150, worked_on: date = date(2026, 1, 15), number: int = 1) -> Overtime:
    return Overtime(WHO, UUID(int=1000 + number), 20 + number, worked_on, minutes, rate_percent * 100)


def advance(amount: int, granted_on: date = date(2026, 1, 10), number: int = 1, deducted: int = 0) -> Advance:
    return Advance(WHO, UUID(int=2000 + number), 30 + number, amount, granted_on, deducted)


def run(**fields: object) -> Run:
    stated: dict[str, object] = {
        "id": RUN,
        "month": JANUARY,
        "currency": "EUR",
        "group": None,
        "legal_entity": "main",
        "started_by": "anna",
        "state": "calculating",
        "version": 1,
        "guard": 1,
    }
    return Run(**(stated | fields))  # type: ignore[arg-type] # any field of a run, as the test names it


def day(number: int) -> date:
    """The day of January 2026."""
    return JANUARY.first + timedelta(days=number - 1)
