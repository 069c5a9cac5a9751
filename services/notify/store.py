"""Every SQL statement of notify. All of them are set-based: their number does not grow with a batch."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

from services.notify.domain.notification import Cause, Letter, Notification, Step, Texts
from services.notify.domain.recipient import Address, Bounce, Consent, Recipient
from services.notify.domain.route import Route
from shared.messaging.database import Pool, Row, Tx, expect_rows
from shared.messaging.working_set import Changed
from shared.schemas.standards import Channel


async def lock_recipients(tx: Tx, ids: Collection[UUID]) -> list[Recipient]:
    """Locks the roots, in the order of their ids."""
    rows = await tx.fetch("SELECT * FROM recipient WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE", ids)
    return [_recipient(row) for row in rows]


async def notifications_by_id(tx: Tx, ids: Collection[UUID]) -> list[Notification]:
    rows = await tx.fetch("SELECT * FROM notification WHERE id = ANY ($1::uuid[]) ORDER BY seq", ids)
    return [_notification(row) for row in rows]


async def notifications_by_cause(tx: Tx, causes: Collection[tuple[str, str]]) -> list[Notification]:
    """What already followed from these causes: (ce_source, ce_id)."""
    rows = await tx.fetch(
        """
        SELECT n.* FROM notification AS n
        JOIN unnest($1::text[], $2::text[]) AS b (source, id) ON n.cause_source = b.source AND n.cause_id = b.id
        ORDER BY n.seq
        """,
        [source for source, _ in causes],
        [cause_id for _, cause_id in causes],
    )
    return [_notification(row) for row in rows]


async def open_notifications(tx: Tx, recipient_ids: Collection[UUID]) -> list[Notification]:
    """What is not settled yet, in the order in which it was asked for."""
    rows = await tx.fetch(
        """
        SELECT * FROM notification
        WHERE recipient_id = ANY ($1::uuid[]) AND state IN ('deferred', 'sending', 'unknown')
        ORDER BY seq
        """,
        recipient_ids,
    )
    return [_notification(row) for row in rows]


async def letters(tx: Tx, notification_ids: Collection[UUID]) -> list[Letter]:
    rows = await tx.fetch("SELECT * FROM letter WHERE notification_id = ANY ($1::uuid[])", notification_ids)
    return [_letter(row) for row in rows]


async def insert_recipients(tx: Tx, recipients: Sequence[Recipient]) -> None:
    await tx.execute(
        """
        INSERT INTO recipient (
            id, status, kind, name, locale, zone, preferred, addresses, consents, bounces, source_version, source_time
        )
        SELECT * FROM unnest(
            $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::jsonb[],
            $9::jsonb[], $10::jsonb[], $11::bigint[], $12::timestamptz[]
        )
        """,
        *_recipient_columns(sorted(recipients, key=lambda recipient: recipient.id)),
    )


async def update_recipients(tx: Tx, changed: Sequence[Changed[Recipient]]) -> None:
    """Raises Conflict where a copy is no longer the one that was loaded."""
    status = await tx.execute(
        """
        UPDATE recipient AS r
        SET status = u.status, kind = u.kind, name = u.name, locale = u.locale, zone = u.zone,
            preferred = u.preferred, addresses = u.addresses, consents = u.consents, bounces = u.bounces,
            source_version = u.source_version, source_time = u.source_time
        FROM unnest(
            $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::jsonb[],
            $9::jsonb[], $10::jsonb[], $11::bigint[], $12::timestamptz[], $13::bigint[]
        ) AS u (
            id, status, kind, name, locale, zone, preferred, addresses, consents, bounces, source_version,
            source_time, loaded_version
        )
        WHERE r.id = u.id AND r.source_version = u.loaded_version
        """,
        *_recipient_columns([each.after for each in changed]),
        [each.before.source_version for each in changed],
    )
    expect_rows(status, len(changed))


async def insert_notifications(tx: Tx, notifications: Sequence[Notification]) -> None:
    """In their order, which is the order in which they were asked for."""
    await tx.execute(
        """
        INSERT INTO notification (
            id, recipient_id, template, category, cause_source, cause_id, cause_type, cause_time, requested_at,
            expires_at, fields, locale, only_channels, state, reason, channel, message_id, tried, steps, version
        )
        SELECT
            id, recipient_id, template, category, cause_source, cause_id, cause_type, cause_time, requested_at,
            expires_at, fields, locale, only_channels, state, reason, channel, message_id, tried, steps, version
        FROM unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
            $9::timestamptz[], $10::timestamptz[], $11::jsonb[], $12::text[], $13::jsonb[], $14::text[], $15::text[],
            $16::text[], $17::text[], $18::jsonb[], $19::integer[], $20::bigint[]
        ) WITH ORDINALITY AS b (
            id, recipient_id, template, category, cause_source, cause_id, cause_type, cause_time, requested_at,
            expires_at, fields, locale, only_channels, state, reason, channel, message_id, tried, steps, version, n
        )
        ORDER BY n
        """,
        [n.id for n in notifications],
        [n.recipient_id for n in notifications],
        [n.template for n in notifications],
        [n.category for n in notifications],
        [n.cause.source for n in notifications],
        [n.cause.id for n in notifications],
        [n.cause.type for n in notifications],
        [n.cause.time for n in notifications],
        [n.requested_at for n in notifications],
        [n.expires_at for n in notifications],
        [_json(dict(n.fields)) for n in notifications],
        [n.locale for n in notifications],
        [None if n.only is None else _json(n.only) for n in notifications],
        *_moving_columns(notifications),
    )


async def update_notifications(tx: Tx, changed: Sequence[Changed[Notification]]) -> None:
    """Raises Conflict where a notification is no longer the one that was loaded."""
    status = await tx.execute(
        """
        UPDATE notification AS n
        SET fields = u.fields, state = u.state, reason = u.reason, channel = u.channel, message_id = u.message_id,
            tried = u.tried, steps = u.steps, version = u.version
        FROM unnest(
            $1::uuid[], $2::integer[], $3::bigint[], $4::jsonb[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::jsonb[], $10::integer[], $11::bigint[]
        ) AS u (
            id, loaded_steps, loaded_version, fields, state, reason, channel, message_id, tried, steps, version
        )
        WHERE n.id = u.id AND n.steps = u.loaded_steps AND n.version = u.loaded_version
        """,
        [each.after.id for each in changed],
        [each.before.steps for each in changed],
        [each.before.version for each in changed],
        [_json(dict(each.after.fields)) for each in changed],
        *_moving_columns([each.after for each in changed]),
    )
    expect_rows(status, len(changed))


async def insert_steps(tx: Tx, steps: Sequence[Step]) -> None:
    await tx.execute(
        """
        INSERT INTO step (notification_id, n, at, verdict, channel, reasons)
        SELECT * FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::text[], $5::text[], $6::jsonb[])
        """,
        [step.notification_id for step in steps],
        [step.n for step in steps],
        [step.at for step in steps],
        [step.verdict for step in steps],
        [step.channel for step in steps],
        [_json(step.reasons) for step in steps],
    )


async def insert_letters(tx: Tx, written: Sequence[Letter]) -> None:
    await tx.execute(
        """
        INSERT INTO letter (notification_id, recipient_id, language, subject, text, html, short, sha256, rendered_at)
        SELECT * FROM unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::timestamptz[]
        )
        """,
        [letter.notification_id for letter in written],
        [letter.recipient_id for letter in written],
        [letter.texts.language for letter in written],
        [letter.texts.subject for letter in written],
        [letter.texts.text for letter in written],
        [letter.texts.html for letter in written],
        [letter.texts.short for letter in written],
        [sha256(f"{letter.texts.text}\0{letter.texts.html}".encode()).hexdigest() for letter in written],
        [letter.rendered_at for letter in written],
    )


async def forget_letters_of(tx: Tx, recipient_ids: Collection[UUID]) -> None:
    """Erasure: nothing that was said to them is left."""
    await tx.execute("DELETE FROM letter WHERE recipient_id = ANY ($1::uuid[])", recipient_ids)


async def forget_letters_until(tx: Tx, until: datetime) -> None:
    """Retention: what was rendered before has been kept long enough."""
    await tx.execute("DELETE FROM letter WHERE rendered_at < $1", until)


async def recipient(pool: Pool, recipient_id: UUID) -> Row | None:
    """For reading: whom we know, unless erased."""
    return await pool.fetchrow(
        """
        SELECT id, status, kind, source_version, source_time FROM recipient
        WHERE id = $1 AND status <> 'erased'
        """,
        recipient_id,
    )


async def notification_page(pool: Pool, recipient_id: UUID, after: UUID | None, limit: int) -> list[Row]:
    """For reading: what somebody was told or not, the newest first, with the words and the decision record."""
    return await pool.fetch(
        """
        SELECT n.*, l.language, l.subject, l.text, l.sha256, (
            SELECT jsonb_agg(to_jsonb(s) - 'notification_id' ORDER BY s.n) FROM step AS s
            WHERE s.notification_id = n.id
        ) AS record
        FROM notification AS n
        LEFT JOIN letter AS l ON l.notification_id = n.id
        WHERE n.recipient_id = $1 AND ($2::uuid IS NULL OR n.seq < (SELECT seq FROM notification WHERE id = $2))
        ORDER BY n.seq DESC
        LIMIT $3
        """,
        recipient_id,
        after,
        limit,
    )


async def notification(pool: Pool, notification_id: UUID) -> Row | None:
    """For reading: one notification, unless whom it was for is erased."""
    return await pool.fetchrow(
        """
        SELECT n.*, l.language, l.subject, l.text, l.sha256, (
            SELECT jsonb_agg(to_jsonb(s) - 'notification_id' ORDER BY s.n) FROM step AS s
            WHERE s.notification_id = n.id
        ) AS record
        FROM notification AS n
        JOIN recipient AS r ON r.id = n.recipient_id AND r.status <> 'erased'
        LEFT JOIN letter AS l ON l.notification_id = n.id
        WHERE n.id = $1
        """,
        notification_id,
    )


async def app_inbox(pool: Pool, recipient_id: UUID, after: UUID | None, limit: int) -> list[Row]:
    """For reading: what lies in the inbox of the app, the newest first."""
    return await pool.fetch(
        """
        SELECT n.id, n.template, n.category, l.subject, l.short AS text, l.rendered_at AS sent_at
        FROM notification AS n
        JOIN letter AS l ON l.notification_id = n.id
        WHERE n.recipient_id = $1 AND n.state = 'sent' AND n.channel = 'in_app'
          AND ($2::uuid IS NULL OR n.seq < (SELECT seq FROM notification WHERE id = $2))
        ORDER BY n.seq DESC
        LIMIT $3
        """,
        recipient_id,
        after,
        limit,
    )


def _recipient_columns(recipients: Sequence[Recipient]) -> list[list[Any]]:
    return [
        [r.id for r in recipients],
        [r.status for r in recipients],
        [r.kind for r in recipients],
        [r.name for r in recipients],
        [r.locale for r in recipients],
        [r.zone for r in recipients],
        [_json(r.preferred) for r in recipients],
        [_json(r.addresses) for r in recipients],
        [_json(dict(r.consents)) for r in recipients],
        [_json(r.bounces) for r in recipients],
        [r.source_version for r in recipients],
        [r.source_time for r in recipients],
    ]


def _moving_columns(notifications: Sequence[Notification]) -> list[list[Any]]:
    """The columns that change while a notification is on its way."""
    return [
        [n.state for n in notifications],
        [n.reason for n in notifications],
        [n.channel for n in notifications],
        [n.message_id for n in notifications],
        [_json([(route.channel, route.address) for route in n.tried]) for n in notifications],
        [n.steps for n in notifications],
        [n.version for n in notifications],
    ]


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _recipient(row: Row) -> Recipient:
    return Recipient(
        id=row["id"],
        status=row["status"],
        kind=row["kind"],
        name=row["name"],
        locale=row["locale"],
        zone=row["zone"],
        preferred=tuple(Channel(each) for each in orjson.loads(row["preferred"])),
        addresses=tuple(
            Address(**{**each, "channel": Channel(each["channel"])}) for each in orjson.loads(row["addresses"])
        ),
        consents={purpose: _consent(said) for purpose, said in orjson.loads(row["consents"]).items()},
        bounces=tuple(Bounce(**{**each, "channel": Channel(each["channel"])}) for each in orjson.loads(row["bounces"])),
        source_version=row["source_version"],
        source_time=row["source_time"],
    )


def _consent(said: dict[str, Any]) -> Consent:
    until = said["valid_until"]
    return Consent(said["granted"], None if until is None else date.fromisoformat(until))


def _notification(row: Row) -> Notification:
    only = row["only_channels"]
    return Notification(
        id=row["id"],
        recipient_id=row["recipient_id"],
        template=row["template"],
        category=row["category"],
        cause=Cause(row["cause_source"], row["cause_id"], row["cause_type"], row["cause_time"]),
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
        fields=orjson.loads(row["fields"]),
        locale=row["locale"],
        only=None if only is None else tuple(Channel(each) for each in orjson.loads(only)),
        state=row["state"],
        reason=row["reason"],
        channel=None if row["channel"] is None else Channel(row["channel"]),
        message_id=row["message_id"],
        tried=tuple(Route(Channel(channel), address) for channel, address in orjson.loads(row["tried"])),
        steps=row["steps"],
        version=row["version"],
    )


def _letter(row: Row) -> Letter:
    texts = Texts(row["language"], row["subject"], row["text"], row["html"], row["short"])
    return Letter(row["notification_id"], row["recipient_id"], texts, row["rendered_at"])
