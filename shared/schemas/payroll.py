"""What payroll is asked (topic payroll.commands) and what it says (topic payroll.events).

The key is the run for what concerns a run, the employee for what concerns a payslip.
"""

from typing import Annotated, Literal

from pydantic import Field

from shared.schemas.answers import Accepted, Rejected
from shared.schemas.base import Code, Command, Count, Day, Event, Id, ShortText, Value
from shared.schemas.money import Currency, NonNegativeAmount, PositiveAmount

Period = Annotated[str, Field(pattern=r"^(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])$")]
"""A calendar month, YYYY-MM."""


class RunCommand(Command, topic="payroll.commands", key="run_id", subject="run/{run_id}"):
    """Something to do with a run. A base."""

    run_id: Id


class RunEvent(Event, topic="payroll.events", key="run_id", subject="run/{run_id}"):
    """Something that happened to a run. A base."""

    run_id: Id


class PayslipEvent(Event, topic="payroll.events", key="employee_id", subject="payslip/{payslip_id}"):
    """Something that happened to a payslip. A base."""

    payslip_id: Id
    employee_id: Id
    run_id: Id
    period: Period
    currency: Currency


class StartPayrollRun(RunCommand, type="kello.payroll.start-payroll-run.v1"):
    """Calculate the salaries of a month. Answered by PayrollRunStarted; whoever starts a run cannot approve it."""

    period: Period
    currency: Currency
    """Employees who are paid in it are in the run."""
    group: Code | None = None
    """A department; without one, everybody."""
    legal_entity: Code = "main"


class ApprovePayrollRun(RunCommand, type="kello.payroll.approve-payroll-run.v1"):
    """Pay a calculated run. Answered by PayrollRunApproved; refused to whoever started the run."""


class RetryPayslip(
    Command,
    type="kello.payroll.retry-payslip.v1",
    topic="payroll.commands",
    key="employee_id",
    subject="payslip/{payslip_id}",
):
    """Try once more to pay a payslip whose payment failed."""

    payslip_id: Id
    employee_id: Id
    run_id: Id


class PayrollRunStarted(RunEvent, type="kello.payroll.run-started.v1"):
    """Somebody wants the salaries of a month to be calculated."""

    period: Period
    currency: Currency
    group: Code | None = None
    """A department; without one, everybody."""
    legal_entity: Code
    started_by: ShortText
    """The `issued_by` of the command."""


class PayrollRunCalculated(RunEvent, type="kello.payroll.run-calculated.v1"):
    """All payslips of a run are calculated; it waits for approval. gross = net + withholdings + deductions."""

    period: Period
    currency: Currency
    employees: Count
    """How many payslips it has."""
    gross: NonNegativeAmount
    """Minor units: the sum of the payslips'."""
    withholdings: NonNegativeAmount
    """Minor units: taxes."""
    deductions: NonNegativeAmount
    """Minor units: advances and the like."""
    net: NonNegativeAmount
    """Minor units to be paid."""


class PayrollRunApproved(RunEvent, type="kello.payroll.run-approved.v1"):
    """A run may be paid."""

    approved_by: ShortText
    """The `issued_by` of the command; never whoever started the run."""


class PayrollRunCompleted(RunEvent, type="kello.payroll.run-completed.v1"):
    """Every payslip of a run was paid or has failed."""

    period: Period
    currency: Currency
    paid: Count
    """How many payslips were paid."""
    failed: Count
    """How many were not."""
    paid_amount: NonNegativeAmount
    """Minor units: the net of those paid."""
    failed_amount: NonNegativeAmount
    """Minor units: the net of those that failed."""


class Component(Value):
    """One part of a payslip."""

    kind: Literal["earning", "withholding", "deduction"]
    code: Code
    """Which: `salary`, `overtime`, `income-tax`, `advance` …"""
    amount: NonNegativeAmount
    """Minor units; its kind says whether it adds to the net or takes from it."""


class PayslipCalculated(PayslipEvent, type="kello.payroll.payslip-calculated.v1"):
    """What an employee gets for a month. gross = net + withholdings + deductions, to the unit."""

    gross: NonNegativeAmount
    """Minor units: the sum of the earnings."""
    withholdings: NonNegativeAmount
    """Minor units: taxes."""
    deductions: NonNegativeAmount
    """Minor units: advances and the like."""
    net: NonNegativeAmount
    """Minor units to be paid."""
    components: Annotated[tuple[Component, ...], Field(max_length=1000)]


class SalaryPaid(PayslipEvent, type="kello.payroll.salary-paid.v1"):
    """The gateway confirmed the payment of a payslip."""

    net: PositiveAmount
    """Minor units."""
    paid_on: Day
    payment_reference: ShortText
    """The gateway's id of the payment."""


class SalaryPaymentFailed(PayslipEvent, type="kello.payroll.salary-payment-failed.v1"):
    """A payslip could not be paid. RetryPayslip tries again."""

    net: PositiveAmount
    """Minor units that the employee did not get."""
    code: Code
    """Why, for programs: `declined`, `unreachable` …"""
    reason: ShortText
    """Why, for people; without personal data."""


class SalaryPaymentUnknown(PayslipEvent, type="kello.payroll.salary-payment-unknown.v1"):
    """A payslip may or may not have been paid. SalaryPaid or SalaryPaymentFailed follows."""

    net: PositiveAmount
    """Minor units."""


class PayrollReportGenerated(RunEvent, type="kello.payroll.report-generated.v1", subject="report/{report_id}"):
    """A run's report is stored and can be fetched from payroll."""

    report_id: Id
    media_type: ShortText
    """Such as text/csv."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the stored bytes, in lower-case hexadecimal digits."""
    rows: Count
    """Payslips in it."""


class CommandAccepted(Accepted, type="kello.payroll.command-accepted.v1", topic="payroll.events"):
    """Payroll carried a command out, and nothing else tells of it."""


class CommandRejected(Rejected, type="kello.payroll.command-rejected.v1", topic="payroll.events"):
    """Payroll refused a command."""
