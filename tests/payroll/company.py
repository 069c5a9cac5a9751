"""A company for the tests of payroll: staff as HR tells of them, and runs from start to end."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID, uuid4

from shared.harness.kello import Kello
from shared.schemas.base import Payload
from shared.schemas.hr import EmployeeHired
from shared.schemas.payroll import (
    ApprovePayrollRun,
    PayrollReportGenerated,
    PayrollRunCalculated,
    PayrollRunCompleted,
    StartPayrollRun,
)

SALARY = 200_00
TAX = 30_00
NET = 170_00
"""In Italy, where the example brackets hold and nothing else is withheld: 10 % up to 100.00, 20 % from there."""


def hired(employee_id: UUID, *, salary: int = SALARY, token: str | None = None, **details: Any) -> EmployeeHired:
    """A hire; any field can be given."""
    stated = {
        "country": "IT",
        "currency": "EUR",
        "department": "office",
        "hired_on": date(2024, 1, 1),
        "locale": "it-IT",
        "zone": "Europe/Rome",
        "name": "Somebody",
        "version": 1,
    }
    return EmployeeHired(
        employee_id=employee_id, monthly_salary=salary, payment_token=token or "tok_ok", **(stated | details)
    )


@dataclass
class Company:
    """Payroll runs in here. What is asked for goes out as commands, and what comes is awaited."""

    kello: Kello
    runs: list[UUID] = field(default_factory=list)

    async def tell(self, *facts: Payload) -> None:
        """Publishes facts of HR, and waits until payroll has them."""
        await self.kello.publish(*facts)
        await self.kello.settled("payroll")

    async def hire(self, *tokens: str, **details: Any) -> list[UUID]:
        """One employee for each payment token."""
        staff = [uuid4() for _ in tokens]
        await self.tell(*(hired(each, token=token, **details) for each, token in zip(staff, tokens, strict=True)))
        return staff

    async def calculated(self, period: str = "2026-01", **details: Any) -> PayrollRunCalculated:
        """A run, calculated. Anna started it."""
        run_id = uuid4()
        self.runs.append(run_id)
        start = {"currency": "EUR", "issued_by": "anna"} | details
        await self.kello.publish(StartPayrollRun(run_id=run_id, period=period, **start))
        return await self.kello.expect(PayrollRunCalculated, run_id=run_id)

    async def completed(self, period: str = "2026-01", **details: Any) -> PayrollRunCompleted:
        """A run, paid. Anna started it and Berta approved it."""
        run = await self.calculated(period, **details)
        await self.kello.publish(ApprovePayrollRun(run_id=run.run_id, issued_by="berta"))
        return await self.kello.expect(PayrollRunCompleted, run_id=run.run_id)

    async def reported(self, run_id: UUID, *, count: int = 1) -> PayrollReportGenerated:
        return await self.kello.expect(PayrollReportGenerated, run_id=run_id, count=count)

    async def payslip(self, run_id: UUID, employee_id: UUID) -> dict[str, Any]:
        """The payslip of an employee in a run, as HTTP answers it, with its components."""
        (row,) = await self.kello.rows(
            "payroll", "SELECT id FROM payslip WHERE run_id = $1 AND employee_id = $2", run_id, employee_id
        )
        status, body = await self.kello.get("payroll", f"/payslips/{row['id']}")
        assert status == 200, body
        payslip: dict[str, Any] = body
        return payslip

    def captures(self, employee_payslips: set[str] | None = None) -> list[Any]:
        """What the gateway paid out: all of it, or for these payslips."""
        payouts = [each for each in self.kello.sandboxes.gateway.captures() if each.kind == "payout"]
        return [each for each in payouts if employee_payslips is None or each.reference in employee_payslips]
