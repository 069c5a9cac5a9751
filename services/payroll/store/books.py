"""The ledger and the reports in PostgreSQL: both only ever added to."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from services.payroll.domain.ledger import Cost, Entry
from services.payroll.domain.report import ComponentCode, Report
from services.payroll.domain.run import Skipped
from shared.messaging.database import Tx


async def costs_of(tx: Tx, runs: Sequence[UUID]) -> list[Cost]:
    """The components of runs, summed by department."""
    rows = await tx.fetch(
        """
        SELECT p.run_id, p.department, c.kind, c.code, sum(c.amount)::bigint
        FROM payslip AS p
        JOIN payslip_component AS c ON c.payslip_id = p.id
        WHERE p.run_id = ANY ($1::uuid[])
        GROUP BY p.run_id, p.department, c.kind, c.code
        ORDER BY p.run_id, p.department, c.kind, c.code
        """,
        runs,
    )
    return [Cost(*row) for row in rows]


async def booked_payments_of(tx: Tx, runs: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    """What the books already show as paid, by run and department."""
    rows = await tx.fetch(
        """
        SELECT e.run_id, e.department, (-sum(p.amount))::bigint AS amount
        FROM ledger_entry AS e
        JOIN ledger_posting AS p ON p.entry_id = e.id
        WHERE e.run_id = ANY ($1::uuid[]) AND p.account = 'bank'
        GROUP BY e.run_id, e.department
        """,
        runs,
    )
    booked: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    for row in rows:
        booked[row["run_id"]][row["department"]] = row["amount"]
    return booked


async def insert_entries(tx: Tx, entries: Sequence[Entry]) -> None:
    """The entries, then their postings: the database checks at commit that each balances."""
    await tx.execute(
        """
        INSERT INTO ledger_entry (id, run_id, department, currency, kind, business_on)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::date[])
        """,
        [entry.id for entry in entries],
        [entry.run_id for entry in entries],
        [entry.department for entry in entries],
        [entry.currency for entry in entries],
        [entry.kind for entry in entries],
        [entry.business_on for entry in entries],
    )
    postings = [(entry.id, account, amount) for entry in entries for account, amount in entry.postings]
    await tx.execute(
        """
        INSERT INTO ledger_posting (entry_id, account, amount)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[])
        """,
        [entry_id for entry_id, _, _ in postings],
        [account for _, account, _ in postings],
        [amount for _, _, amount in postings],
    )


async def component_sums_of(tx: Tx, runs: Sequence[UUID]) -> dict[UUID, dict[ComponentCode, int]]:
    """By payslip and component."""
    rows = await tx.fetch(
        """
        SELECT c.payslip_id, c.kind, c.code, sum(c.amount)::bigint AS amount
        FROM payslip AS p
        JOIN payslip_component AS c ON c.payslip_id = p.id
        WHERE p.run_id = ANY ($1::uuid[])
        GROUP BY c.payslip_id, c.kind, c.code
        """,
        runs,
    )
    sums: defaultdict[UUID, dict[ComponentCode, int]] = defaultdict(dict)
    for row in rows:
        sums[row["payslip_id"]][row["kind"], row["code"]] = row["amount"]
    return sums


async def skipped_in(tx: Tx, runs: Sequence[UUID]) -> list[Skipped]:
    rows = await tx.fetch(
        "SELECT run_id, employee_id, code, payslip_id FROM skipped_employee WHERE run_id = ANY ($1::uuid[])", runs
    )
    return [Skipped(*row) for row in rows]


async def insert_reports(tx: Tx, reports: Sequence[Report]) -> None:
    await tx.execute(
        """
        INSERT INTO report (id, run_id, media_type, content, sha256, rows, generated_at)
        SELECT * FROM unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::integer[], $7::timestamptz[]
        )
        """,
        [report.id for report in reports],
        [report.run_id for report in reports],
        [report.media_type for report in reports],
        [report.content for report in reports],
        [report.sha256 for report in reports],
        [report.rows for report in reports],
        [report.generated_at for report in reports],
    )
