"""Employees as HR tells of them: facts with their dates, kept so that any month can be calculated again.

Facts come in any order, and may come before the hire. Each remembers the version of the employee in which HR said it:
of two that contradict each other the later version counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TypeAlias
from uuid import UUID

from shared.schemas.hr import EmployeeChanged, EmployeeHired
from shared.schemas.immutable import immutable

EmployeeKey: TypeAlias = tuple[UUID, int]
RecordKey: TypeAlias = tuple[UUID, UUID]


@immutable(frozen=True, slots=True)
class Stated:
    """A detail, and the version of the employee in which HR stated it."""

    value: str
    version: int


@immutable(frozen=True, slots=True)
class Employee:
    """The root of all that is paid to somebody. Nothing is known yet of one of whom only other facts have come.

    `version` guards the row; `source_version` and `source_time` are those of the newest fact about the employee. Names
    and addresses are not here: payroll needs none.
    """

    id: UUID
    version: int
    source_version: int = 0
    source_time: datetime | None = None
    currency: Stated | None = None
    country: Stated | None = None
    department: Stated | None = None
    payment_token: Stated | None = None

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.id


@immutable(frozen=True, slots=True)
class Employment:
    """Somebody joined (`joins`, on the first day that is paid) or leaves (on the last one)."""

    employee_id: UUID
    source_version: int
    joins: bool
    day: date

    @property
    def key(self) -> EmployeeKey:
        return self.employee_id, self.source_version

    @property
    def root(self) -> UUID:
        return self.employee_id


@immutable(frozen=True, slots=True)
class Salary:
    """Gross for a whole month, in minor units, from a day on."""

    employee_id: UUID
    source_version: int
    effective_from: date
    monthly: int

    @property
    def key(self) -> EmployeeKey:
        return self.employee_id, self.source_version

    @property
    def root(self) -> UUID:
        return self.employee_id


@immutable(frozen=True, slots=True)
class Absence:
    """Days away, both ends included. Only unpaid ones matter to the salary."""

    employee_id: UUID
    absence_id: UUID
    source_version: int
    starts_on: date
    ends_on: date
    is_paid: bool

    @property
    def key(self) -> RecordKey:
        return self.employee_id, self.absence_id

    @property
    def root(self) -> UUID:
        return self.employee_id


@immutable(frozen=True, slots=True)
class Overtime:
    """Minutes beyond the normal day. Open until a payslip pays them."""

    employee_id: UUID
    overtime_id: UUID
    source_version: int
    worked_on: date
    minutes: int
    rate_basis_points: int
    payslip_id: UUID | None = None

    @property
    def key(self) -> RecordKey:
        return self.employee_id, self.overtime_id

    @property
    def root(self) -> UUID:
        return self.employee_id


@immutable(frozen=True, slots=True)
class Advance:
    """Money that was given beforehand. Open until payslips have deducted all of it."""

    employee_id: UUID
    advance_id: UUID
    source_version: int
    amount: int
    granted_on: date
    deducted: int = 0

    @property
    def key(self) -> RecordKey:
        return self.employee_id, self.advance_id

    @property
    def root(self) -> UUID:
        return self.employee_id


Fact: TypeAlias = Employment | Salary | Absence | Overtime | Advance


@immutable(frozen=True, slots=True)
class Span:
    """Days on the staff, both ends included; without an end yet, `until` is None."""

    start: date
    until: date | None

    def holds(self, day: date) -> bool:
        return self.start <= day and (self.until is None or day <= self.until)


@immutable(frozen=True, slots=True)
class PersonnelFile:
    """All that the calculation of somebody's month needs."""

    employee: Employee
    employments: Sequence[Employment]
    salaries: Sequence[Salary]
    absences: Sequence[Absence]
    overtimes: Sequence[Overtime]
    advances: Sequence[Advance]

    @property
    def spans(self) -> tuple[Span, ...]:
        """The employments, in the order in which HR stated them.

        To join without having left corrects the first day, to leave again the last one.
        """
        spans: list[Span] = []
        for fact in sorted(self.employments, key=lambda each: each.source_version):
            if not fact.joins:
                spans[-1:] = [replace(spans[-1], until=fact.day)] if spans else []
            elif spans and spans[-1].until is None:
                spans[-1] = Span(fact.day, None)
            else:
                spans.append(Span(fact.day, None))
        return tuple(spans)

    @property
    def unpaid(self) -> tuple[Span, ...]:
        return tuple(Span(each.starts_on, each.ends_on) for each in self.absences if not each.is_paid)

    def salary_on(self, day: date) -> int | None:
        """The monthly salary of a day: the latest that was in effect, or the first one on days before it."""
        if not self.salaries:
            return None
        ordered = sorted(self.salaries, key=lambda each: (each.effective_from, each.source_version))
        in_effect = [each for each in ordered if each.effective_from <= day]
        return in_effect[-1].monthly if in_effect else ordered[0].monthly

    def changes(self) -> Iterator[Span | date]:
        """Everything that can make one day worth something else than the day before."""
        yield from self.spans
        yield from self.unpaid
        for salary in self.salaries:
            yield salary.effective_from


def unknown_employee(employee_id: UUID) -> Employee:
    """Somebody of whom no hire has been seen yet: facts wait for it."""
    return Employee(employee_id, 0)


def heard(employee: Employee, version: int, time: datetime) -> Employee:
    """The employee after one more fact, of whatever kind: the same where a newer one came before."""
    if version <= employee.source_version:
        return employee
    return replace(employee, version=employee.version + 1, source_version=version, source_time=time)


def hired(employee: Employee, event: EmployeeHired) -> tuple[Employee, Employment, Salary]:
    """The employee after a hire, with the first day and the first salary."""
    described = _described(
        employee,
        event.version,
        currency=event.currency,
        country=event.country,
        department=event.department,
        payment_token=event.payment_token,
    )
    return (
        described,
        Employment(employee.id, event.version, True, event.hired_on),
        Salary(employee.id, event.version, event.hired_on, event.monthly_salary),
    )


def changed(employee: Employee, event: EmployeeChanged) -> Employee:
    """The employee after a change of details: the same where all of it is known already, or newer."""
    return _described(
        employee,
        event.version,
        country=event.country,
        department=event.department,
        payment_token=event.payment_token,
    )


def _described(
    employee: Employee,
    version: int,
    *,
    currency: str | None = None,
    country: str | None = None,
    department: str | None = None,
    payment_token: str | None = None,
) -> Employee:
    after = replace(
        employee,
        currency=_newer(employee.currency, currency, version),
        country=_newer(employee.country, country, version),
        department=_newer(employee.department, department, version),
        payment_token=_newer(employee.payment_token, payment_token, version),
    )
    return employee if after == employee else replace(after, version=employee.version + 1)


def _newer(known: Stated | None, value: str | None, version: int) -> Stated | None:
    if value is None or (known is not None and known.version >= version):
        return known
    return Stated(value, version)
