"""The ledger in PostgreSQL: insert, and nothing else."""

from collections.abc import Sequence

from services.billing.domain.ledger import Allocation, Entry
from shared.messaging.database import Tx


async def insert_entries(tx: Tx, entries: Sequence[Entry]) -> None:
    """Entries, then all their postings: the database refuses what does not balance."""
    await tx.execute(
        """
        INSERT INTO ledger_entry (id, account_id, currency, kind, business_on, invoice_id, payment_id)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::date[], $6::uuid[], $7::uuid[])
        """,
        [each.id for each in entries],
        [each.account_id for each in entries],
        [each.currency for each in entries],
        [each.kind for each in entries],
        [each.business_on for each in entries],
        [each.invoice_id for each in entries],
        [each.payment_id for each in entries],
    )
    await tx.execute(
        """
        INSERT INTO ledger_posting (entry_id, ledger_account, amount)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[])
        """,
        [each.id for each in entries for _ in each.postings],
        [account for each in entries for account, _ in each.postings],
        [amount for each in entries for _, amount in each.postings],
    )


async def insert_allocations(tx: Tx, allocations: Sequence[Allocation]) -> None:
    await tx.execute(
        """
        INSERT INTO allocation (entry_id, invoice_id, payment_id, amount)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])
        """,
        [each.entry_id for each in allocations],
        [each.invoice_id for each in allocations],
        [each.payment_id for each in allocations],
        [each.amount for each in allocations],
    )
