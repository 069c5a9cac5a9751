"""Payments in PostgreSQL."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from services.billing.domain.payment import Payment
from shared.messaging.database import Tx, expect_rows
from shared.messaging.working_set import Changed


async def payments_of(tx: Tx, ids: Collection[UUID], invoice_ids: Collection[UUID]) -> list[Payment]:
    """The payments with these ids, and those in flight for these invoices."""
    rows = await tx.fetch(
        """
        SELECT id, customer_id, account_id, invoice_id, currency, amount, method, state, received_on, reference,
            failure_code, credit, version
        FROM payment
        WHERE id = ANY ($1) OR (invoice_id = ANY ($2) AND state IN ('pending', 'unknown'))
        """,
        list(ids),
        list(invoice_ids),
    )
    return [Payment(*row) for row in rows]


async def insert_payments(tx: Tx, payments: Sequence[Payment]) -> None:
    await tx.execute(
        """
        INSERT INTO payment (
            id, customer_id, account_id, invoice_id, currency, amount, method,
            state, received_on, reference, failure_code, credit, version
        )
        SELECT * FROM unnest(
            $1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::text[],
            $8::text[], $9::date[], $10::text[], $11::text[], $12::bigint[], $13::bigint[]
        )
        """,
        [each.id for each in payments],
        [each.customer_id for each in payments],
        [each.account_id for each in payments],
        [each.invoice_id for each in payments],
        [each.currency for each in payments],
        [each.amount for each in payments],
        [each.method for each in payments],
        *_outcome_columns(payments),
    )


async def update_payments(tx: Tx, changed: Sequence[Changed[Payment]]) -> None:
    status = await tx.execute(
        """
        UPDATE payment AS p
        SET state = u.state, received_on = u.received_on, reference = u.reference, failure_code = u.failure_code,
            credit = u.credit, version = u.version
        FROM unnest(
            $1::uuid[], $2::bigint[], $3::text[], $4::date[], $5::text[], $6::text[], $7::bigint[], $8::bigint[]
        ) AS u (id, loaded_version, state, received_on, reference, failure_code, credit, version)
        WHERE p.id = u.id AND p.version = u.loaded_version
        """,
        [each.before.id for each in changed],
        [each.before.version for each in changed],
        *_outcome_columns([each.after for each in changed]),
    )
    expect_rows(status, len(changed))


def _outcome_columns(payments: Sequence[Payment]) -> tuple[list[Any], ...]:
    return (
        [each.state for each in payments],
        [each.received_on for each in payments],
        [each.reference for each in payments],
        [each.failure_code for each in payments],
        [each.credit for each in payments],
        [each.version for each in payments],
    )
