"""What the personnel system and the payroll office do: fifty people hired, changed, and paid for two months."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from deploy.local.demo.message import Message, message, new_id
from deploy.local.demo.people import HOME, Person, person
from shared.schemas.base import Payload
from shared.schemas.hr import (
    AbsenceRecorded,
    AdvanceGranted,
    EmployeeChanged,
    EmployeeHired,
    EmployeeTerminated,
    OvertimeRecorded,
    OvertimeRecordedV1,
    SalaryChanged,
)
from shared.schemas.standards import Channel

HR, PAYROLL_OFFICE = "example/hr", "example/payroll-office"
STARTER, APPROVER = "payroll.officer", "finance.lead"
DEPARTMENTS = ("care", "sales", "finance", "it", "warehouse")

ACCOUNTS = {3: "tok_declined", 5: "tok_lost_reply", 7: "tok_unknown", 9: "tok_slow", 11: "tok_pending",
            13: "tok_declined", 15: "tok_pending_declined", 17: "tok_lost_request", 19: "tok_duplicate"}  # fmt: skip
"""The employees whose account has this trouble at the gateway; all others' is in order."""
MENDED = 13
"""This one's account is corrected after the first refusal, and the payment tried again."""


@dataclass(frozen=True, slots=True)
class Run:
    """A payroll run of the script."""

    run_id: UUID
    period: str
    currency: str


@dataclass(slots=True)
class Employee:
    """Somebody of the staff; `version` counts what HR said."""

    number: int
    who: Person
    rng: Random
    id: UUID
    version: int = 0
    messages: list[Message] = field(default_factory=list)

    def hears(self, make: type[Payload], at: datetime, **fields: Any) -> None:
        """HR says the next thing about this employee."""
        self.version += 1
        payload = make.model_validate({"employee_id": self.id, "version": self.version, **fields})
        self.messages.append(message(payload, at, HR, self.rng))


@dataclass(slots=True)
class Staff:
    """All employees, the runs in their order, and the one whose account is mended."""

    employees: list[Employee]
    runs: list[Run]

    def messages(self) -> Iterator[Message]:
        for employee in self.employees:
            yield from employee.messages


def staff(count: int, seed: str, begin: datetime, end: datetime) -> Staff:
    """`count` employees, who are paid for the last two whole months before `end`."""
    second = end.date().replace(day=1) - timedelta(days=1)
    first = second.replace(day=1) - timedelta(days=1)
    employees = [_employee(number, seed, begin, first) for number in range(count)]
    rng = Random(f"{seed}/runs")  # noqa: S311 - a script is to be repeated, not to be secret
    currencies = sorted({employee.who.place.currency for employee in employees})
    runs = [Run(new_id(begin, rng), f"{month:%Y-%m}", currency) for month in (first, second) for currency in currencies]
    return Staff(employees, runs)


def _employee(number: int, seed: str, begin: datetime, first: date) -> Employee:
    rng = Random(f"{seed}/employee/{number}")  # noqa: S311 - a script is to be repeated, not to be secret
    employee = Employee(number, person(number, HOME, "e", rng), rng, new_id(begin, rng))
    _is_hired(employee, begin, first)
    _has_a_career(employee, begin, first.replace(day=1))
    return employee


def _is_hired(employee: Employee, begin: datetime, first: date) -> None:
    """Most of them long ago, every eighth in the middle of the first month."""
    who, number = employee.who, employee.number
    employee.hears(
        EmployeeHired,
        _at(employee, begin, 0),
        name=who.name,
        email=who.email("staff.example.com") if number % 10 != 6 else None,
        phone=who.phone if number % 3 == 0 else None,
        locale=who.place.locale,
        zone=who.place.zone,
        country=who.place.country,
        department=DEPARTMENTS[number % len(DEPARTMENTS)],
        currency=who.place.currency,
        monthly_salary=180_000 + 12_500 * (number % 23),
        hired_on=first.replace(day=16) if number % 8 == 1 else date(2020, 1 + number % 12, 1),
        payment_token=f"{ACCOUNTS.get(number, 'tok_ok')}-staff-{number}",
        preferred_channels=(Channel.IN_APP, Channel.EMAIL) if number % 10 == 8 else (Channel.EMAIL,),
    )


def _has_a_career(employee: Employee, begin: datetime, month: date) -> None:
    """What changes the pay: in the first of the two months, and for the rise in the second."""
    number, at = employee.number, _at(employee, begin, 1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    if number % 4 == 0:
        raised = 200_000 + 12_500 * (number % 23)
        employee.hears(SalaryChanged, at, monthly_salary=raised, effective_from=next_month.replace(day=11))
    if number % 5 == 1:
        kind = "unpaid" if number % 2 else "paid"
        days = {"starts_on": month.replace(day=6), "ends_on": month.replace(day=10)}
        employee.hears(AbsenceRecorded, at, absence_id=new_id(at, employee.rng), kind=kind, **days)
    if number % 3 == 2:
        worked = {"overtime_id": new_id(at, employee.rng), "worked_on": month.replace(day=21), "minutes": 135}
        if number % 2:  # not all of HR writes the new version yet
            employee.hears(OvertimeRecordedV1, at, rate_percent=150, **worked)
        else:
            employee.hears(OvertimeRecorded, at, rate_basis_points=13_750, **worked)
    if number % 7 == 5:
        given = {"amount": 45_000, "granted_on": month.replace(day=5)}
        employee.hears(AdvanceGranted, at, advance_id=new_id(at, employee.rng), **given)
    if number % 11 == 6:
        employee.hears(EmployeeChanged, at, department="sales", phone=employee.who.phone)
    if number % 25 == 24:
        employee.hears(EmployeeTerminated, at, last_day=next_month.replace(day=15))


def account_mended(employee: Employee, at: datetime) -> Message:
    """HR corrects the account that the gateway refused."""
    payload = EmployeeChanged(
        employee_id=employee.id, version=employee.version + 1, payment_token=f"tok_ok-staff-{employee.number}-new"
    )
    return message(payload, at, HR, employee.rng)


def _at(employee: Employee, begin: datetime, day: int) -> datetime:
    return (begin + timedelta(days=day, seconds=60 * employee.number + employee.version)).astimezone(UTC)
