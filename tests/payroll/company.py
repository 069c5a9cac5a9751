"""A company for the tests of payroll: staff as HR tells of them, and runs from start to end."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar
from uuid import UUID, uuid4

from deploy.local.sandboxes.gateway import Capture
from shared.harness.kello import DEADLINE_SECONDS, Kello
from shared.schemas.hr import EmployeeEvent, EmployeeHired
from shared.schemas.payroll import (
    ApprovePayrollRun,
    PayrollReportGenerated,
    PayrollRunCalculated,
    PayrollRunCompleted,
    PayslipEvent,
    RunEvent,
    StartPayrollRun,
)

E = TypeVar("E", bound=RunEvent | PayslipEvent)

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
    """Payroll runs in here. What is asked for goes out as commands, and what comes is awaited.

    With a `department`, staff are hired into it and runs are for it, so that companies can share one payroll.
    """

    kello: Kello
    department: str | None = None
    runs: list[UUID] = field(default_factory=list)

    async def tell(self, *facts: EmployeeEvent) -> None:
        """Publishes facts of HR, and waits until payroll has them."""
        await self.kello.publish(*facts)
        await self.kello.settled("payroll")

    def joining(self, employee_id: UUID, **details: Any) -> EmployeeHired:
        """A hire into the company's department."""
        return hired(employee_id, **({"department": self.department} if self.department else {}) | details)

    async def hire(self, *tokens: str, **details: Any) -> list[UUID]:
        """One employee for each payment token."""
        staff = [uuid4() for _ in tokens]
        await self.tell(
            *(self.joining(each, token=token, **details) for each, token in zip(staff, tokens, strict=True))
        )
        return staff

    def start(self, period: str = "2026-01", **details: Any) -> StartPayrollRun:
        """The command for a new run. Anna issues it."""
        run_id = uuid4()
        self.runs.append(run_id)
        stated = {"run_id": run_id, "currency": "EUR", "group": self.department, "issued_by": "anna"}
        return StartPayrollRun(period=period, **(stated | details))

    async def calculated(
        self, period: str = "2026-01", within: float = DEADLINE_SECONDS, **details: Any
    ) -> PayrollRunCalculated:
        """A run, calculated. Anna started it."""
        start = self.start(period, **details)
        await self.kello.publish(start)
        return await self.kello.expect(PayrollRunCalculated, run_id=start.run_id, within=within)

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

    async def events(self, model: type[E], **fields: Any) -> list[E]:
        """What was told about this company's runs and payslips by now."""
        told = await self.kello.events(model, **fields)
        return [each for each in told if each.run_id in self.runs]

    async def captures(self) -> list[Capture]:
        """What the gateway paid out for this company's runs."""
        rows = await self.kello.rows("payroll", "SELECT id FROM payslip WHERE run_id = ANY ($1::uuid[])", self.runs)
        ours = {str(row["id"]) for row in rows}
        return [each for each in self.kello.sandboxes.gateway.captures() if each.reference in ours]
