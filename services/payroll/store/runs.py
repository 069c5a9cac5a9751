"""Runs and payslips in PostgreSQL."""

from collections.abc import Sequence
from datetime import date
from typing import TypeAlias
from uuid import UUID

from services.payroll.domain.month import Month
from services.payroll.domain.payslip import Component, Payslip
from services.payroll.domain.run import Run, Skipped
from shared.messaging.database import Row, Tx, expect_rows
from shared.messaging.working_set import Changed

Cursor: TypeAlias = tuple[UUID, UUID | None]
"""A run, and the last employee who had a turn."""


async def lock_runs(tx: Tx, ids: Sequence[UUID]) -> list[Run]:
    """Those that are there, under their locks."""
    rows = await tx.fetch(
        """
        SELECT id, month, currency, staff_group, legal_entity, started_by, state, version, guard, approved_by,
            employees, skipped, gross, withholdings, deductions, net, nothing_due, paid, failed,
            paid_amount, failed_amount
        FROM payroll_run
        WHERE id = ANY ($1::uuid[])
        ORDER BY id
        FOR NO KEY UPDATE
        """,
        ids,
    )
    return [Run(row["id"], Month(row["month"]), *row[2:]) for row in rows]


async def insert_runs(tx: Tx, runs: Sequence[Run]) -> None:
    await tx.execute(
        """
        INSERT INTO payroll_run (
            id, month, currency, staff_group, legal_entity, started_by, state, version, guard,
            employees, skipped, gross, withholdings, deductions, net, nothing_due, paid, failed,
            paid_amount, failed_amount
        )
        SELECT id, month, currency, staff_group, legal_entity, started_by, state, version, guard,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
        FROM unnest(
            $1::uuid[], $2::date[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
            $9::bigint[]
        ) AS b (id, month, currency, staff_group, legal_entity, started_by, state, version, guard)
        ORDER BY id
        """,
        [run.id for run in runs],
        [run.month.first for run in runs],
        [run.currency for run in runs],
        [run.group for run in runs],
        [run.legal_entity for run in runs],
        [run.started_by for run in runs],
        [run.state for run in runs],
        [run.version for run in runs],
        [run.guard for run in runs],
    )


async def update_runs(tx: Tx, changes: Sequence[Changed[Run]]) -> None:
    """Raises Conflict where one is not as it was loaded."""
    after = [change.after for change in changes]
    status = await tx.execute(
        """
        UPDATE payroll_run AS r
        SET state = b.state, version = b.version, guard = b.guard, approved_by = b.approved_by,
            employees = b.employees, skipped = b.skipped, gross = b.gross, withholdings = b.withholdings,
            deductions = b.deductions, net = b.net, nothing_due = b.nothing_due, paid = b.paid, failed = b.failed,
            paid_amount = b.paid_amount, failed_amount = b.failed_amount
        FROM unnest(
            $1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::integer[], $8::integer[],
            $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::integer[], $14::integer[], $15::integer[],
            $16::bigint[], $17::bigint[]
        ) AS b (
            id, loaded_guard, state, version, guard, approved_by, employees, skipped, gross, withholdings, deductions,
            net, nothing_due, paid, failed, paid_amount, failed_amount
        )
        WHERE r.id = b.id AND r.guard = b.loaded_guard
        """,
        [run.id for run in after],
        [change.before.guard for change in changes],
        [run.state for run in after],
        [run.version for run in after],
        [run.guard for run in after],
        [run.approved_by for run in after],
        [run.employees for run in after],
        [run.skipped for run in after],
        [run.gross for run in after],
        [run.withholdings for run in after],
        [run.deductions for run in after],
        [run.net for run in after],
        [run.nothing_due for run in after],
        [run.paid for run in after],
        [run.failed for run in after],
        [run.paid_amount for run in after],
        [run.failed_amount for run in after],
    )
    expect_rows(status, len(changes))


async def next_candidates(tx: Tx, cursors: Sequence[Cursor], limit: int) -> dict[UUID, list[UUID]]:
    """The employees whose turn it is in each run, in order: those who are paid in its currency, in its group."""
    rows = await tx.fetch(
        """
        SELECT r.id AS run_id, e.id
        FROM unnest($1::uuid[], $2::uuid[]) AS c (run_id, after)
        JOIN payroll_run AS r ON r.id = c.run_id
        CROSS JOIN LATERAL (
            SELECT e.id FROM employee AS e
            WHERE e.currency = r.currency AND (c.after IS NULL OR e.id > c.after)
                AND (r.staff_group IS NULL OR e.department = r.staff_group)
            ORDER BY e.id
            LIMIT $3
        ) AS e
        ORDER BY r.id, e.id
        """,
        [run_id for run_id, _ in cursors],
        [after for _, after in cursors],
        limit,
    )
    return _by_run(rows, cursors)


async def next_on_payroll(tx: Tx, cursors: Sequence[Cursor], limit: int) -> dict[UUID, list[UUID]]:
    """The employees whose payslips are to be paid next in each run, in order."""
    rows = await tx.fetch(
        """
        SELECT c.run_id, p.employee_id AS id
        FROM unnest($1::uuid[], $2::uuid[]) AS c (run_id, after)
        CROSS JOIN LATERAL (
            SELECT p.employee_id FROM payslip AS p
            WHERE p.run_id = c.run_id AND (c.after IS NULL OR p.employee_id > c.after)
            ORDER BY p.employee_id
            LIMIT $3
        ) AS p
        ORDER BY c.run_id, p.employee_id
        """,
        [run_id for run_id, _ in cursors],
        [after for _, after in cursors],
        limit,
    )
    return _by_run(rows, cursors)


def _by_run(rows: Sequence[Row], cursors: Sequence[Cursor]) -> dict[UUID, list[UUID]]:
    found: dict[UUID, list[UUID]] = {run_id: [] for run_id, _ in cursors}
    for row in rows:
        found[row["run_id"]].append(row["id"])
    return found


async def payslips_of_months(tx: Tx, employees: Sequence[UUID], months: Sequence[date]) -> list[Payslip]:
    """Those that employees have for some months, whatever the run."""
    rows = await tx.fetch(
        """
        SELECT id, run_id, employee_id, month, currency, country, department, gross, withholdings, deductions, net,
            state, version, attempt, payment_reference, paid_on, failure_code, failure_reason
        FROM payslip
        WHERE employee_id = ANY ($1::uuid[]) AND month = ANY ($2::date[])
        ORDER BY employee_id, month
        """,
        employees,
        months,
    )
    return [_payslip(row) for row in rows]


async def payslips_named(tx: Tx, ids: Sequence[UUID]) -> list[Payslip]:
    rows = await tx.fetch(
        """
        SELECT id, run_id, employee_id, month, currency, country, department, gross, withholdings, deductions, net,
            state, version, attempt, payment_reference, paid_on, failure_code, failure_reason
        FROM payslip
        WHERE id = ANY ($1::uuid[])
        """,
        ids,
    )
    return [_payslip(row) for row in rows]


async def payslips_of_runs(tx: Tx, runs: Sequence[UUID]) -> list[Payslip]:
    """All of them: for a report."""
    rows = await tx.fetch(
        """
        SELECT id, run_id, employee_id, month, currency, country, department, gross, withholdings, deductions, net,
            state, version, attempt, payment_reference, paid_on, failure_code, failure_reason
        FROM payslip
        WHERE run_id = ANY ($1::uuid[])
        """,
        runs,
    )
    return [_payslip(row) for row in rows]


def _payslip(row: Row) -> Payslip:
    payslip_id, run_id, employee_id, month, *rest = row
    return Payslip(payslip_id, run_id, employee_id, Month(month), *rest)


async def insert_payslips(tx: Tx, payslips: Sequence[Payslip]) -> None:
    await tx.execute(
        """
        INSERT INTO payslip (
            id, run_id, employee_id, month, currency, country, department,
            gross, withholdings, deductions, net, state, version, attempt
        )
        SELECT * FROM unnest(
            $1::uuid[], $2::uuid[], $3::uuid[], $4::date[], $5::text[], $6::text[], $7::text[],
            $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::integer[]
        )
        """,
        [each.id for each in payslips],
        [each.run_id for each in payslips],
        [each.employee_id for each in payslips],
        [each.month.first for each in payslips],
        [each.currency for each in payslips],
        [each.country for each in payslips],
        [each.department for each in payslips],
        [each.gross for each in payslips],
        [each.withholdings for each in payslips],
        [each.deductions for each in payslips],
        [each.net for each in payslips],
        [each.state for each in payslips],
        [each.version for each in payslips],
        [each.attempt for each in payslips],
    )


async def update_payslips(tx: Tx, changes: Sequence[Changed[Payslip]]) -> None:
    """What became of their payments. Raises Conflict where one is not as it was loaded."""
    after = [change.after for change in changes]
    status = await tx.execute(
        """
        UPDATE payslip AS p
        SET state = b.state, version = b.version, attempt = b.attempt, payment_reference = b.payment_reference,
            paid_on = b.paid_on, failure_code = b.failure_code, failure_reason = b.failure_reason
        FROM unnest(
            $1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::integer[], $6::text[], $7::date[], $8::text[],
            $9::text[]
        ) AS b (
            id, loaded_version, state, version, attempt, payment_reference, paid_on, failure_code, failure_reason
        )
        WHERE p.id = b.id AND p.version = b.loaded_version
        """,
        [each.id for each in after],
        [change.before.version for change in changes],
        [each.state for each in after],
        [each.version for each in after],
        [each.attempt for each in after],
        [each.payment_reference for each in after],
        [each.paid_on for each in after],
        [each.failure_code for each in after],
        [each.failure_reason for each in after],
    )
    expect_rows(status, len(changes))


async def insert_components(tx: Tx, components: Sequence[Component]) -> None:
    await tx.execute(
        """
        INSERT INTO payslip_component (payslip_id, line, kind, code, amount, starts_on, ends_on, source_id)
        SELECT * FROM unnest(
            $1::uuid[], $2::integer[], $3::text[], $4::text[], $5::bigint[], $6::date[], $7::date[], $8::uuid[]
        )
        """,
        [each.payslip_id for each in components],
        [each.line for each in components],
        [each.kind for each in components],
        [each.code for each in components],
        [each.amount for each in components],
        [each.starts_on for each in components],
        [each.ends_on for each in components],
        [each.source_id for each in components],
    )


async def insert_skipped(tx: Tx, skipped: Sequence[Skipped]) -> None:
    await tx.execute(
        """
        INSERT INTO skipped_employee (run_id, employee_id, code, payslip_id)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[])
        """,
        [each.run_id for each in skipped],
        [each.employee_id for each in skipped],
        [each.code for each in skipped],
        [each.payslip_id for each in skipped],
    )
