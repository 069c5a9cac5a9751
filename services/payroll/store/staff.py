"""Employees and the facts about them in PostgreSQL: copies of what hr.events says."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from services.payroll.domain.staff import Absence, Advance, Employee, Employment, Overtime, Salary, Stated
from shared.messaging.database import Row, Tx, expect_rows
from shared.messaging.working_set import Changed


async def lock_employees(tx: Tx, ids: Sequence[UUID]) -> list[Employee]:
    """Those that are there, under their locks."""
    rows = await tx.fetch(
        """
        SELECT id, version, source_version, source_time, currency, currency_version, country, country_version,
            department, department_version, payment_token, payment_token_version
        FROM employee
        WHERE id = ANY ($1::uuid[])
        ORDER BY id
        FOR NO KEY UPDATE
        """,
        ids,
    )
    return [_employee(row) for row in rows]


def _employee(row: Row) -> Employee:
    return Employee(
        row["id"],
        row["version"],
        row["source_version"],
        row["source_time"],
        _stated(row, "currency"),
        _stated(row, "country"),
        _stated(row, "department"),
        _stated(row, "payment_token"),
    )


def _stated(row: Row, name: str) -> Stated | None:
    value = row[name]
    return None if value is None else Stated(value, row[f"{name}_version"])


async def insert_employees(tx: Tx, employees: Sequence[Employee]) -> None:
    await tx.execute(
        """
        INSERT INTO employee (
            id, version, source_version, source_time, currency, currency_version, country, country_version,
            department, department_version, payment_token, payment_token_version
        )
        SELECT * FROM unnest(
            $1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::text[], $6::bigint[], $7::text[],
            $8::bigint[], $9::text[], $10::bigint[], $11::text[], $12::bigint[]
        ) AS b (id)
        ORDER BY id
        """,
        [each.id for each in employees],
        [each.version for each in employees],
        [each.source_version for each in employees],
        [each.source_time for each in employees],
        *_details(employees),
    )


async def update_employees(tx: Tx, changes: Sequence[Changed[Employee]]) -> None:
    """Raises Conflict where one is not as it was loaded."""
    after = [change.after for change in changes]
    status = await tx.execute(
        """
        UPDATE employee AS e
        SET version = b.version, source_version = b.source_version, source_time = b.source_time,
            currency = b.currency, currency_version = b.currency_version,
            country = b.country, country_version = b.country_version,
            department = b.department, department_version = b.department_version,
            payment_token = b.payment_token, payment_token_version = b.payment_token_version
        FROM unnest(
            $1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::text[], $7::bigint[],
            $8::text[], $9::bigint[], $10::text[], $11::bigint[], $12::text[], $13::bigint[]
        ) AS b (
            id, loaded_version, version, source_version, source_time, currency, currency_version,
            country, country_version, department, department_version, payment_token, payment_token_version
        )
        WHERE e.id = b.id AND e.version = b.loaded_version
        """,
        [each.id for each in after],
        [change.before.version for change in changes],
        [each.version for each in after],
        [each.source_version for each in after],
        [each.source_time for each in after],
        *_details(after),
    )
    expect_rows(status, len(changes))


def _details(employees: Sequence[Employee]) -> list[list[str | None] | list[int | None]]:
    columns: list[list[str | None] | list[int | None]] = []
    for stated in (
        [each.currency for each in employees],
        [each.country for each in employees],
        [each.department for each in employees],
        [each.payment_token for each in employees],
    ):
        columns.append([each.value if each else None for each in stated])
        columns.append([each.version if each else None for each in stated])
    return columns


async def copy_employments(tx: Tx, facts: Sequence[Employment]) -> None:
    """What is known already stays: a fact of one version never changes."""
    await tx.execute(
        """
        INSERT INTO employment (employee_id, source_version, joins, day)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::boolean[], $4::date[])
        ON CONFLICT DO NOTHING
        """,
        [each.employee_id for each in facts],
        [each.source_version for each in facts],
        [each.joins for each in facts],
        [each.day for each in facts],
    )


async def copy_salaries(tx: Tx, facts: Sequence[Salary]) -> None:
    """What is known already stays: a fact of one version never changes."""
    await tx.execute(
        """
        INSERT INTO salary (employee_id, source_version, effective_from, monthly)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::date[], $4::bigint[])
        ON CONFLICT DO NOTHING
        """,
        [each.employee_id for each in facts],
        [each.source_version for each in facts],
        [each.effective_from for each in facts],
        [each.monthly for each in facts],
    )


async def copy_absences(tx: Tx, facts: Sequence[Absence]) -> None:
    """A later version corrects an earlier one."""
    await tx.execute(
        """
        INSERT INTO absence AS a (employee_id, absence_id, source_version, starts_on, ends_on, is_paid)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::date[], $5::date[], $6::boolean[])
        ON CONFLICT (employee_id, absence_id) DO UPDATE
        SET source_version = excluded.source_version, starts_on = excluded.starts_on,
            ends_on = excluded.ends_on, is_paid = excluded.is_paid
        WHERE excluded.source_version > a.source_version
        """,
        [each.employee_id for each in facts],
        [each.absence_id for each in facts],
        [each.source_version for each in facts],
        [each.starts_on for each in facts],
        [each.ends_on for each in facts],
        [each.is_paid for each in facts],
    )


async def copy_overtimes(tx: Tx, facts: Sequence[Overtime]) -> None:
    """A later version corrects an earlier one, unless a payslip has paid that."""
    await tx.execute(
        """
        INSERT INTO overtime AS o (employee_id, overtime_id, source_version, worked_on, minutes, rate_basis_points)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::date[], $5::integer[], $6::integer[])
        ON CONFLICT (employee_id, overtime_id) DO UPDATE
        SET source_version = excluded.source_version, worked_on = excluded.worked_on,
            minutes = excluded.minutes, rate_basis_points = excluded.rate_basis_points
        WHERE excluded.source_version > o.source_version AND o.payslip_id IS NULL
        """,
        [each.employee_id for each in facts],
        [each.overtime_id for each in facts],
        [each.source_version for each in facts],
        [each.worked_on for each in facts],
        [each.minutes for each in facts],
        [each.rate_basis_points for each in facts],
    )


async def copy_advances(tx: Tx, facts: Sequence[Advance]) -> None:
    """A later version corrects an earlier one; what was deducted stays deducted."""
    await tx.execute(
        """
        INSERT INTO advance AS a (employee_id, advance_id, source_version, amount, granted_on)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::date[])
        ON CONFLICT (employee_id, advance_id) DO UPDATE
        SET source_version = excluded.source_version, amount = excluded.amount, granted_on = excluded.granted_on
        WHERE excluded.source_version > a.source_version
        """,
        [each.employee_id for each in facts],
        [each.advance_id for each in facts],
        [each.source_version for each in facts],
        [each.amount for each in facts],
        [each.granted_on for each in facts],
    )


async def employments_of(tx: Tx, employees: Sequence[UUID]) -> list[Employment]:
    rows = await tx.fetch(
        """
        SELECT employee_id, source_version, joins, day
        FROM employment
        WHERE employee_id = ANY ($1::uuid[])
        """,
        employees,
    )
    return [Employment(*row) for row in rows]


async def salaries_of(tx: Tx, employees: Sequence[UUID]) -> list[Salary]:
    rows = await tx.fetch(
        """
        SELECT employee_id, source_version, effective_from, monthly
        FROM salary
        WHERE employee_id = ANY ($1::uuid[])
        """,
        employees,
    )
    return [Salary(*row) for row in rows]


async def absences_of(tx: Tx, employees: Sequence[UUID], since: date) -> list[Absence]:
    """Those that reach into days from `since` on."""
    rows = await tx.fetch(
        """
        SELECT employee_id, absence_id, source_version, starts_on, ends_on, is_paid
        FROM absence
        WHERE employee_id = ANY ($1::uuid[]) AND ends_on >= $2
        """,
        employees,
        since,
    )
    return [Absence(*row) for row in rows]


async def open_overtimes_of(tx: Tx, employees: Sequence[UUID]) -> list[Overtime]:
    """Those that no payslip has paid."""
    rows = await tx.fetch(
        """
        SELECT employee_id, overtime_id, source_version, worked_on, minutes, rate_basis_points, payslip_id
        FROM overtime
        WHERE employee_id = ANY ($1::uuid[]) AND payslip_id IS NULL
        """,
        employees,
    )
    return [Overtime(*row) for row in rows]


async def open_advances_of(tx: Tx, employees: Sequence[UUID]) -> list[Advance]:
    """Those of which something is still to be deducted."""
    rows = await tx.fetch(
        """
        SELECT employee_id, advance_id, source_version, amount, granted_on, deducted
        FROM advance
        WHERE employee_id = ANY ($1::uuid[]) AND deducted < amount
        """,
        employees,
    )
    return [Advance(*row) for row in rows]


async def mark_overtimes_paid(tx: Tx, changes: Sequence[Changed[Overtime]]) -> None:
    """Raises Conflict where a payslip has paid one meanwhile."""
    after = [change.after for change in changes]
    status = await tx.execute(
        """
        UPDATE overtime AS o
        SET payslip_id = b.payslip_id
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS b (employee_id, overtime_id, payslip_id)
        WHERE o.employee_id = b.employee_id AND o.overtime_id = b.overtime_id AND o.payslip_id IS NULL
        """,
        [each.employee_id for each in after],
        [each.overtime_id for each in after],
        [each.payslip_id for each in after],
    )
    expect_rows(status, len(changes))


async def deduct_advances(tx: Tx, changes: Sequence[Changed[Advance]]) -> None:
    """Raises Conflict where something was deducted meanwhile."""
    after = [change.after for change in changes]
    status = await tx.execute(
        """
        UPDATE advance AS a
        SET deducted = b.deducted
        FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[])
            AS b (employee_id, advance_id, loaded_deducted, deducted)
        WHERE a.employee_id = b.employee_id AND a.advance_id = b.advance_id AND a.deducted = b.loaded_deducted
        """,
        [each.employee_id for each in after],
        [each.advance_id for each in after],
        [change.before.deducted for change in changes],
        [each.deducted for each in after],
    )
    expect_rows(status, len(changes))
