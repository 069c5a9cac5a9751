"""Customers and their accounts in PostgreSQL."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from services.billing.domain.account import Account, Customer
from shared.messaging.database import Tx, expect_rows
from shared.messaging.working_set import Changed
from shared.schemas.billing import BillTo


async def locked_customers(tx: Tx, ids: Collection[UUID]) -> list[Customer]:
    """Those that exist, locked until the transaction ends."""
    rows = await tx.fetch(
        """
        SELECT id, version, status, bill_to, source_version, source_time, drafts
        FROM customer WHERE id = ANY ($1) ORDER BY id
        FOR NO KEY UPDATE
        """,
        list(ids),
    )
    return [
        Customer(
            row["id"],
            row["version"],
            row["status"],
            BillTo.model_validate_json(row["bill_to"]) if row["bill_to"] else None,
            row["source_version"],
            row["source_time"],
            row["drafts"],
        )
        for row in rows
    ]


async def accounts_of(tx: Tx, customer_ids: Collection[UUID]) -> list[Account]:
    rows = await tx.fetch(
        "SELECT id, customer_id, currency, outstanding, credit, version FROM account WHERE customer_id = ANY ($1)",
        list(customer_ids),
    )
    return [Account(*row) for row in rows]


async def insert_customers(tx: Tx, customers: Iterable[Customer]) -> None:
    """New roots, in the order of their ids: who comes second to the same one runs its batch again."""
    await tx.execute(
        """
        INSERT INTO customer (id, version, status, bill_to, source_version, source_time, drafts)
        SELECT * FROM unnest(
            $1::uuid[], $2::bigint[], $3::text[], $4::jsonb[], $5::bigint[], $6::timestamptz[], $7::integer[]
        )
        """,
        *_customer_columns(sorted(customers, key=lambda customer: customer.id)),
    )


async def update_customers(tx: Tx, changed: Sequence[Changed[Customer]]) -> None:
    status = await tx.execute(
        """
        UPDATE customer AS c
        SET version = u.version, status = u.status, bill_to = u.bill_to, source_version = u.source_version,
            source_time = u.source_time, drafts = u.drafts
        FROM unnest(
            $1::uuid[], $2::bigint[], $3::text[], $4::jsonb[], $5::bigint[], $6::timestamptz[], $7::integer[],
            $8::bigint[]
        ) AS u (id, version, status, bill_to, source_version, source_time, drafts, loaded_version)
        WHERE c.id = u.id AND c.version = u.loaded_version
        """,
        *_customer_columns([each.after for each in changed]),
        [each.before.version for each in changed],
    )
    expect_rows(status, len(changed))


def _customer_columns(customers: Sequence[Customer]) -> tuple[list[Any], ...]:
    return (
        [each.id for each in customers],
        [each.version for each in customers],
        [each.status for each in customers],
        [each.bill_to.model_dump_json() if each.bill_to else None for each in customers],
        [each.source_version for each in customers],
        [each.source_time for each in customers],
        [each.drafts for each in customers],
    )


async def insert_accounts(tx: Tx, accounts: Sequence[Account]) -> None:
    await tx.execute(
        """
        INSERT INTO account (id, customer_id, currency, outstanding, credit, version)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
        """,
        [each.id for each in accounts],
        [each.customer_id for each in accounts],
        [each.currency for each in accounts],
        [each.outstanding for each in accounts],
        [each.credit for each in accounts],
        [each.version for each in accounts],
    )


async def update_accounts(tx: Tx, changed: Sequence[Changed[Account]]) -> None:
    status = await tx.execute(
        """
        UPDATE account AS a
        SET outstanding = u.outstanding, credit = u.credit, version = u.version
        FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
            AS u (id, outstanding, credit, version, loaded_version)
        WHERE a.id = u.id AND a.version = u.loaded_version
        """,
        [each.after.id for each in changed],
        [each.after.outstanding for each in changed],
        [each.after.credit for each in changed],
        [each.after.version for each in changed],
        [each.before.version for each in changed],
    )
    expect_rows(status, len(changed))
