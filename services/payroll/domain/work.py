"""The tasks of payroll: what is done later, and what a call to the gateway needs to know."""

from uuid import UUID

from services.payroll.domain.payslip import Payslip
from services.payroll.domain.run import Run
from shared.messaging.decision import Task
from shared.schemas.base import Value

CALCULATE_PAYSLIPS = "calculate-payslips"
PAY_PAYSLIPS = "pay-payslips"
GENERATE_REPORT = "generate-report"
PAY_SALARY = "pay-salary"


class Turn(Value):
    """A run's next employees: those after this one. A run takes its staff by turns, one transaction each."""

    run_id: UUID
    after: UUID | None = None


class MakeReport(Value):
    """The report of a run as it was completed: `run_version` tells which completion."""

    run_id: UUID
    run_version: int


class PaySalary(Value):
    """One payment to the gateway. Fixed when it is begun, so that all its requests are the same."""

    payslip_id: UUID
    run_id: UUID
    amount: int
    currency: str
    token: str


def turn_to_calculate(run: Run, after: UUID | None = None) -> Task:
    return Task(CALCULATE_PAYSLIPS, f"{run.id}/{after or ''}", str(run.id), Turn(run_id=run.id, after=after))


def turn_to_pay(run: Run, after: UUID | None = None) -> Task:
    return Task(PAY_PAYSLIPS, f"{run.id}/{after or ''}", str(run.id), Turn(run_id=run.id, after=after))


def report_to_make(run: Run) -> Task:
    work = MakeReport(run_id=run.id, run_version=run.version)
    return Task(GENERATE_REPORT, f"{run.id}/{run.version}", str(run.id), work)


def salary_to_pay(payslip: Payslip, token: str) -> Task:
    """The payment that was begun. Its key makes the idempotency key: one for each attempt at a payslip."""
    work = PaySalary(
        payslip_id=payslip.id, run_id=payslip.run_id, amount=payslip.net, currency=payslip.currency, token=token
    )
    return Task(PAY_SALARY, payslip.payment_key, str(payslip.employee_id), work)
