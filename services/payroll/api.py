"""What payroll answers over HTTP: runs, reports, payslips and their payments. Read-only; amounts are minor units."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel

from services.payroll.store import views
from shared.messaging.database import Pool
from shared.messaging.http import NotFound, Paged, reader


class RunReport(BaseModel):
    """The newest report of a run; its bytes are at /runs/{run_id}/report."""

    report_id: UUID
    sha256: str


class Run(BaseModel):
    """A run and its sums. `employees` counts the payslips; `skipped` employees have none."""

    run_id: UUID
    period: str
    currency: str
    group: str | None
    legal_entity: str
    state: str
    started_by: str
    approved_by: str | None
    employees: int
    skipped: int
    gross: int
    withholdings: int
    deductions: int
    net: int
    nothing_due: int
    paid: int
    failed: int
    paid_amount: int
    failed_amount: int
    version: int
    report: RunReport | None


class PayslipSummary(BaseModel):
    """A payslip, and what became of its payment: calculated, nothing_due, paying, unknown, paid or failed."""

    payslip_id: UUID
    run_id: UUID
    employee_id: UUID
    period: str
    currency: str
    department: str
    gross: int
    withholdings: int
    deductions: int
    net: int
    state: str
    paid_on: date | None
    payment_reference: str | None
    failure_code: str | None
    failure_reason: str | None
    version: int


class DatedComponent(BaseModel):
    """A part of a payslip over some days, both ends included."""

    kind: str
    code: str
    amount: int
    starts_on: date
    ends_on: date
    source_id: UUID | None


class Payslip(PayslipSummary):
    """A payslip with its parts."""

    components: list[DatedComponent]


class Payslips(BaseModel):
    """One page; `next` is the `after` of the next one, where there may be one."""

    payslips: list[PayslipSummary]
    next: UUID | None


class EmployeePayslips(Payslips):
    """An employee's payslips. `as_of` is the time of the last fact that HR has told about the employee."""

    employee_id: UUID
    as_of: dict[str, datetime | None]


class SkippedEmployee(BaseModel):
    """Why an employee has no payslip in a run; `payslip_id` is the one of the same month that is there already."""

    employee_id: UUID
    code: str
    payslip_id: UUID | None


class SkippedEmployees(BaseModel):
    """One page; `next` is the `after` of the next one, where there may be one."""

    skipped: list[SkippedEmployee]
    next: UUID | None


def routes(pool: Pool) -> APIRouter:
    router = APIRouter(dependencies=[reader("payroll:read")])
    _add_runs(router, pool)
    _add_payslips(router, pool)
    return router


def _add_runs(router: APIRouter, pool: Pool) -> None:
    @router.get("/runs/{run_id}")
    async def run(run_id: UUID) -> Run:
        """One run: how far it is, and its sums."""
        row = await views.run_row(pool, run_id)
        if row is None:
            raise NotFound("run", run_id)
        has_report = row["report_id"] is not None
        report = RunReport(report_id=row["report_id"], sha256=row["report_sha256"]) if has_report else None
        return Run(**row, report=report)

    @router.get("/runs/{run_id}/payslips")
    async def payslips(run_id: UUID, page: Paged) -> Payslips:
        """The payslips of a run, page by page."""
        if await views.run_row(pool, run_id) is None:
            raise NotFound("run", run_id)
        rows = await views.payslip_rows_of_run(pool, run_id, page.after, page.limit)
        found = [PayslipSummary(**row) for row in rows]
        return Payslips(payslips=found, next=_next([each.payslip_id for each in found], page.limit))

    @router.get("/runs/{run_id}/skipped")
    async def skipped(run_id: UUID, page: Paged) -> SkippedEmployees:
        """Who got no payslip in a run, and why; page by page."""
        if await views.run_row(pool, run_id) is None:
            raise NotFound("run", run_id)
        rows = await views.skipped_rows(pool, run_id, page.after, page.limit)
        found = [SkippedEmployee(**row) for row in rows]
        return SkippedEmployees(skipped=found, next=_next([each.employee_id for each in found], page.limit))

    @router.get("/runs/{run_id}/report", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
    async def report(run_id: UUID, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """The register as CSV. The ETag is the SHA-256 of its bytes, as PayrollReportGenerated tells it."""
        row = await views.report_row(pool, run_id)
        if row is None:
            raise NotFound("report of run", run_id)
        etag = f'"{row["sha256"]}"'
        if if_none_match == etag:
            return Response(status_code=304, headers={"ETag": etag})
        disposition = f'attachment; filename="payroll-{run_id}.csv"'
        headers = {"ETag": etag, "Content-Disposition": disposition}
        return Response(row["content"], media_type=row["media_type"], headers=headers)


def _add_payslips(router: APIRouter, pool: Pool) -> None:
    @router.get("/payslips/{payslip_id}")
    async def payslip(payslip_id: UUID) -> Payslip:
        """One payslip with its components."""
        row = await views.payslip_row(pool, payslip_id)
        if row is None:
            raise NotFound("payslip", payslip_id)
        components = [DatedComponent(**each) for each in await views.component_rows(pool, payslip_id)]
        return Payslip(**row, components=components)

    @router.get("/employees/{employee_id}/payslips")
    async def payslips_of_employee(employee_id: UUID, page: Paged) -> EmployeePayslips:
        """An employee's payslips, page by page."""
        employee = await views.employee_row(pool, employee_id)
        if employee is None:
            raise NotFound("employee", employee_id)
        rows = await views.payslip_rows_of_employee(pool, employee_id, page.after, page.limit)
        found = [PayslipSummary(**row) for row in rows]
        return EmployeePayslips(
            employee_id=employee_id,
            payslips=found,
            next=_next([each.payslip_id for each in found], page.limit),
            as_of={"hr.events": employee["source_time"]},
        )


def _next(ids: list[UUID], limit: int) -> UUID | None:
    return ids[-1] if len(ids) == limit else None
