"""A notification: one for each cause and template. From the cause to sent, suppressed or failed, with every reason."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from services.notify.domain.catalogue import TEMPLATES
from services.notify.domain.recipient import Recipient, bounced
from services.notify.domain.route import Choice, Route, choose
from services.notify.domain.tasks import (
    FORGET_LETTERS,
    RECIPIENT_UNKNOWN,
    SEND_EMAIL,
    SEND_SMS,
    LettersUntil,
    SendEmail,
    SendSms,
    TurnedAway,
    Waiting,
)
from shared.messaging.decision import NOTHING, Cancel, Decision, Task
from shared.schemas.immutable import immutable
from shared.schemas.notify import (
    Category,
    NotificationFailed,
    NotificationSent,
    NotificationSuppressed,
    NotificationUnknown,
)
from shared.schemas.standards import Channel

State = Literal["deferred", "sending", "unknown", "sent", "suppressed", "failed"]
OPEN: tuple[State, ...] = ("deferred", "sending", "unknown")

UNKNOWN_RECIPIENT_WAIT = timedelta(days=3)
"""So long something waits for the profile of whom it is for."""

LETTERS_KEPT = timedelta(days=30)
"""So long texts are kept: the deadline for erasure."""

Fields = Mapping[str, str | int]


@immutable(frozen=True, slots=True)
class Cause:
    """The record that led to a notification: CloudEvents source, id, type and time."""

    source: str
    id: str
    type: str
    time: datetime


@immutable(frozen=True, slots=True)
class Texts:
    """A letter in one language, rendered. `short` is what fits an SMS or a line in the inbox of the app."""

    language: str
    subject: str
    text: str
    html: str
    short: str


@immutable(frozen=True, slots=True)
class Letter:
    """The texts of a notification, kept for `LETTERS_KEPT`."""

    notification_id: UUID
    recipient_id: UUID
    texts: Texts
    rendered_at: datetime

    @property
    def key(self) -> UUID:
        return self.notification_id

    @property
    def root(self) -> UUID:
        return self.recipient_id


@immutable(frozen=True, slots=True)
class Step:
    """One line of the decision record: what was decided, and why. `reasons` are codes without personal data."""

    notification_id: UUID
    recipient_id: UUID
    n: int
    at: datetime
    verdict: str
    channel: Channel | None
    reasons: tuple[str, ...]

    @property
    def key(self) -> tuple[UUID, int]:
        return self.notification_id, self.n

    @property
    def root(self) -> UUID:
        return self.recipient_id


@immutable(frozen=True, slots=True)
class Notification:
    """What somebody is to be told. `version` counts its events, `steps` the lines of its decision record.

    `fields` and `tried` may hold personal data: they are empty once nothing is left to be done.
    """

    id: UUID
    recipient_id: UUID
    template: str
    category: Category
    cause: Cause
    requested_at: datetime
    expires_at: datetime | None
    fields: Fields
    locale: str | None = None
    only: tuple[Channel, ...] | None = None
    state: State = "deferred"
    reason: str | None = None
    channel: Channel | None = None
    message_id: str | None = None
    tried: tuple[Route, ...] = ()
    steps: int = 0
    version: int = 0

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.recipient_id


Render = Callable[[Notification, Recipient], Texts]


def decide(notification: Notification, recipient: Recipient, now: datetime, render: Render) -> Decision:
    """Whether and how somebody is told now. What cannot be decided yet, for want of the profile, waits."""
    if _is_expired(notification, now):
        return _suppressed(notification, "expired", ("cause:expired",), now)
    if not recipient.is_known:
        return _deferred(notification, now)
    if recipient.status == "erased":
        return _suppressed(notification, "erased", ("recipient:erased",), now)
    choice = choose(recipient, TEMPLATES[notification.template], _today(recipient, now), notification.only)
    if choice.route is None:
        return _suppressed(notification, choice.refusal, choice.reasons, now)
    letter = Letter(notification.id, notification.recipient_id, render(notification, recipient), now)
    return _with_letter(_handed_over(replace(notification, fields={}), recipient, choice, letter, now), letter)


def waited_too_long(notification: Notification, now: datetime) -> Decision:
    """The profile has not arrived in time."""
    if notification.state != "deferred":
        return NOTHING
    reason = "expired" if _is_expired(notification, now) else "unknown-recipient"
    return _suppressed(notification, reason, ("recipient:unknown",), now)


def forgotten(notification: Notification, now: datetime) -> Decision:
    """The recipient was erased: what was not handed over yet is not sent. A call under way may still say `sent`."""
    suppressed = _suppressed(notification, "erased", ("recipient:erased",), now)
    calls = (Cancel(SEND_EMAIL, _task_key(notification)), Cancel(SEND_SMS, _task_key(notification)))
    return replace(suppressed, tasks=(*suppressed.tasks, *calls))


def sent(notification: Notification, channel: Channel, message_id: str, now: datetime, *reasons: str) -> Decision:
    """A provider took it over, or it lies in the inbox of the app."""
    if notification.state == "sent":
        return NOTHING
    event = NotificationSent(**_facts(notification), channel=channel, message_id=message_id)
    after = replace(
        notification, state="sent", reason=None, channel=channel, message_id=message_id, tried=(),
        version=event.version,
    )  # fmt: skip
    return Decision(_stepped(after, "sent", channel, reasons, now), [event])


def uncertain(notification: Notification, channel: Channel, now: datetime) -> Decision:
    """Nobody knows whether the provider took it over. Told once; reconciliation follows."""
    if notification.state != "sending":
        return NOTHING
    event = NotificationUnknown(**_facts(notification), channel=channel)
    after = replace(notification, state="unknown", version=event.version)
    return Decision(_stepped(after, "unknown", channel, (f"{channel}:no-answer",), now), [event])


def turned_away(
    notification: Notification,
    recipient: Recipient,
    letter: Letter | None,
    route: Route,
    result: TurnedAway,
    *,
    now: datetime,
) -> Decision:
    """This way is closed: the next one is tried, else it has failed. An address that does not work is remembered."""
    if notification.state not in OPEN:
        return NOTHING
    said = f"{route.channel}:{result.code}"
    learned = bounced(recipient, route.channel, route.address, result.code) if result.address_is_bad else recipient
    changes = (learned,) if learned is not recipient else ()
    next_step = _next(notification, learned, letter, said, code=result.code, now=now)
    return replace(next_step, changes=(*changes, *next_step.changes))


def given_up(notification: Notification, channel: Channel, code: str, now: datetime) -> Decision:
    """It has failed, or may have: nothing more is tried, as its category's policy says."""
    if notification.state not in OPEN:
        return NOTHING
    return _failed(notification, channel, code, (f"{channel}:{code}",), now)


def _next(
    notification: Notification, recipient: Recipient, letter: Letter | None, said: str, *, code: str, now: datetime
) -> Decision:
    last = notification.tried[-1].channel
    if letter is None or _is_expired(notification, now):
        return _failed(notification, last, "expired", (said, "cause:expired"), now)
    choice = choose(
        recipient, TEMPLATES[notification.template], _today(recipient, now), notification.only, notification.tried
    )
    choice = replace(choice, reasons=(said, *choice.reasons))
    if choice.route is not None:
        return _handed_over(notification, recipient, choice, letter, now)
    if choice.refusal == "no-address":
        return _failed(notification, last, code, choice.reasons, now)
    return _suppressed(notification, choice.refusal, choice.reasons, now)


def _handed_over(
    notification: Notification, recipient: Recipient, choice: Choice, letter: Letter, now: datetime
) -> Decision:
    """On its way by the chosen route. The inbox of the app is our own: there it has arrived."""
    route = choice.route
    if route is None:
        raise AssertionError("a notification without a route is suppressed or failed, never handed over")
    was_waiting = notification.state == "deferred" and notification.steps > 0
    waits_no_more = (Cancel(RECIPIENT_UNKNOWN, str(notification.id)),) if was_waiting else ()
    if route.channel is Channel.IN_APP:
        arrived = sent(notification, route.channel, str(notification.id), now, *choice.reasons)
        return replace(arrived, tasks=waits_no_more)
    after = replace(notification, state="sending", channel=route.channel, tried=(*notification.tried, route))
    task = _call(after, recipient, route, letter)
    return Decision(_stepped(after, "sending", route.channel, choice.reasons, now), (), (task, *waits_no_more))


def _call(notification: Notification, recipient: Recipient, route: Route, letter: Letter) -> Task:
    key, root = _task_key(notification), str(notification.recipient_id)
    if route.channel is Channel.SMS:
        return Task(
            SEND_SMS, key, root, SendSms(notification_id=notification.id, to=route.address, text=letter.texts.short)
        )
    mail = SendEmail(
        notification_id=notification.id,
        template=notification.template,
        category=notification.category,
        language=letter.texts.language,
        to=route.address,
        name=recipient.name,
        dated=letter.rendered_at,
        subject=letter.texts.subject,
        text=letter.texts.text,
        html=letter.texts.html,
    )
    return Task(SEND_EMAIL, key, root, mail)


def _task_key(notification: Notification) -> str:
    """One for each route that is tried, so that a provider never sees two bodies under one idempotency key."""
    return f"{notification.id}.{len(notification.tried)}"


def _with_letter(decision: Decision, letter: Letter) -> Decision:
    """The letter is kept, and forgotten with all those of its hour."""
    hour = letter.rendered_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    until = hour.isoformat()
    forget = Task(FORGET_LETTERS, until, until, LettersUntil(until=hour), hour + LETTERS_KEPT)
    return Decision((*decision.changes, letter), decision.events, (*decision.tasks, forget))


def _deferred(notification: Notification, now: datetime) -> Decision:
    if notification.steps:
        return NOTHING
    due_at = now + UNKNOWN_RECIPIENT_WAIT
    if notification.expires_at is not None:
        due_at = min(due_at, notification.expires_at)
    waiting = Waiting(notification_id=notification.id)
    timer = Task(RECIPIENT_UNKNOWN, str(notification.id), str(notification.recipient_id), waiting, due_at)
    return Decision(_stepped(notification, "deferred", None, ("recipient:unknown",), now), (), (timer,))


def _suppressed(notification: Notification, reason: str, reasons: tuple[str, ...], now: datetime) -> Decision:
    event = NotificationSuppressed(**_facts(notification), reason=reason)
    after = _closed(notification, "suppressed", reason, event.version)
    tasks = (Cancel(RECIPIENT_UNKNOWN, str(notification.id)),) if notification.steps else ()
    return Decision(_stepped(after, "suppressed", None, reasons, now), [event], tasks)


def _failed(
    notification: Notification, channel: Channel, reason: str, reasons: tuple[str, ...], now: datetime
) -> Decision:
    event = NotificationFailed(**_facts(notification), channel=channel, reason=reason)
    after = _closed(notification, "failed", reason, event.version)
    return Decision(_stepped(after, "failed", channel, reasons, now), [event])


def _closed(notification: Notification, state: State, reason: str, version: int) -> Notification:
    return replace(notification, state=state, reason=reason, fields={}, tried=(), version=version)


def _stepped(
    notification: Notification, verdict: str, channel: Channel | None, reasons: tuple[str, ...], now: datetime
) -> tuple[Notification, Step]:
    n = notification.steps + 1
    step = Step(notification.id, notification.recipient_id, n, now, verdict, channel, reasons)
    return replace(notification, steps=n), step


def _facts(notification: Notification) -> dict[str, Any]:
    """What all its events carry."""
    return {
        "version": notification.version + 1,
        "notification_id": notification.id,
        "recipient_id": notification.recipient_id,
        "template": notification.template,
        "category": notification.category,
        "cause_source": notification.cause.source,
        "cause_id": notification.cause.id,
        "cause_type": notification.cause.type,
    }


def _is_expired(notification: Notification, now: datetime) -> bool:
    return notification.expires_at is not None and now > notification.expires_at


def _today(recipient: Recipient, now: datetime) -> date:
    return now.astimezone(ZoneInfo(recipient.zone or "UTC")).date()
