"""What notify answers over HTTP: what was this person sent, and why (not)? Read-only."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter
from pydantic import BaseModel

from services.notify import store
from shared.messaging.database import Pool, Row
from shared.messaging.http import NotFound, Paged, reader


class Cause(BaseModel):
    """The record that led to a notification, as its CloudEvents headers name it."""

    source: str
    id: str
    type: str
    time: datetime


class Words(BaseModel):
    """What was said, for 30 days. `sha256` is of the text and the HTML."""

    language: str
    subject: str
    text: str
    sha256: str


class Step(BaseModel):
    """One line of the decision record. `reasons` are codes such as `consent:granted` or `email:bounced-refused`."""

    n: int
    at: datetime
    verdict: str
    channel: str | None
    reasons: list[str]


class ToldOrNot(BaseModel):
    """One notification: what became of it, by which channel, and why."""

    id: UUID
    recipient_id: UUID
    template: str
    category: str
    state: str
    reason: str | None
    channel: str | None
    message_id: str | None
    requested_at: datetime
    expires_at: datetime | None
    cause: Cause
    letter: Words | None
    decisions: list[Step]


class Notifications(BaseModel):
    """One page, the newest first; `next` is the `after` of the next one, where there is one.

    `status` is `unknown` while something waits for a profile that has not arrived; `as_of` says how fresh our copy of
    the person is.
    """

    recipient_id: UUID
    status: str
    notifications: list[ToldOrNot]
    next: UUID | None
    as_of: dict[str, datetime | None]


class AppMessage(BaseModel):
    """A message in the inbox of the app."""

    id: UUID
    template: str
    category: str
    subject: str
    text: str
    sent_at: datetime


class AppInbox(BaseModel):
    """One page of the last 30 days, the newest first; `next` is the `after` of the next one, where there is one."""

    recipient_id: UUID
    messages: list[AppMessage]
    next: UUID | None
    as_of: dict[str, datetime | None]


def routes(pool: Pool) -> APIRouter:
    router = APIRouter(dependencies=[reader("notify:read")])

    @router.get("/recipients/{recipient_id}/notifications")
    async def notifications(recipient_id: UUID, page: Paged) -> Notifications:
        """What was this person sent, and why, or why not?"""
        recipient = await _recipient(pool, recipient_id)
        rows = await store.notification_page(pool, recipient_id, page.after, page.limit + 1)
        told = [_told(row) for row in rows[: page.limit]]
        return Notifications(
            recipient_id=recipient_id,
            status=recipient["status"],
            notifications=told,
            next=told[-1].id if len(rows) > page.limit else None,
            as_of=_as_of(recipient),
        )

    @router.get("/notifications/{notification_id}")
    async def notification(notification_id: UUID) -> ToldOrNot:
        """What became of one notification?"""
        row = await store.notification(pool, notification_id)
        if row is None:
            raise NotFound("notification", notification_id)
        return _told(row)

    @router.get("/recipients/{recipient_id}/inbox")
    async def app_inbox(recipient_id: UUID, page: Paged) -> AppInbox:
        """What lies in this person's inbox of the app?"""
        recipient = await _recipient(pool, recipient_id)
        rows = await store.app_inbox(pool, recipient_id, page.after, page.limit + 1)
        messages = [AppMessage(**row) for row in rows[: page.limit]]
        return AppInbox(
            recipient_id=recipient_id,
            messages=messages,
            next=messages[-1].id if len(rows) > page.limit else None,
            as_of=_as_of(recipient),
        )

    return router


async def _recipient(pool: Pool, recipient_id: UUID) -> Row:
    recipient = await store.recipient(pool, recipient_id)
    if recipient is None:
        raise NotFound("recipient", recipient_id)
    return recipient


def _as_of(recipient: Row) -> dict[str, datetime | None]:
    source = "hr.events" if recipient["kind"] == "employee" else "customer.profiles"
    return {source: recipient["source_time"]}


def _told(row: Row) -> ToldOrNot:
    said: dict[str, Any] = dict(row)
    cause = Cause(source=said["cause_source"], id=said["cause_id"], type=said["cause_type"], time=said["cause_time"])
    letter = Words(**said) if said["subject"] is not None else None
    return ToldOrNot(**said, cause=cause, letter=letter, decisions=orjson.loads(said["record"]))
