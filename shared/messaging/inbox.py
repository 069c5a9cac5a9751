"""The inbox: a second publication of one event has no second effect.

Offsets stop redelivery; only the inbox stops a second publication at another offset. Its key is (group, source, id); a
hash of type and value tells an event that came twice from another event that took its id.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b, sha256
from typing import NamedTuple
from uuid import UUID

from shared.messaging.database import Pool, Tx
from shared.schemas.uuids import uuid_of


class Identity(NamedTuple):
    """What makes an event the same event: CloudEvents 1.0 says source + id."""

    source: str
    id: str


def digest_of(group: str, identity: Identity) -> UUID:
    """What the inbox keeps of an identity: half of a SHA-256. In SQL: messaging.inbox_digest(group, source, id)."""
    return uuid_of(sha256("\n".join((group, *identity)).encode()).digest()[:16])


def value_hash(ce_type: str, value: bytes) -> int:
    """A signed 64-bit hash of what an event says."""
    return int.from_bytes(blake2b(value, digest_size=8, key=ce_type.encode()[:64]).digest(), "big", signed=True)


async def remember(tx: Tx, group: str, hashes: Mapping[Identity, int]) -> set[Identity]:
    """Notes every identity; returns those that were not known before."""
    identities = {digest_of(group, identity): identity for identity in hashes}
    rows = await tx.fetch(
        """
        INSERT INTO messaging.inbox (turn, digest, value_hash)
        SELECT t.turn, b.digest, b.value_hash
        FROM unnest($1::uuid[], $2::bigint[]) AS b (digest, value_hash) CROSS JOIN messaging.inbox_turn AS t
        WHERE NOT EXISTS (
            SELECT FROM messaging.inbox AS i WHERE i.turn = 1 - t.turn AND i.digest = b.digest
            OFFSET 0 -- or the planner makes a join of it, and reads the whole inbox for each batch
        )
        ORDER BY b.digest
        ON CONFLICT DO NOTHING
        RETURNING digest
        """,
        list(identities),
        [hashes[identity] for identity in identities.values()],
    )
    return {identities[row[0]] for row in rows}


async def hashes_of(tx: Tx, group: str, identities: Sequence[Identity]) -> dict[Identity, int]:
    """The hashes that known identities were first seen with."""
    by_digest = {digest_of(group, identity): identity for identity in identities}
    rows = await tx.fetch(
        "SELECT i.digest, i.value_hash FROM unnest($1::uuid[]) AS b (digest) JOIN messaging.inbox AS i USING (digest)",
        list(by_digest),
    )
    return {by_digest[row["digest"]]: row["value_hash"] for row in rows}


async def forget(tx: Tx, group: str, identities: Sequence[Identity]) -> None:
    """A dead letter's identity is not kept, so that the event can be sent again once it is mended."""
    await tx.execute(
        "DELETE FROM messaging.inbox AS i USING unnest($1::uuid[]) AS b (digest) WHERE i.digest = b.digest",
        [digest_of(group, identity) for identity in identities],
    )


async def turn_over(pool: Pool, horizon_seconds: float) -> bool:
    """Empties the older table and goes on in it, once the newer one has covered the whole horizon.

    The lock comes first and alone: every batch that wrote before it has committed, and every statement that waits for
    it takes its snapshot afterwards. So no identity is missed while the tables change places.
    """
    async with pool.acquire() as connection, connection.transaction():
        due = await connection.fetchval(
            "SELECT since < clock_timestamp() - make_interval(secs => $1) FROM messaging.inbox_turn", horizon_seconds
        )
        if not due:
            return False
        await connection.execute("LOCK TABLE messaging.inbox IN ACCESS EXCLUSIVE MODE")
        turn = await connection.fetchval(
            """
            UPDATE messaging.inbox_turn SET turn = 1 - turn, since = clock_timestamp()
            WHERE since < clock_timestamp() - make_interval(secs => $1)
            RETURNING turn
            """,
            horizon_seconds,
        )
        if turn == 0:
            await connection.execute("TRUNCATE messaging.inbox_0")
        elif turn == 1:
            await connection.execute("TRUNCATE messaging.inbox_1")
        return turn is not None
