"""What the personnel system says (topic hr.events): somebody else publishes it, Kello listens. Holds personal data."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.schemas.base import Code, Day, Event, Id, ShortText
from shared.schemas.money import Currency, PositiveAmount
from shared.schemas.standards import Channel, Country, Email, Iban, Locale, Phone, Zone
from shared.schemas.versions import upcaster

Channels = Annotated[tuple[Channel, ...], Field(max_length=10)]
"""How somebody wants to be told, the best first."""


class EmployeeEvent(Event, topic="hr.events", key="employee_id", subject="employee/{employee_id}"):
    """Something about an employee. A base: all of them share the versions of employee/{employee_id}."""

    employee_id: Id


class EmployeeHired(EmployeeEvent, type="kello.hr.employee-hired.v1"):
    """Somebody joined the staff."""

    name: ShortText
    email: Email | None = None
    phone: Phone | None = None
    locale: Locale
    zone: Zone
    country: Country
    """Where the salary is taxed."""
    department: Code
    currency: Currency
    """Of the salary, and of everything paid to this employee."""
    monthly_salary: PositiveAmount
    """Gross, in minor units for a whole month."""
    hired_on: Day
    """The first day that is paid."""
    iban: Iban | None = None
    payment_token: ShortText
    """The gateway's token of the account that the salary goes to."""
    preferred_channels: Channels = ()
    """How to tell the employee, the best first."""


class EmployeeChanged(EmployeeEvent, type="kello.hr.employee-changed.v1"):
    """An employee's details changed. A field that is absent or null stays as it was."""

    name: ShortText | None = None
    email: Email | None = None
    phone: Phone | None = None
    locale: Locale | None = None
    zone: Zone | None = None
    country: Country | None = None
    department: Code | None = None
    iban: Iban | None = None
    payment_token: ShortText | None = None
    preferred_channels: Channels | None = None


class SalaryChanged(EmployeeEvent, type="kello.hr.salary-changed.v1"):
    """An employee earns a different salary from a day on."""

    monthly_salary: PositiveAmount
    """Gross, in minor units of the employee's currency for a whole month."""
    effective_from: Day
    """The first day with the new salary."""


class AbsenceRecorded(EmployeeEvent, type="kello.hr.absence-recorded.v1"):
    """An employee was or will be away."""

    absence_id: Id
    starts_on: Day
    ends_on: Day
    """The last day of it, not before the first."""
    kind: Literal["paid", "unpaid"]

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.ends_on < self.starts_on:
            raise ValueError("ends_on must not lie before starts_on")
        return self


class WorkedLonger(EmployeeEvent):
    """What every version of OvertimeRecorded says. A base."""

    overtime_id: Id
    worked_on: Day
    minutes: Annotated[int, Field(strict=True, ge=1, le=24 * 60, json_schema_extra={"x-unit": "minute"})]
    """Minutes beyond the normal working day."""


class OvertimeRecordedV1(WorkedLonger, type="kello.hr.overtime-recorded.v1"):
    """An employee worked longer. Whole per cents cannot say the 137.5 % of some agreements: v2 can."""

    rate_percent: Annotated[int, Field(strict=True, ge=100, le=400, json_schema_extra={"x-unit": "percent"})]
    """What a minute of it is worth: 150 is one and a half times the normal pay."""


class OvertimeRecorded(WorkedLonger, type="kello.hr.overtime-recorded.v2"):
    """An employee worked longer."""

    rate_basis_points: Annotated[
        int, Field(strict=True, ge=10_000, le=40_000, json_schema_extra={"x-unit": "basis-point"})
    ]
    """What a minute of it is worth, in hundredths of a per cent: 13750 is 137.5 % of the normal pay."""


@upcaster(OvertimeRecordedV1, OvertimeRecorded)
def in_basis_points(old: OvertimeRecordedV1) -> OvertimeRecorded:
    """The same rate in the finer unit: exact, so that both versions pay the same."""
    same = old.model_dump(exclude={"rate_percent"})
    return OvertimeRecorded(**same, rate_basis_points=old.rate_percent * 100)


class AdvanceGranted(EmployeeEvent, type="kello.hr.advance-granted.v1"):
    """An employee was given part of a salary beforehand; the next payslip deducts it."""

    advance_id: Id
    amount: PositiveAmount
    """Minor units of the employee's currency."""
    granted_on: Day


class EmployeeTerminated(EmployeeEvent, type="kello.hr.employee-terminated.v1"):
    """Somebody leaves the staff."""

    last_day: Day
    """The last day that is paid."""
