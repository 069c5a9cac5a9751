"""Read-only HTTP: what was this person sent, and why (not)?"""

from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter

from services.notify import store
from shared.messaging.database import Pool, Row
from shared.messaging.http import NotFound, Paged, reader


def routes(pool: Pool) -> APIRouter:
    router = APIRouter(dependencies=[reader("notify:read")])

    @router.get("/recipients/{recipient_id}/notifications")
    async def notifications(recipient_id: UUID, page: Paged) -> dict[str, Any]:
        """What somebody was told, the newest first, each with its decision record and, for 30 days, its words."""
        recipient = await _recipient(pool, recipient_id)
        rows = await store.notification_page(
            pool, recipient_id=recipient_id, notification_id=None, after=page.after, limit=page.limit + 1
        )
        return _page(recipient, "notifications", [_notification(row) for row in rows], page.limit)

    @router.get("/notifications/{notification_id}")
    async def notification(notification_id: UUID) -> dict[str, Any]:
        """One notification: what became of it, and why."""
        rows = await store.notification_page(
            pool, recipient_id=None, notification_id=notification_id, after=None, limit=1
        )
        if not rows:
            raise NotFound("notification", notification_id)
        return _notification(rows[0])

    @router.get("/recipients/{recipient_id}/inbox")
    async def app_inbox(recipient_id: UUID, page: Paged) -> dict[str, Any]:
        """The inbox of the app: the last 30 days, the newest first."""
        recipient = await _recipient(pool, recipient_id)
        rows = await store.app_inbox(pool, recipient_id, page.after, page.limit + 1)
        messages = [
            {
                "id": row["id"],
                "template": row["template"],
                "category": row["category"],
                "subject": row["subject"],
                "text": row["short"],
                "sent_at": row["rendered_at"],
            }
            for row in rows
        ]
        return _page(recipient, "messages", messages, page.limit)

    return router


async def _recipient(pool: Pool, recipient_id: UUID) -> Row:
    recipient = await store.recipient(pool, recipient_id)
    if recipient is None:
        raise NotFound("recipient", recipient_id)
    return recipient


def _page(recipient: Row, name: str, items: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """`next` is the `after` of the next page, or null. `as_of` says how fresh our copy of the person is."""
    shown = items[:limit]
    source = "hr.events" if recipient["kind"] == "employee" else "customer.profiles"
    return {
        "recipient_id": recipient["id"],
        "status": recipient["status"],
        name: shown,
        "next": shown[-1]["id"] if len(items) > limit else None,
        "as_of": [{"source": source, "time": recipient["source_time"], "version": recipient["source_version"]}],
    }


def _notification(row: Row) -> dict[str, Any]:
    words = {key: row[key] for key in ("language", "subject", "text", "sha256")}
    return {
        "id": row["id"],
        "recipient_id": row["recipient_id"],
        "template": row["template"],
        "category": row["category"],
        "state": row["state"],
        "reason": row["reason"],
        "channel": row["channel"],
        "message_id": row["message_id"],
        "requested_at": row["requested_at"],
        "expires_at": row["expires_at"],
        "cause": {
            "source": row["cause_source"],
            "id": row["cause_id"],
            "type": row["cause_type"],
            "time": row["cause_time"],
        },
        "letter": words if words["subject"] is not None else None,
        "decisions": orjson.loads(row["record"]),
    }
