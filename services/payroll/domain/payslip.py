"""A payslip: what an employee gets for a month, and whether it was paid."""

from dataclasses import replace
from datetime import date
from typing import Literal, TypeAlias
from uuid import UUID

from services.payroll.domain.month import Month
from shared.schemas import payroll
from shared.schemas.immutable import immutable
from shared.schemas.payroll import (
    PayslipCalculated,
    SalaryPaid,
    SalaryPaymentFailed,
    SalaryPaymentUnknown,
)

ComponentKind: TypeAlias = Literal["earning", "withholding", "deduction"]
PayslipState: TypeAlias = Literal["calculated", "nothing_due", "paying", "unknown", "paid", "failed"]


@immutable(frozen=True, slots=True)
class Component:
    """One dated part of a payslip. `source_id` names the overtime or the advance that it comes from."""

    payslip_id: UUID
    line: int
    employee_id: UUID
    kind: ComponentKind
    code: str
    amount: int
    starts_on: date
    ends_on: date
    source_id: UUID | None = None

    @property
    def key(self) -> tuple[UUID, int]:
        return self.payslip_id, self.line

    @property
    def root(self) -> UUID:
        return self.employee_id


@immutable(frozen=True, slots=True)
class Payslip:
    """gross = net + withholdings + deductions, to the unit. Amounts never change; only the payment has a history.

    `attempt` counts the payments that were begun, each with an idempotency key of its own; `version` counts the events.
    """

    id: UUID
    run_id: UUID
    employee_id: UUID
    month: Month
    currency: str
    country: str
    department: str
    gross: int
    withholdings: int
    deductions: int
    net: int
    state: PayslipState
    version: int
    attempt: int = 0
    payment_reference: str | None = None
    paid_on: date | None = None
    failure_code: str | None = None
    failure_reason: str | None = None

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.employee_id

    @property
    def is_settled(self) -> bool:
        return self.state in ("paid", "failed", "nothing_due")

    @property
    def payment_key(self) -> str:
        """The name of the payment that is under way: the gateway sees it as part of the idempotency key."""
        return f"{self.id}/{self.attempt}"


@immutable(frozen=True, slots=True)
class Paid:
    """The gateway confirmed a payment."""

    reference: str


@immutable(frozen=True, slots=True)
class Declined:
    """The gateway said no: nothing was paid, and never will be under this key."""

    code: str


def told(payslip: Payslip, components: tuple[Component, ...]) -> PayslipCalculated:
    """What is said about a new payslip."""
    return PayslipCalculated(
        payslip_id=payslip.id,
        employee_id=payslip.employee_id,
        run_id=payslip.run_id,
        period=str(payslip.month),
        currency=payslip.currency,
        gross=payslip.gross,
        withholdings=payslip.withholdings,
        deductions=payslip.deductions,
        net=payslip.net,
        components=tuple(payroll.Component(kind=each.kind, code=each.code, amount=each.amount) for each in components),
        version=payslip.version,
    )


def begun(payslip: Payslip) -> Payslip:
    """The payslip with its next payment under way."""
    return replace(payslip, state="paying", attempt=payslip.attempt + 1, failure_code=None, failure_reason=None)


def paid(payslip: Payslip, payment: Paid, on: date) -> tuple[Payslip, SalaryPaid]:
    """The payslip after the gateway confirmed its payment."""
    after = replace(payslip, state="paid", payment_reference=payment.reference, paid_on=on, version=payslip.version + 1)
    return after, SalaryPaid(
        payslip_id=after.id,
        employee_id=after.employee_id,
        run_id=after.run_id,
        period=str(after.month),
        currency=after.currency,
        net=after.net,
        paid_on=on,
        payment_reference=payment.reference,
        version=after.version,
    )


def failed(payslip: Payslip, code: str, reason: str) -> tuple[Payslip, SalaryPaymentFailed]:
    """The payslip after its payment was certainly not made."""
    after = replace(
        payslip, state="failed", failure_code=code, failure_reason=reason[:200], version=payslip.version + 1
    )
    return after, SalaryPaymentFailed(
        payslip_id=after.id,
        employee_id=after.employee_id,
        run_id=after.run_id,
        period=str(after.month),
        currency=after.currency,
        net=after.net,
        code=code,
        reason=reason[:200],
        version=after.version,
    )


def in_doubt(payslip: Payslip) -> tuple[Payslip, SalaryPaymentUnknown]:
    """The payslip while nobody knows whether its payment was made."""
    after = replace(payslip, state="unknown", version=payslip.version + 1)
    return after, SalaryPaymentUnknown(
        payslip_id=after.id,
        employee_id=after.employee_id,
        run_id=after.run_id,
        period=str(after.month),
        currency=after.currency,
        net=after.net,
        version=after.version,
    )
