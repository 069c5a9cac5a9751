"""The roots."""

from collections.abc import Sequence
from uuid import UUID

from services.customer.domain.party import Party
from shared.messaging.database import Tx, expect_rows
from shared.messaging.working_set import Changed


async def lock(tx: Tx, ids: Sequence[UUID]) -> list[Party]:
    """The parties among these ids that exist, locked in the order of their ids. Read their children afterwards."""
    rows = await tx.fetch("SELECT id, kind FROM party WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE", ids)
    return [Party(row["id"], row["kind"]) for row in rows]


async def insert(tx: Tx, parties: Sequence[Party]) -> None:
    """In the order of their ids, for two processes may meet the same ones at once."""
    ordered = sorted(parties, key=lambda party: party.id)
    await tx.execute(
        "INSERT INTO party (id, kind) SELECT * FROM unnest($1::uuid[], $2::text[])",
        [party.id for party in ordered],
        [party.kind for party in ordered],
    )


async def update(tx: Tx, changed: Sequence[Changed[Party]]) -> None:
    status = await tx.execute(
        """
        UPDATE party AS p SET kind = u.kind
        FROM unnest($1::uuid[], $2::text[], $3::text[]) AS u (id, loaded, kind)
        WHERE p.id = u.id AND p.kind = u.loaded
        """,
        [each.before.id for each in changed],
        [each.before.kind for each in changed],
        [each.after.kind for each in changed],
    )
    expect_rows(status, len(changed))
