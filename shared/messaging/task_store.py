"""Tasks in PostgreSQL: scheduled by decisions, claimed with a lease, settled in the transaction of their outcome."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from shared.messaging.database import Pool, Row, Tx
from shared.messaging.decision import Cancel, Message, Task

State = Literal["waiting", "started", "unknown", "asking"]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A task that this process holds until its lease ends. Once started, it may have had its effect."""

    kind: str
    key: str
    root: str
    payload: bytes
    is_asking: bool
    attempts: int
    reconciliations: int
    lease: UUID
    cause_source: str
    cause_id: str
    correlation_id: str
    traceparent: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """How a claimed task goes on, named by its lease.

    `done`: it is gone. `unknown`: it will be asked about. `waiting`: nothing was done, it is tried again. The last two
    after `delay_seconds`.
    """

    kind: str
    key: str
    lease: UUID
    state: Literal["done", "unknown", "waiting"]
    delay_seconds: float = 0.0
    reason: str | None = None


class LeaseLost(Exception):
    """Some tasks of a batch are no longer held: their leases ended. The batch is saved again without them."""

    def __init__(self, held: set[tuple[str, str]]) -> None:
        super().__init__("a lease ended before the outcome was saved")
        self.held = held


async def schedule(tx: Tx, said: Iterable[tuple[Task | Cancel, Message[Any]]], now: datetime) -> None:
    """Waiting tasks come, move or go. What was started, or is unknown, is left alone."""
    cancels: list[Cancel] = []
    tasks: list[tuple[Task, Message[Any]]] = []
    for task, cause in said:
        if isinstance(task, Cancel):
            cancels.append(task)
        else:
            tasks.append((task, cause))
    if cancels:
        await _cancel(tx, cancels)
    if tasks:
        await _insert(tx, sorted(tasks, key=lambda each: (each[0].kind, each[0].key)), now)


async def _cancel(tx: Tx, cancels: Sequence[Cancel]) -> None:
    await tx.execute(
        """
        DELETE FROM messaging.task AS t
        USING unnest($1::text[], $2::text[]) AS b (kind, key)
        WHERE t.kind = b.kind AND t.key = b.key AND t.state = 'waiting'
        """,
        [cancel.kind for cancel in cancels],
        [cancel.key for cancel in cancels],
    )


async def _insert(tx: Tx, tasks: Sequence[tuple[Task, Message[Any]]], now: datetime) -> None:
    await tx.execute(
        """
        INSERT INTO messaging.task AS t (
            kind, key, root, payload, due_at, cause_source, cause_id, correlation_id, traceparent
        )
        SELECT * FROM unnest(
            $1::text[], $2::text[], $3::text[], $4::bytea[], $5::timestamptz[],
            $6::text[], $7::text[], $8::text[], $9::text[]
        )
        ON CONFLICT (kind, key) DO UPDATE
        SET root = excluded.root, payload = excluded.payload, due_at = excluded.due_at, attempts = 0,
            cause_source = excluded.cause_source, cause_id = excluded.cause_id,
            correlation_id = excluded.correlation_id, traceparent = excluded.traceparent
        WHERE t.state = 'waiting'
        """,
        [task.kind for task, _ in tasks],
        [task.key for task, _ in tasks],
        [task.root for task, _ in tasks],
        [task.payload.model_dump_json().encode() for task, _ in tasks],
        [task.due_at or now for task, _ in tasks],
        [cause.source for _, cause in tasks],
        [cause.id for _, cause in tasks],
        [cause.correlation_id for _, cause in tasks],
        [cause.traceparent for _, cause in tasks],
    )


async def claim_due(pool: Pool, kind: str, limit: int, lease: UUID, lease_seconds: float) -> list[Claimed]:
    """Starts tasks whose time has come, at most `limit`. The commit of this is the mark "started".

    MATERIALIZED, since a plan that joins may run the choice again for each row, and then takes more than the limit.
    """
    rows = await pool.fetch(
        """
        WITH due AS MATERIALIZED (
            SELECT kind, key FROM messaging.task
            WHERE kind = $1 AND state = 'waiting' AND due_at <= messaging.kello_now()
            ORDER BY due_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        )
        UPDATE messaging.task AS t
        SET state = 'started', attempts = attempts + 1, lease = $3,
            lease_until = clock_timestamp() + make_interval(secs => $4)
        FROM due
        WHERE t.kind = due.kind AND t.key = due.key
        RETURNING t.*, messaging.kello_now() AS now
        """,
        kind,
        limit,
        lease,
        lease_seconds,
    )
    return [_claimed(row) for row in rows]


async def claim_unknown(pool: Pool, kind: str, limit: int, lease: UUID, lease_seconds: float) -> list[Claimed]:
    """Takes tasks whose outcome nobody knows, to ask about them. By real time: a provider does not live in ours."""
    rows = await pool.fetch(
        """
        WITH due AS MATERIALIZED (
            SELECT kind, key FROM messaging.task
            WHERE kind = $1 AND state = 'unknown' AND due_at <= clock_timestamp()
            ORDER BY due_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        )
        UPDATE messaging.task AS t
        SET state = 'asking', reconciliations = reconciliations + 1, lease = $3,
            lease_until = clock_timestamp() + make_interval(secs => $4)
        FROM due
        WHERE t.kind = due.kind AND t.key = due.key
        RETURNING t.*, messaging.kello_now() AS now
        """,
        kind,
        limit,
        lease,
        lease_seconds,
    )
    return [_claimed(row) for row in rows]


def _claimed(row: Row) -> Claimed:
    return Claimed(
        row["kind"],
        row["key"],
        row["root"],
        row["payload"],
        row["state"] == "asking",
        row["attempts"],
        row["reconciliations"],
        row["lease"],
        row["cause_source"],
        row["cause_id"],
        row["correlation_id"],
        row["traceparent"],
        row["now"],
    )


async def expire_leases(pool: Pool, timers: Sequence[str]) -> int:
    """Whoever held an expired lease may have done its task: it is unknown, never simply due again.

    A timer (of a kind in `timers`) calls nobody: it waits again.
    """
    rows = await pool.fetch(
        """
        UPDATE messaging.task AS t
        SET state = CASE WHEN t.kind = ANY ($1::text[]) THEN 'waiting' ELSE 'unknown' END,
            due_at = CASE WHEN t.kind = ANY ($1::text[]) THEN t.due_at ELSE clock_timestamp() END,
            lease = NULL, lease_until = NULL, last_reason = 'the lease ended before an outcome was saved'
        FROM (
            SELECT kind, key FROM messaging.task
            WHERE state IN ('started', 'asking') AND lease_until < clock_timestamp()
            ORDER BY kind, key
            FOR UPDATE SKIP LOCKED
        ) AS expired
        WHERE t.kind = expired.kind AND t.key = expired.key
        RETURNING t.kind
        """,
        list(timers),
    )
    return len(rows)


async def settle(tx: Tx, settled: Sequence[Settled]) -> None:
    """Writes how tasks go on, each under its lease. Raises LeaseLost where one is no longer held."""
    held = await _delete(tx, [each for each in settled if each.state == "done"])
    held |= await _release(tx, [each for each in settled if each.state != "done"])
    if len(held) != len(settled):
        raise LeaseLost(held)


async def _delete(tx: Tx, settled: Sequence[Settled]) -> set[tuple[str, str]]:
    if not settled:
        return set()
    rows = await tx.fetch(
        """
        DELETE FROM messaging.task AS t
        USING unnest($1::text[], $2::text[], $3::uuid[]) AS b (kind, key, lease)
        WHERE t.kind = b.kind AND t.key = b.key AND t.lease = b.lease
        RETURNING t.kind, t.key
        """,
        [each.kind for each in settled],
        [each.key for each in settled],
        [each.lease for each in settled],
    )
    return {(row["kind"], row["key"]) for row in rows}


async def _release(tx: Tx, settled: Sequence[Settled]) -> set[tuple[str, str]]:
    if not settled:
        return set()
    rows = await tx.fetch(
        """
        UPDATE messaging.task AS t
        SET state = b.state, lease = NULL, lease_until = NULL, last_reason = b.reason,
            due_at = CASE b.state WHEN 'waiting' THEN messaging.kello_now() ELSE clock_timestamp() END
                + make_interval(secs => b.delay_seconds)
        FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::double precision[], $6::text[])
            AS b (kind, key, lease, state, delay_seconds, reason)
        WHERE t.kind = b.kind AND t.key = b.key AND t.lease = b.lease
        RETURNING t.kind, t.key
        """,
        [each.kind for each in settled],
        [each.key for each in settled],
        [each.lease for each in settled],
        [each.state for each in settled],
        [each.delay_seconds for each in settled],
        [each.reason for each in settled],
    )
    return {(row["kind"], row["key"]) for row in rows}
