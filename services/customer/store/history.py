"""Copies of what others said. Only a higher version replaces what is known."""

from collections.abc import Sequence
from uuid import UUID

import orjson

from services.customer.domain.history import AccountBalance, PaidTotal, TimelineEntry
from services.customer.domain.salaries import SalaryPayment
from shared.messaging.database import Row, Tx, expect_rows
from shared.messaging.working_set import Changed


async def payments(tx: Tx, customer_ids: Sequence[UUID], payment_ids: Sequence[UUID]) -> list[TimelineEntry]:
    """The entries of payments received, given each payment with its customer."""
    rows = await tx.fetch(
        """
        SELECT t.*
        FROM unnest($1::uuid[], $2::uuid[]) AS b (party_id, reference)
        JOIN timeline AS t ON t.party_id = b.party_id AND t.kind = 'payment-received' AND t.reference = b.reference
        """,
        customer_ids,
        payment_ids,
    )
    return [entry_of(row) for row in rows]


def entry_of(row: Row) -> TimelineEntry:
    return TimelineEntry(
        row["id"],
        row["party_id"],
        row["kind"],
        row["reference"],
        row["at"],
        row["amount"],
        row["currency"],
        orjson.loads(row["details"]),
        row["source"],
        row["source_version"],
    )


async def keep_entries(tx: Tx, entries: Sequence[TimelineEntry]) -> None:
    """New ones, and newer versions of those that are known."""
    await tx.execute(
        """
        INSERT INTO timeline AS t (
            id, party_id, kind, reference, at, amount, currency, details, source, source_version
        )
        SELECT * FROM unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[], $6::bigint[], $7::text[], $8::jsonb[],
            $9::text[], $10::bigint[]
        )
        ON CONFLICT (party_id, kind, reference) DO UPDATE
        SET id = excluded.id, at = excluded.at, amount = excluded.amount, currency = excluded.currency,
            details = excluded.details, source = excluded.source, source_version = excluded.source_version
        WHERE excluded.source_version > t.source_version
        """,
        [entry.id for entry in entries],
        [entry.party_id for entry in entries],
        [entry.kind for entry in entries],
        [entry.reference for entry in entries],
        [entry.at for entry in entries],
        [entry.amount for entry in entries],
        [entry.currency for entry in entries],
        [orjson.dumps(entry.details).decode() for entry in entries],
        [entry.source for entry in entries],
        [entry.source_version for entry in entries],
    )


async def keep_balances(tx: Tx, balances: Sequence[AccountBalance]) -> None:
    await tx.execute(
        """
        INSERT INTO account_balance AS b (
            account_id, customer_id, currency, outstanding, credit, source_version, source_time
        )
        SELECT * FROM unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::timestamptz[]
        )
        ON CONFLICT (account_id) DO UPDATE
        SET outstanding = excluded.outstanding, credit = excluded.credit,
            source_version = excluded.source_version, source_time = excluded.source_time
        WHERE excluded.source_version > b.source_version
        """,
        [balance.account_id for balance in balances],
        [balance.customer_id for balance in balances],
        [balance.currency for balance in balances],
        [balance.outstanding for balance in balances],
        [balance.credit for balance in balances],
        [balance.source_version for balance in balances],
        [balance.source_time for balance in balances],
    )


async def paid_totals(tx: Tx, customer_ids: Sequence[UUID]) -> list[PaidTotal]:
    rows = await tx.fetch("SELECT * FROM paid_total WHERE customer_id = ANY ($1::uuid[])", customer_ids)
    return [PaidTotal(**row) for row in rows]


async def insert_paid_totals(tx: Tx, new: Sequence[PaidTotal]) -> None:
    await tx.execute(
        """
        INSERT INTO paid_total (customer_id, currency, amount)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[])
        """,
        [total.customer_id for total in new],
        [total.currency for total in new],
        [total.amount for total in new],
    )


async def update_paid_totals(tx: Tx, changed: Sequence[Changed[PaidTotal]]) -> None:
    status = await tx.execute(
        """
        UPDATE paid_total AS p SET amount = u.amount
        FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[]) AS u (customer_id, currency, loaded, amount)
        WHERE p.customer_id = u.customer_id AND p.currency = u.currency AND p.amount = u.loaded
        """,
        [each.after.customer_id for each in changed],
        [each.after.currency for each in changed],
        [each.before.amount for each in changed],
        [each.after.amount for each in changed],
    )
    expect_rows(status, len(changed))


async def salary_payments(tx: Tx, payslip_ids: Sequence[UUID]) -> list[SalaryPayment]:
    rows = await tx.fetch("SELECT * FROM salary_payment WHERE payslip_id = ANY ($1::uuid[])", payslip_ids)
    return [SalaryPayment(**row) for row in rows]


async def keep_salary_payments(tx: Tx, payments: Sequence[SalaryPayment]) -> None:
    await tx.execute(
        """
        INSERT INTO salary_payment AS s (
            payslip_id, employee_id, run_id, period, currency, net, status, code, payment_reference, source_version,
            source_time
        )
        SELECT * FROM unnest(
            $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
            $9::text[], $10::bigint[], $11::timestamptz[]
        )
        ON CONFLICT (payslip_id) DO UPDATE
        SET net = excluded.net, status = excluded.status, code = excluded.code,
            payment_reference = excluded.payment_reference, source_version = excluded.source_version,
            source_time = excluded.source_time
        WHERE excluded.source_version > s.source_version
        """,
        [payment.payslip_id for payment in payments],
        [payment.employee_id for payment in payments],
        [payment.run_id for payment in payments],
        [payment.period for payment in payments],
        [payment.currency for payment in payments],
        [payment.net for payment in payments],
        [payment.status for payment in payments],
        [payment.code for payment in payments],
        [payment.payment_reference for payment in payments],
        [payment.source_version for payment in payments],
        [payment.source_time for payment in payments],
    )
