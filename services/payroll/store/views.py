"""What payroll's HTTP reads: rows as they are answered. Every list is a keyset page."""

from uuid import UUID

from shared.messaging.database import Pool, Row


async def run_row(pool: Pool, run_id: UUID) -> Row | None:
    """A run, with its newest report."""
    return await pool.fetchrow(
        """
        SELECT r.id AS run_id, to_char(r.month, 'YYYY-MM') AS period, r.currency, r.staff_group AS group,
            r.legal_entity, r.state, r.started_by, r.approved_by, r.employees, r.skipped, r.gross, r.withholdings,
            r.deductions, r.net, r.nothing_due, r.paid, r.failed, r.paid_amount, r.failed_amount, r.version,
            p.id AS report_id, p.sha256 AS report_sha256
        FROM payroll_run AS r
        LEFT JOIN LATERAL (
            SELECT id, sha256 FROM report WHERE run_id = r.id ORDER BY generated_at DESC, id DESC LIMIT 1
        ) AS p ON true
        WHERE r.id = $1
        """,
        run_id,
    )


async def payslip_rows_of_run(pool: Pool, run_id: UUID, after: UUID | None, limit: int) -> list[Row]:
    return await pool.fetch(
        """
        SELECT id AS payslip_id, run_id, employee_id, to_char(month, 'YYYY-MM') AS period, currency, department,
            gross, withholdings, deductions, net, state, paid_on, payment_reference, failure_code, failure_reason,
            version
        FROM payslip
        WHERE run_id = $1 AND ($2::uuid IS NULL OR id > $2)
        ORDER BY id
        LIMIT $3
        """,
        run_id,
        after,
        limit,
    )


async def skipped_rows(pool: Pool, run_id: UUID, after: UUID | None, limit: int) -> list[Row]:
    return await pool.fetch(
        """
        SELECT employee_id, code, payslip_id
        FROM skipped_employee
        WHERE run_id = $1 AND ($2::uuid IS NULL OR employee_id > $2)
        ORDER BY employee_id
        LIMIT $3
        """,
        run_id,
        after,
        limit,
    )


async def payslip_row(pool: Pool, payslip_id: UUID) -> Row | None:
    return await pool.fetchrow(
        """
        SELECT id AS payslip_id, run_id, employee_id, to_char(month, 'YYYY-MM') AS period, currency, department,
            gross, withholdings, deductions, net, state, paid_on, payment_reference, failure_code, failure_reason,
            version
        FROM payslip
        WHERE id = $1
        """,
        payslip_id,
    )


async def component_rows(pool: Pool, payslip_id: UUID) -> list[Row]:
    return await pool.fetch(
        """
        SELECT kind, code, amount, starts_on, ends_on, source_id
        FROM payslip_component
        WHERE payslip_id = $1
        ORDER BY line
        """,
        payslip_id,
    )


async def employee_row(pool: Pool, employee_id: UUID) -> Row | None:
    """An employee of whom HR has told the hire; those of whom only other facts came are not known yet."""
    return await pool.fetchrow(
        "SELECT id, source_version, source_time FROM employee WHERE id = $1 AND currency IS NOT NULL", employee_id
    )


async def payslip_rows_of_employee(pool: Pool, employee_id: UUID, after: UUID | None, limit: int) -> list[Row]:
    """In the order in which they were calculated."""
    return await pool.fetch(
        """
        SELECT id AS payslip_id, run_id, employee_id, to_char(month, 'YYYY-MM') AS period, currency, department,
            gross, withholdings, deductions, net, state, paid_on, payment_reference, failure_code, failure_reason,
            version
        FROM payslip
        WHERE employee_id = $1 AND ($2::uuid IS NULL OR id > $2)
        ORDER BY id
        LIMIT $3
        """,
        employee_id,
        after,
        limit,
    )


async def report_row(pool: Pool, run_id: UUID) -> Row | None:
    """The newest report of a run."""
    return await pool.fetchrow(
        """
        SELECT id, media_type, content, sha256
        FROM report
        WHERE run_id = $1
        ORDER BY generated_at DESC, id DESC
        LIMIT 1
        """,
        run_id,
    )
