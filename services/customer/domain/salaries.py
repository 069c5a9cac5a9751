"""Whether employees got their salary, as payroll says; a payment that failed opens a ticket by itself.

Care knows employees by id alone: who they are stands on hr.events, which this service does not read.
"""

from dataclasses import replace
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from services.customer.domain import tickets
from services.customer.domain.tickets import Ticket
from shared.messaging.decision import NOTHING, Decision, Ids
from shared.schemas.immutable import immutable
from shared.schemas.payroll import PayslipCalculated, SalaryPaid, SalaryPaymentFailed, SalaryPaymentUnknown

SalaryStatus = Literal["calculated", "unknown", "paid", "failed"]
Told: TypeAlias = PayslipCalculated | SalaryPaid | SalaryPaymentFailed | SalaryPaymentUnknown


@immutable(frozen=True, slots=True)
class SalaryPayment:
    """A copy of what payroll said last of a payslip; amounts in minor units."""

    payslip_id: UUID
    employee_id: UUID
    run_id: UUID
    period: str
    currency: str
    net: int
    status: SalaryStatus
    code: str | None
    """Why it failed."""
    payment_reference: str | None
    source_version: int
    source_time: datetime

    @property
    def key(self) -> UUID:
        return self.payslip_id

    @property
    def root(self) -> UUID:
        return self.employee_id


def payment_of(event: Told, at: datetime) -> SalaryPayment:
    status: SalaryStatus
    code = reference = None
    match event:
        case PayslipCalculated():
            status = "calculated"
        case SalaryPaid():
            status, reference = "paid", event.payment_reference
        case SalaryPaymentFailed():
            status, code = "failed", event.code
        case SalaryPaymentUnknown():
            status = "unknown"
    return SalaryPayment(
        payslip_id=event.payslip_id,
        employee_id=event.employee_id,
        run_id=event.run_id,
        period=event.period,
        currency=event.currency,
        net=event.net,
        status=status,
        code=code,
        payment_reference=reference,
        source_version=event.version,
        source_time=at,
    )


def ask_for_help(ticket: Ticket | None, event: SalaryPaymentFailed, now: datetime, ids: Ids) -> Decision:
    """One ticket per payslip: the first failure opens it, a later one reopens it."""
    if ticket is None:
        return tickets.opened(_ticket(ids.next(), event, now))
    if _is_old(ticket, event.version):
        return NOTHING
    heard = replace(ticket, payslip_version=event.version)
    return Decision((heard,)) if ticket.status == "open" else tickets.reopen(heard, now)


def help_came(ticket: Ticket | None, event: SalaryPaid, now: datetime) -> Decision:
    """The salary was paid after all: its ticket is closed."""
    if ticket is None or _is_old(ticket, event.version):
        return NOTHING
    heard = replace(ticket, payslip_version=event.version)
    if ticket.status == "closed":
        return Decision((heard,))
    return tickets.resolve_and_close(heard, "The salary was paid.", now)


def _is_old(ticket: Ticket, version: int) -> bool:
    return ticket.payslip_version is not None and version <= ticket.payslip_version


def _ticket(ticket_id: UUID, event: SalaryPaymentFailed, now: datetime) -> Ticket:
    return Ticket(
        id=ticket_id,
        requester_id=event.employee_id,
        requester_kind="employee",
        category="salary",
        subject_line=f"Salary of {event.period} was not paid",
        text=f"The payment of the net salary failed: {event.code}. Correct the account and let payroll try again.",
        priority="high",
        opened_by="kello/customer",
        opened_at=now,
        payslip_id=event.payslip_id,
        payslip_version=event.version,
    )
