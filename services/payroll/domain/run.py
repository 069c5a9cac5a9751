"""A payroll run: everybody's month, calculated, approved by somebody else, paid, completed."""

from dataclasses import replace
from datetime import date, datetime
from typing import Literal, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from services.payroll.domain.month import Month
from services.payroll.domain.payslip import Payslip, PayslipState
from services.payroll.domain.staff import Employee
from shared.messaging.decision import Refused
from shared.schemas.immutable import immutable
from shared.schemas.money import AMOUNT_MAX
from shared.schemas.payroll import (
    PayrollRunApproved,
    PayrollRunCalculated,
    PayrollRunCompleted,
    PayrollRunStarted,
    StartPayrollRun,
)

RunState: TypeAlias = Literal["calculating", "calculated", "paying", "completed"]


@immutable(frozen=True, slots=True)
class LegalEntity:
    """The company that pays."""

    code: str
    zone: ZoneInfo

    def business_day(self, moment: datetime) -> date:
        """The date in the entity's zone."""
        return moment.astimezone(self.zone).date()


@immutable(frozen=True, slots=True)
class Run:
    """The root of a run. `version` counts its events; `guard` its changes, and guards the row.

    The counts are of payslips: `employees` in all, of them `nothing_due`, `paid` and `failed`; `skipped` employees have
    none. A run is complete when every payslip is settled. To retry a failed one opens it again.
    """

    id: UUID
    month: Month
    currency: str
    group: str | None
    legal_entity: str
    started_by: str
    state: RunState
    version: int
    guard: int
    approved_by: str | None = None
    employees: int = 0
    skipped: int = 0
    gross: int = 0
    withholdings: int = 0
    deductions: int = 0
    net: int = 0
    nothing_due: int = 0
    paid: int = 0
    failed: int = 0
    paid_amount: int = 0
    failed_amount: int = 0

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.id

    @property
    def is_settled(self) -> bool:
        return self.nothing_due + self.paid + self.failed == self.employees

    def has_room_for(self, payslip: Payslip) -> bool:
        """Whether the sums stay within the bound of money."""
        return self.gross + payslip.gross <= AMOUNT_MAX


@immutable(frozen=True, slots=True)
class Skipped:
    """An employee who has no payslip in a run, and why; `payslip_id` is the one that is there already."""

    run_id: UUID
    employee_id: UUID
    code: str
    payslip_id: UUID | None = None

    @property
    def key(self) -> tuple[UUID, UUID]:
        return self.run_id, self.employee_id

    @property
    def root(self) -> UUID:
        return self.employee_id


def started(command: StartPayrollRun) -> tuple[Run, PayrollRunStarted]:
    """A new run, to be calculated."""
    run = Run(
        id=command.run_id,
        month=Month.of(command.period),
        currency=command.currency,
        group=command.group,
        legal_entity=command.legal_entity,
        started_by=command.issued_by,
        state="calculating",
        version=1,
        guard=1,
    )
    return run, PayrollRunStarted(
        run_id=run.id,
        period=command.period,
        currency=run.currency,
        group=run.group,
        legal_entity=run.legal_entity,
        started_by=run.started_by,
        version=run.version,
    )


def includes(run: Run, employee: Employee) -> bool:
    """Whether somebody is paid in the run's currency and belongs to its group."""
    if employee.currency is None or employee.currency.value != run.currency:
        return False
    return run.group is None or (employee.department is not None and employee.department.value == run.group)


def with_payslip(run: Run, payslip: Payslip) -> Run:
    """The run with one more payslip in its sums."""
    return replace(
        run,
        guard=run.guard + 1,
        employees=run.employees + 1,
        gross=run.gross + payslip.gross,
        withholdings=run.withholdings + payslip.withholdings,
        deductions=run.deductions + payslip.deductions,
        net=run.net + payslip.net,
        nothing_due=run.nothing_due + (payslip.state == "nothing_due"),
    )


def with_skipped(run: Run, count: int) -> Run:
    """The run with some more employees who have no payslip in it."""
    return replace(run, guard=run.guard + 1, skipped=run.skipped + count)


def calculated(run: Run) -> tuple[Run, PayrollRunCalculated]:
    """The run with all payslips there: it waits for approval."""
    after = replace(run, guard=run.guard + 1, state="calculated", version=run.version + 1)
    return after, PayrollRunCalculated(
        run_id=after.id,
        period=str(after.month),
        currency=after.currency,
        employees=after.employees,
        gross=after.gross,
        withholdings=after.withholdings,
        deductions=after.deductions,
        net=after.net,
        version=after.version,
    )


def approved(run: Run, by: str) -> tuple[Run, PayrollRunApproved]:
    """The run, to be paid. Refused to whoever started it, and to a run that does not wait for approval."""
    if run.state == "calculating":
        raise Refused("not_calculated", "the run is still being calculated: wait for PayrollRunCalculated")
    if run.state != "calculated":
        raise Refused("already_approved", "the run was approved before")
    if _same_person(by, run.started_by):
        raise Refused("four_eyes", "whoever started a run cannot approve it: somebody else must")
    after = replace(run, guard=run.guard + 1, state="paying", approved_by=by, version=run.version + 1)
    return after, PayrollRunApproved(run_id=after.id, approved_by=by, version=after.version)


def counted(run: Run, before: PayslipState, payslip: Payslip) -> Run:
    """The run after a payment moved: the payslip's former state, and what it is now."""
    paid = (payslip.state == "paid") - (before == "paid")
    failed = (payslip.state == "failed") - (before == "failed")
    return replace(
        run,
        guard=run.guard + 1,
        paid=run.paid + paid,
        failed=run.failed + failed,
        paid_amount=run.paid_amount + paid * payslip.net,
        failed_amount=run.failed_amount + failed * payslip.net,
    )


def reopened(run: Run) -> Run:
    """The run with a payment under way again."""
    return replace(run, guard=run.guard + 1, state="paying")


def completed(run: Run) -> tuple[Run, PayrollRunCompleted]:
    """The run with every payslip settled."""
    after = replace(run, guard=run.guard + 1, state="completed", version=run.version + 1)
    return after, PayrollRunCompleted(
        run_id=after.id,
        period=str(after.month),
        currency=after.currency,
        paid=after.paid,
        failed=after.failed,
        paid_amount=after.paid_amount,
        failed_amount=after.failed_amount,
        version=after.version,
    )


def _same_person(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()
