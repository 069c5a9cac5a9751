"""What the read API answers with: rows as they are, each with its column names. Lists are bounded by their caller."""

from typing import Any
from uuid import UUID

import orjson

from shared.messaging.database import Row, Tx

View = dict[str, Any]

DOCUMENTS = frozenset({"address", "attributes", "preferred_channels", "details"})
"""Columns of type jsonb."""


async def customer(tx: Tx, customer_id: UUID) -> View | None:
    row = await tx.fetchrow("SELECT * FROM customer WHERE id = $1", customer_id)
    return _view(row) if row is not None else None


async def customers(tx: Tx, tag: str | None, segment: str | None, after: UUID | None, limit: int) -> list[View]:
    """In the order of their ids."""
    rows = await tx.fetch(
        """
        SELECT c.id, c.kind, c.status, c.name, c.country, c.locale, c.version, c.registered_at
        FROM customer AS c
        WHERE ($1::text IS NULL OR EXISTS (
                SELECT FROM customer_tag AS t WHERE t.customer_id = c.id AND t.tag = $1 AND t.untagged_at IS NULL
            ))
            AND ($2::text IS NULL OR EXISTS (
                SELECT FROM segment_membership AS m WHERE m.customer_id = c.id AND m.segment = $2 AND m.is_member
            ))
            AND ($3::uuid IS NULL OR c.id > $3)
        ORDER BY c.id
        LIMIT $4
        """,
        tag,
        segment,
        after,
        limit,
    )
    return [_view(row) for row in rows]


async def contact_points(tx: Tx, customer_id: UUID) -> list[View]:
    rows = await tx.fetch(
        """
        SELECT id, channel, value, purpose, verified, added_at
        FROM contact_point
        WHERE customer_id = $1 AND removed_at IS NULL
        ORDER BY id
        """,
        customer_id,
    )
    return [_view(row) for row in rows]


async def tags(tx: Tx, customer_id: UUID) -> list[View]:
    rows = await tx.fetch(
        """
        SELECT tag, tagged_at, tagged_by FROM customer_tag
        WHERE customer_id = $1 AND untagged_at IS NULL
        ORDER BY tag
        """,
        customer_id,
    )
    return [_view(row) for row in rows]


async def consents(tx: Tx, customer_id: UUID) -> list[View]:
    """The whole history, the latest first; the last word on each purpose is marked."""
    rows = await tx.fetch(
        """
        SELECT purpose, status, legal_basis, policy_version, evidence, valid_until, recorded_at, recorded_by, version,
            version = max(version) OVER (PARTITION BY purpose) AS is_current
        FROM consent
        WHERE customer_id = $1
        ORDER BY version DESC
        """,
        customer_id,
    )
    return [_view(row) for row in rows]


async def segments(tx: Tx, customer_id: UUID) -> list[View]:
    """Those that the customer is in now."""
    rows = await tx.fetch(
        """
        SELECT segment, rule_version, changed_at AS since FROM segment_membership
        WHERE customer_id = $1 AND is_member
        ORDER BY segment
        """,
        customer_id,
    )
    return [_view(row) for row in rows]


async def loyalty(tx: Tx, customer_id: UUID, limit: int) -> View:
    """The balance, and what it is the sum of, the latest first."""
    points = await tx.fetchval("SELECT points FROM loyalty_account WHERE customer_id = $1", customer_id)
    rows = await tx.fetch(
        """
        SELECT payment_id, points, rule_version, earned_at FROM loyalty_entry
        WHERE customer_id = $1 AND version IS NOT NULL
        ORDER BY version DESC
        LIMIT $2
        """,
        customer_id,
        limit,
    )
    return {"points": points or 0, "entries": [_view(row) for row in rows]}


async def ticket(tx: Tx, ticket_id: UUID) -> View | None:
    row = await tx.fetchrow("SELECT * FROM ticket WHERE id = $1", ticket_id)
    return _view(row) if row is not None else None


async def tickets(tx: Tx, requester_id: UUID, limit: int) -> list[View]:
    rows = await tx.fetch(
        """
        SELECT id, category, subject_line, priority, status, version, opened_at, changed_at, payslip_id FROM ticket
        WHERE requester_id = $1
        ORDER BY opened_at DESC, id
        LIMIT $2
        """,
        requester_id,
        limit,
    )
    return [_view(row) for row in rows]


async def notes(tx: Tx, customer_id: UUID, limit: int) -> list[View]:
    """Pinned ones first, then the latest."""
    rows = await tx.fetch(
        """
        SELECT id, text, pinned, written_by, recorded_at FROM note
        WHERE customer_id = $1
        ORDER BY pinned DESC, recorded_at DESC, id
        LIMIT $2
        """,
        customer_id,
        limit,
    )
    return [_view(row) for row in rows]


async def interactions(tx: Tx, customer_id: UUID, limit: int) -> list[View]:
    rows = await tx.fetch(
        """
        SELECT id, kind, direction, occurred_at, summary, written_by, recorded_at FROM interaction
        WHERE customer_id = $1
        ORDER BY occurred_at DESC, id
        LIMIT $2
        """,
        customer_id,
        limit,
    )
    return [_view(row) for row in rows]


async def feedback(tx: Tx, customer_id: UUID, limit: int) -> list[View]:
    rows = await tx.fetch(
        """
        SELECT id, kind, score, text, ticket_id, purchase_id, recorded_at FROM feedback
        WHERE customer_id = $1
        ORDER BY recorded_at DESC, id
        LIMIT $2
        """,
        customer_id,
        limit,
    )
    return [_view(row) for row in rows]


async def timeline(tx: Tx, party_id: UUID, after: UUID | None, limit: int) -> list[View]:
    """What happened, the latest first. What was said to the customer stands in the communication log."""
    rows = await tx.fetch(
        """
        SELECT id, kind, reference, at, amount, currency, details, source, source_version FROM timeline
        WHERE party_id = $1 AND kind <> 'notification' AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC
        LIMIT $3
        """,
        party_id,
        after,
        limit,
    )
    return [_view(row) for row in rows]


async def communication(tx: Tx, party_id: UUID, limit: int) -> list[View]:
    """What was said to somebody, or why it was not, the latest first."""
    rows = await tx.fetch(
        """
        SELECT reference AS notification_id, at, details FROM timeline
        WHERE party_id = $1 AND kind = 'notification'
        ORDER BY id DESC
        LIMIT $2
        """,
        party_id,
        limit,
    )
    views = [_view(row) for row in rows]
    return [{"notification_id": view["notification_id"], "at": view["at"], **view["details"]} for view in views]


async def balances(tx: Tx, customer_id: UUID) -> list[View]:
    rows = await tx.fetch(
        """
        SELECT account_id, currency, outstanding, credit, source_version, source_time FROM account_balance
        WHERE customer_id = $1
        ORDER BY currency
        """,
        customer_id,
    )
    return [_view(row) for row in rows]


async def is_employee(tx: Tx, party_id: UUID) -> bool:
    return bool(await tx.fetchval("SELECT EXISTS (SELECT FROM salary_payment WHERE employee_id = $1)", party_id))


async def salary_payments(tx: Tx, employee_id: UUID, after: UUID | None, limit: int) -> list[View]:
    """The latest payslip first, each with the ticket that its failure opened."""
    rows = await tx.fetch(
        """
        SELECT s.payslip_id, s.run_id, s.period, s.currency, s.net, s.status, s.code, s.payment_reference,
            s.source_version, s.source_time, t.id AS ticket_id, t.status AS ticket_status
        FROM salary_payment AS s
        LEFT JOIN ticket AS t ON t.payslip_id = s.payslip_id
        WHERE s.employee_id = $1 AND ($2::uuid IS NULL OR s.payslip_id < $2)
        ORDER BY s.payslip_id DESC
        LIMIT $3
        """,
        employee_id,
        after,
        limit,
    )
    return [_view(row) for row in rows]


async def freshness(tx: Tx, party_id: UUID) -> list[View]:
    """For each source: the time of the last fact about this party, and up to when the source has been read at all."""
    rows = await tx.fetch(
        """
        WITH last_fact (source, time) AS (
            SELECT source, max(at) FROM timeline WHERE party_id = $1 GROUP BY source
            UNION ALL
            SELECT 'billing.events', max(source_time) FROM account_balance WHERE customer_id = $1
            UNION ALL
            SELECT 'payroll.events', max(source_time) FROM salary_payment WHERE employee_id = $1
            UNION ALL
            SELECT 'customer.commands', max(changed_at) FROM customer WHERE id = $1
        )
        SELECT s.source, max(f.time) AS time,
            (
                SELECT to_timestamp(max(o.last_timestamp) / 1000.0) FROM messaging.consumer_offset AS o
                WHERE o.topic = s.source
            ) AS read_until
        FROM unnest($2::text[]) AS s (source)
        LEFT JOIN last_fact AS f ON f.source = s.source
        GROUP BY s.source
        ORDER BY s.source
        """,
        party_id,
        ["customer.commands", "sales.events", "billing.events", "notify.events", "payroll.events"],
    )
    return [_view(row) for row in rows]


def _view(row: Row) -> View:
    return {
        name: orjson.loads(value) if name in DOCUMENTS and value is not None else value for name, value in row.items()
    }
