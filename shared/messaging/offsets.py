"""Fenced offsets: how far each partition has had its effect, kept in the transaction of the effects themselves.

A claim gives a partition a fresh random owner; a batch names the owner that it was read under. So whoever was overtaken
(a zombie, a stale batch of one's own) changes nothing, and an unknown commit is settled by trying again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from shared.messaging.database import Row, Tx


class Partition(NamedTuple):
    """A partition of a topic, by the topic's logical name."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Stand:
    """How far a partition is: all below `next_offset` had its effect; the last of it bore `last_timestamp` (ms).

    `is_paused` is told where claims ask, and not to batches: a pause fences them.
    """

    next_offset: int
    last_timestamp: int | None
    dead_run: int
    is_paused: bool = False


Stands: TypeAlias = dict[Partition, Stand]


@dataclass(frozen=True, slots=True)
class Advance:
    """How far a batch takes a partition, under which owner."""

    owner: UUID
    next_offset: int
    last_timestamp: int


@dataclass(frozen=True, slots=True)
class Fence:
    """What the first statement of a batch found: the business time, and each partition that is still ours."""

    now: datetime
    stands: Mapping[Partition, Stand]


async def claim(tx: Tx, group: str, owners: Mapping[Partition, UUID], starts: Mapping[Partition, int]) -> Stands:
    """Makes each owner the only one whose batches count, from now on. A partition never seen begins at its start."""
    partitions = sorted(owners)
    rows = await tx.fetch(
        """
        INSERT INTO messaging.consumer_offset AS o (consumer_group, topic, partition, owner, next_offset)
        SELECT $1, b.topic, b.partition, b.owner, b.start
        FROM unnest($2::text[], $3::integer[], $4::uuid[], $5::bigint[]) AS b (topic, partition, owner, start)
        ORDER BY b.topic, b.partition
        ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET owner = excluded.owner
        RETURNING o.topic, o.partition, o.next_offset, o.last_timestamp, o.dead_run,
            EXISTS (SELECT FROM messaging.consumer_pause AS p WHERE p.consumer_group = $1) AS is_paused
        """,
        group,
        [p.topic for p in partitions],
        [p.partition for p in partitions],
        [owners[p] for p in partitions],
        [starts[p] for p in partitions],
    )
    return _stands(rows)


async def advance(tx: Tx, group: str, advances: Mapping[Partition, Advance]) -> Fence | None:
    """Moves each partition forward and tells where it stood before. A partition that is no longer ours is missing.

    None: not one of them is ours.
    """
    partitions = sorted(advances)
    rows = await tx.fetch(
        """
        WITH batch AS (
            SELECT * FROM unnest($2::text[], $3::integer[], $4::uuid[], $5::bigint[], $6::bigint[])
                AS b (topic, partition, owner, next_offset, last_timestamp)
        ), ours AS MATERIALIZED (
            SELECT o.topic, o.partition
            FROM messaging.consumer_offset AS o JOIN batch AS b USING (topic, partition)
            WHERE o.consumer_group = $1 AND o.owner = b.owner
            ORDER BY o.topic, o.partition
            FOR UPDATE OF o
        )
        UPDATE messaging.consumer_offset AS o
        SET next_offset = greatest(o.next_offset, b.next_offset),
            last_timestamp = CASE WHEN b.next_offset > o.next_offset THEN b.last_timestamp ELSE o.last_timestamp END
        FROM ours JOIN batch AS b USING (topic, partition)
        WHERE o.consumer_group = $1 AND o.topic = ours.topic AND o.partition = ours.partition AND o.owner = b.owner
        RETURNING o.topic, o.partition, old.next_offset, old.last_timestamp, old.dead_run,
            messaging.kello_now() AS now
        """,
        group,
        [p.topic for p in partitions],
        [p.partition for p in partitions],
        [advances[p].owner for p in partitions],
        [advances[p].next_offset for p in partitions],
        [advances[p].last_timestamp for p in partitions],
    )
    if not rows:
        return None
    return Fence(rows[0]["now"], _stands(rows))


async def count_dead_runs(
    tx: Tx, group: str, dead_runs: Mapping[Partition, int], stopped: Collection[Partition]
) -> None:
    """Notes how many dead letters in a row each partition has come to. Its rows are locked already.

    Of those that stop the owner changes: what was read of them beyond this must not be saved, whoever holds it.
    """
    partitions = sorted(dead_runs)
    await tx.execute(
        """
        UPDATE messaging.consumer_offset AS o
        SET dead_run = b.dead_run, owner = CASE WHEN b.is_stopped THEN gen_random_uuid() ELSE o.owner END
        FROM unnest($2::text[], $3::integer[], $4::integer[], $5::boolean[])
            AS b (topic, partition, dead_run, is_stopped)
        WHERE o.consumer_group = $1 AND o.topic = b.topic AND o.partition = b.partition
        """,
        group,
        [p.topic for p in partitions],
        [p.partition for p in partitions],
        [dead_runs[p] for p in partitions],
        [p in stopped for p in partitions],
    )


async def stands_of(tx: Tx, group: str, partitions: Sequence[Partition]) -> Stands:
    """Where partitions stand; one that was never claimed is missing."""
    rows = await tx.fetch(
        """
        SELECT o.topic, o.partition, o.next_offset, o.last_timestamp, o.dead_run,
            EXISTS (SELECT FROM messaging.consumer_pause AS p WHERE p.consumer_group = $1) AS is_paused
        FROM messaging.consumer_offset AS o
        JOIN unnest($2::text[], $3::integer[]) AS b (topic, partition) USING (topic, partition)
        WHERE o.consumer_group = $1
        """,
        group,
        [p.topic for p in partitions],
        [p.partition for p in partitions],
    )
    return _stands(rows)


async def all_stands(tx: Tx, group: str) -> Stands:
    """Where every partition stands that the group has ever claimed."""
    rows = await tx.fetch(
        """
        SELECT topic, partition, next_offset, last_timestamp, dead_run,
            EXISTS (SELECT FROM messaging.consumer_pause AS p WHERE p.consumer_group = $1) AS is_paused
        FROM messaging.consumer_offset WHERE consumer_group = $1
        """,
        group,
    )
    return _stands(rows)


def _stands(rows: Sequence[Row]) -> Stands:
    return {
        Partition(row["topic"], row["partition"]): Stand(
            row["next_offset"], row["last_timestamp"], row["dead_run"], row.get("is_paused", False)
        )
        for row in rows
    }


async def resume(tx: Tx, group: str, partition: Partition | None = None) -> int:
    """Lets partitions that stopped after a run of dead letters go on: one, or all of the group. Returns how many."""
    rows = await tx.fetch(
        """
        UPDATE messaging.consumer_offset SET dead_run = 0
        WHERE consumer_group = $1 AND dead_run > 0
            AND ($2::text IS NULL OR (topic = $2 AND partition = $3))
        RETURNING topic, partition
        """,
        group,
        partition.topic if partition else None,
        partition.partition if partition else None,
    )
    return len(rows)


async def pause(tx: Tx, group: str, reason: str) -> None:
    """Nothing more of the group's topics has an effect, whoever consumes, until `unpause`: from the commit of this on.

    Whoever runs now is fenced, and finds the pause at its next claim. The lock waits for claims that are under way, or
    one of a new partition would see neither us nor be seen.
    """
    await tx.execute("LOCK TABLE messaging.consumer_offset IN SHARE ROW EXCLUSIVE MODE")
    await tx.execute(
        """
        INSERT INTO messaging.consumer_pause (consumer_group, reason) VALUES ($1, $2)
        ON CONFLICT (consumer_group) DO UPDATE SET reason = excluded.reason
        """,
        group,
        reason,
    )
    await tx.execute("UPDATE messaging.consumer_offset SET owner = gen_random_uuid() WHERE consumer_group = $1", group)


async def unpause(tx: Tx, group: str) -> bool:
    """Ends a pause; running consumers notice within seconds. False where there was none."""
    row = await tx.fetchrow(
        "DELETE FROM messaging.consumer_pause WHERE consumer_group = $1 RETURNING consumer_group", group
    )
    return row is not None


async def reset(tx: Tx, group: str, partition: Partition, next_offset: int) -> bool:
    """An operator's word on where a partition goes on, for a topic that was recreated or truncated on purpose.

    The owner changes, so that whoever runs now is fenced and claims again.
    """
    row = await tx.fetchrow(
        """
        UPDATE messaging.consumer_offset
        SET next_offset = $4, last_timestamp = NULL, dead_run = 0, owner = gen_random_uuid()
        WHERE consumer_group = $1 AND topic = $2 AND partition = $3
        RETURNING partition
        """,
        group,
        partition.topic,
        partition.partition,
        next_offset,
    )
    return row is not None
