"""The ledger in PostgreSQL: insert, and nothing else."""

from collections.abc import Sequence

from services.billing.domain.ledger import Allocation, Entry, Postings
from shared.messaging.database import COMMAND_TIMEOUT_SECONDS, Tx


async def insert_entries(tx: Tx, entries: Sequence[Entry]) -> None:
    """Entries with their postings: the database refuses what does not balance."""
    await tx.copy_records_to_table(
        "ledger_entry",
        columns=("id", "account_id", "currency", "kind", "business_on", "invoice_id", "payment_id", *Postings._fields),
        records=[
            (e.id, e.account_id, e.currency, e.kind, e.business_on, e.invoice_id, e.payment_id, *e.postings)
            for e in entries
        ],
        timeout=COMMAND_TIMEOUT_SECONDS,
    )


async def insert_allocations(tx: Tx, allocations: Sequence[Allocation]) -> None:
    await tx.copy_records_to_table(
        "allocation",
        columns=("entry_id", "invoice_id", "payment_id", "amount"),
        records=[(each.entry_id, each.invoice_id, each.payment_id, each.amount) for each in allocations],
        timeout=COMMAND_TIMEOUT_SECONDS,
    )
