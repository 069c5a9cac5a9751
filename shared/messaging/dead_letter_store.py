"""What operators did about dead letters, in PostgreSQL: their ends, and their edits."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

import ormsgpack

from shared.messaging.database import Pool, Row, Tx
from shared.messaging.dead_letters import Raw
from shared.messaging.outbox import Headers

EDITS_KEPT_DAYS = 30
"""As long as the letters themselves: the deadline for erasure."""


@dataclass(frozen=True, slots=True)
class End:
    """How a letter ended, and by whom. `edit_number`: which edit was replayed, if any; `reason`: why it was dropped."""

    letter_id: str
    outcome: Literal["replayed", "dropped"]
    by: str
    edit_number: int | None = None
    reason: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """A letter mended by hand. `headers` is None once the content was forgotten."""

    letter_id: str
    number: int
    by: str
    at: datetime
    sha256: str
    key: bytes | None
    value: bytes | None
    headers: Headers | None


async def end(tx: Tx, ending: End) -> bool:
    """Ends a letter, with the transaction that does it; False where somebody ended it before.

    Whoever comes while another one is at it waits for that one's commit or rollback.
    """
    row = await tx.fetchrow(
        """
        INSERT INTO messaging.dead_letter_end (letter_id, outcome, ended_by, edit_number, reason)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
        RETURNING letter_id
        """,
        ending.letter_id,
        ending.outcome,
        ending.by,
        ending.edit_number,
        ending.reason,
    )
    return row is not None


async def ends_of(tx: Tx, letter_ids: Collection[str]) -> dict[str, End]:
    """The ends of those that ended."""
    rows = await tx.fetch(
        """
        SELECT letter_id, outcome, ended_by, edit_number, reason, ended_at
        FROM messaging.dead_letter_end WHERE letter_id = ANY ($1::text[])
        """,
        list(letter_ids),
    )
    return {row["letter_id"]: End(*row) for row in rows}


async def edit(tx: Tx, letter_id: str, content: Raw, by: str) -> int:
    """Keeps an edit, the newest one from now on; returns its number."""
    number: int = await tx.fetchval(
        """
        INSERT INTO messaging.dead_letter_edit (letter_id, number, edited_by, sha256, key, value, headers)
        SELECT $1, 1 + coalesce(max(e.number), 0), $2, $3, $4, $5, $6
        FROM messaging.dead_letter_edit AS e WHERE e.letter_id = $1
        RETURNING number
        """,
        letter_id,
        by,
        sha256(content.value or b"").hexdigest(),
        content.key,
        content.value,
        ormsgpack.packb(list(content.headers)),
    )
    return number


async def edits_of(tx: Tx, letter_ids: Collection[str]) -> dict[str, list[Edit]]:
    """The edits of those that were edited, the newest last."""
    rows = await tx.fetch(
        """
        SELECT letter_id, number, edited_by, edited_at, sha256, key, value, headers
        FROM messaging.dead_letter_edit WHERE letter_id = ANY ($1::text[])
        ORDER BY letter_id, number
        """,
        list(letter_ids),
    )
    found: dict[str, list[Edit]] = {}
    for row in rows:
        found.setdefault(row["letter_id"], []).append(_edit(row))
    return found


async def forget_old_edits(pool: Pool) -> None:
    """What an edit said is forgotten with the letter that it mended; who made it, and when, stays."""
    await pool.execute(
        """
        UPDATE messaging.dead_letter_edit SET key = NULL, value = NULL, headers = NULL
        WHERE headers IS NOT NULL AND edited_at < clock_timestamp() - make_interval(days => $1)
        """,
        EDITS_KEPT_DAYS,
    )


def _edit(row: Row) -> Edit:
    headers = row["headers"]
    return Edit(
        row["letter_id"],
        row["number"],
        row["edited_by"],
        row["edited_at"],
        row["sha256"],
        row["key"],
        row["value"],
        None if headers is None else unpacked(headers),
    )


def unpacked(headers: bytes) -> list[tuple[str, bytes | None]]:
    """The headers of an edit."""
    return [(name, value) for name, value in ormsgpack.unpackb(headers)]
