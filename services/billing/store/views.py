"""What billing shows of itself: reads for its HTTP, none of which locks anything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from uuid import UUID

from shared.messaging.database import ACQUIRE_TIMEOUT_SECONDS, Pool, Row, Tx


@asynccontextmanager
async def snapshot(pool: Pool) -> AsyncIterator[Tx]:
    """Everything that is read within is of one moment."""
    async with (
        pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield connection


async def customer_row(tx: Tx, customer_id: UUID) -> Row | None:
    """Somebody who was ever billed or announced; None for who is not known and who was erased."""
    return await tx.fetchrow(
        "SELECT id, status, source_time FROM customer WHERE id = $1 AND status <> 'erased'", customer_id
    )


async def account_rows(tx: Tx, customer_id: UUID) -> list[Row]:
    return await tx.fetch(
        """
        SELECT id AS account_id, currency, outstanding, credit, version
        FROM account WHERE customer_id = $1 ORDER BY currency
        """,
        customer_id,
    )


async def invoice_row(tx: Tx, invoice_id: UUID) -> Row | None:
    """The whole invoice; None where its customer was erased."""
    return await tx.fetchrow(
        """
        SELECT i.*, c.source_time FROM invoice AS i
        JOIN customer AS c ON c.id = i.customer_id
        WHERE i.id = $1 AND c.status <> 'erased'
        """,
        invoice_id,
    )


async def payment_rows(tx: Tx, invoice_id: UUID) -> list[Row]:
    """The payments that are meant for an invoice, and those that paid some of it."""
    return await tx.fetch(
        """
        SELECT p.id AS payment_id, p.state, p.method, p.amount, p.received_on, p.failure_code,
            coalesce((SELECT sum(a.amount)::bigint FROM allocation AS a
                      WHERE a.invoice_id = $1 AND a.payment_id = p.id), 0) AS allocated
        FROM payment AS p
        WHERE p.id IN (
            SELECT id FROM payment WHERE invoice_id = $1
            UNION SELECT payment_id FROM allocation WHERE invoice_id = $1
        )
        ORDER BY p.id
        LIMIT 1000
        """,
        invoice_id,
    )


async def invoice_rows(tx: Tx, customer_id: UUID, after: UUID | None, limit: int) -> list[Row]:
    """A customer's invoices in the order of their ids: those that we chose follow the time of their orders."""
    return await tx.fetch(
        """
        SELECT id, status, printed, issued_on, due_on, currency, net, tax, total, paid, cause_kind, cause_id, version
        FROM invoice
        WHERE customer_id = $1 AND ($2::uuid IS NULL OR id > $2)
        ORDER BY id
        LIMIT $3
        """,
        customer_id,
        after,
        limit,
    )


async def balances(tx: Tx, account_id: UUID, first: date, last: date) -> tuple[int, int]:
    """What the ledger says was owed (credit is negative) before the first day, and after the last."""
    row = await tx.fetchrow(
        """
        SELECT coalesce(sum(receivable + customer_credit) FILTER (WHERE business_on < $2), 0)::bigint AS opening,
            coalesce(sum(receivable + customer_credit), 0)::bigint AS closing
        FROM ledger_entry
        WHERE account_id = $1 AND business_on <= $3
        """,
        account_id,
        first,
        last,
    )
    return (row["opening"], row["closing"]) if row else (0, 0)


async def movement_rows(
    tx: Tx, account_id: UUID, first: date, last: date, *, after: UUID | None, limit: int
) -> list[Row]:
    """The entries of some days in their order. Credit that was used moves nothing between us, and is left out."""
    return await tx.fetch(
        """
        SELECT e.id AS entry_id, e.business_on, e.kind, e.invoice_id, e.payment_id,
            e.receivable + e.customer_credit AS amount
        FROM ledger_entry AS e
        WHERE e.account_id = $1 AND e.business_on BETWEEN $2 AND $3 AND e.kind <> 'credit_used'
            AND ($4::uuid IS NULL
                 OR (e.business_on, e.id) > (SELECT l.business_on, l.id FROM ledger_entry AS l WHERE l.id = $4))
        ORDER BY e.business_on, e.id
        LIMIT $5
        """,
        account_id,
        first,
        last,
        after,
        limit,
    )
