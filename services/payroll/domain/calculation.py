"""The calculation of one employee's month: earnings, what is withheld, what is deducted, and what is left."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from itertools import chain, pairwise
from uuid import UUID

from services.payroll.domain.month import ONE_DAY, Month
from services.payroll.domain.payslip import Component, ComponentKind, Payslip
from services.payroll.domain.rules import Rules
from services.payroll.domain.staff import Advance, Overtime, PersonnelFile, Span
from shared.schemas.immutable import immutable
from shared.schemas.money import AMOUNT_MAX

OVERTIMES_MAX = 400
ADVANCES_MAX = 200
"""So many on one payslip; more wait for the next."""


class NotPayable(Exception):
    """This employee's month cannot be calculated; the others' can. `code` is kept with the run."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@immutable(frozen=True, slots=True)
class Calculated:
    """A payslip with its components, and what they use up."""

    payslip: Payslip
    components: tuple[Component, ...]
    overtimes: Sequence[Overtime]
    advances: Sequence[Advance]


@immutable(frozen=True, slots=True)
class Part:
    """An amount over some days, before it has a place on a payslip."""

    kind: ComponentKind
    code: str
    amount: int
    starts_on: date
    ends_on: date
    source_id: UUID | None = None


def calculate(
    file: PersonnelFile, month: Month, rules: Rules | None, run_id: UUID, payslip_id: UUID
) -> Calculated | None:
    """The payslip of somebody's month; None for one who was not on the staff then and has nothing coming.

    Advances are deducted as far as there is something left: the net is never negative, and the rest is carried over.
    Raises NotPayable.
    """
    overtimes = _open_overtimes(file, month)
    if not _is_employed(file, month) and not overtimes:
        return None
    if rules is None:
        raise NotPayable("no_rules")
    earnings = [*salary_parts(file, month), *(_overtime_part(file, rules, each) for each in overtimes)]
    gross = sum(part.amount for part in earnings)
    if gross > AMOUNT_MAX:
        raise NotPayable("amount_out_of_range")
    withheld = [Part("withholding", code, amount, month.first, month.last) for code, amount in rules.withheld(gross)]
    left = gross - sum(part.amount for part in withheld)
    if left < 0:
        raise NotPayable("withholdings_exceed_gross")
    deducted, advances = _deducted(file, month, left)
    parts = [part for part in chain(earnings, withheld, deducted) if part.amount]
    components = tuple(
        Component(payslip_id, line, file.employee.id, p.kind, p.code, p.amount, p.starts_on, p.ends_on, p.source_id)
        for line, p in enumerate(parts, 1)
    )
    paid_overtimes = [replace(each, payslip_id=payslip_id) for each in overtimes]
    return Calculated(_payslip(file, month, run_id, payslip_id, components), components, paid_overtimes, advances)


def salary_parts(file: PersonnelFile, month: Month) -> Iterator[Part]:
    """The salary of the paid days, one part for each stretch of days that are worth the same."""
    spans, unpaid = file.spans, file.unpaid
    for start, beyond in pairwise([*_cuts(file, month), month.last + ONE_DAY]):
        if any(span.holds(start) for span in spans) and not any(span.holds(start) for span in unpaid):
            monthly = _salary(file, start)
            last = beyond - ONE_DAY
            yield Part("earning", "salary", month.share(monthly, start, last), start, last)


def _cuts(file: PersonnelFile, month: Month) -> list[date]:
    """The first day of each stretch of equal days, in order."""
    cuts = {month.first}
    for change in file.changes():
        cuts.update(_edges(change) if isinstance(change, Span) else (change,))
    return sorted(day for day in cuts if month.first <= day <= month.last)


def _edges(span: Span) -> Iterator[date]:
    yield span.start
    if span.until is not None:
        yield span.until + ONE_DAY


def _salary(file: PersonnelFile, day: date) -> int:
    monthly = file.salary_on(day)
    if monthly is None:
        raise NotPayable("no_salary")
    return monthly


def _is_employed(file: PersonnelFile, month: Month) -> bool:
    return any(span.start <= month.last and (span.until is None or span.until >= month.first) for span in file.spans)


def _open_overtimes(file: PersonnelFile, month: Month) -> list[Overtime]:
    """What was worked up to the month's end and no payslip has paid: what was reported late is paid now."""
    due = [each for each in file.overtimes if each.payslip_id is None and each.worked_on <= month.last]
    return sorted(due, key=lambda each: (each.worked_on, each.overtime_id))[:OVERTIMES_MAX] if file.spans else []


def _overtime_part(file: PersonnelFile, rules: Rules, overtime: Overtime) -> Part:
    monthly = _salary(file, overtime.worked_on)
    amount = rules.overtime_pay(monthly, overtime.minutes, overtime.rate_basis_points)
    return Part("earning", "overtime", amount, overtime.worked_on, overtime.worked_on, overtime.overtime_id)


def _deducted(file: PersonnelFile, month: Month, left: int) -> tuple[list[Part], list[Advance]]:
    """The advances, oldest first, as far as the money goes."""
    parts: list[Part] = []
    advances: list[Advance] = []
    due = [each for each in file.advances if each.deducted < each.amount and each.granted_on <= month.last]
    for advance in sorted(due, key=lambda each: (each.granted_on, each.advance_id))[:ADVANCES_MAX]:
        amount = min(advance.amount - advance.deducted, left)
        if amount:
            left -= amount
            parts.append(Part("deduction", "advance", amount, month.first, month.last, advance.advance_id))
            advances.append(replace(advance, deducted=advance.deducted + amount))
    return parts, advances


def _payslip(
    file: PersonnelFile, month: Month, run_id: UUID, payslip_id: UUID, components: Sequence[Component]
) -> Payslip:
    employee = file.employee
    if employee.currency is None or employee.country is None or employee.department is None:
        raise NotPayable("not_hired")
    gross = _sum(components, "earning")
    withholdings, deductions = _sum(components, "withholding"), _sum(components, "deduction")
    net = gross - withholdings - deductions
    return Payslip(
        id=payslip_id,
        run_id=run_id,
        employee_id=employee.id,
        month=month,
        currency=employee.currency.value,
        country=employee.country.value,
        department=employee.department.value,
        gross=gross,
        withholdings=withholdings,
        deductions=deductions,
        net=net,
        state="calculated" if net else "nothing_due",
        version=1,
    )


def _sum(components: Sequence[Component], kind: ComponentKind) -> int:
    return sum(component.amount for component in components if component.kind == kind)
