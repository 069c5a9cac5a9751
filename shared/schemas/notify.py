"""What notify is asked (topic notify.commands) and what it says (topic notify.events); the key is the recipient."""

from typing import Annotated, Literal

from pydantic import Field

from shared.schemas.answers import Accepted, Rejected
from shared.schemas.base import Code, Command, Event, Id, LongText, ShortText
from shared.schemas.standards import Channel, Locale

Category = Literal["security", "transactional", "service", "marketing"]
"""What kind of message it is: consent and quiet hours depend on it."""

CauseText = Annotated[str, Field(min_length=1, max_length=255)]
"""A `ce_source` or `ce_id`."""


class RequestNotification(
    Command,
    type="kello.notify.request-notification.v1",
    topic="notify.commands",
    key="recipient_id",
    subject="notification/{notification_id}",
):
    """Tell somebody something. Answered at once, and later by NotificationSent, -Failed, -Suppressed or -Unknown."""

    notification_id: Id
    recipient_id: Id
    """A customer or an employee."""
    template: Code
    category: Category
    data: Annotated[
        dict[Code, LongText | Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)]], Field(max_length=50)
    ] = Field(default={})
    """What the template's fields are to say."""
    locale: Locale | None = None
    """The language; without one, the recipient's."""
    valid_for_seconds: (
        Annotated[int, Field(strict=True, ge=1, le=365 * 86_400, json_schema_extra={"x-unit": "second"})] | None
    ) = None
    """After so many seconds it is not worth telling any more; without a value, never."""
    channels: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=10)] | None = None
    """The only channels to use, the best first; without any, the recipient's preference."""


class NotificationEvent(Event, topic="notify.events", key="recipient_id", subject="notification/{notification_id}"):
    """What became of a notification. A base."""

    notification_id: Id
    recipient_id: Id
    template: Code
    category: Category
    cause_source: CauseText
    """The `ce_source` of the record that led to it."""
    cause_id: CauseText
    """The `ce_id` of that record."""
    cause_type: ShortText
    """The `ce_type` of that record."""


class NotificationSent(NotificationEvent, type="kello.notify.notification-sent.v1"):
    """A provider took a message over for somebody, or it lies in the inbox of the app."""

    channel: Channel
    message_id: ShortText
    """The Message-ID of the mail, or the provider's id of the message."""


class NotificationFailed(NotificationEvent, type="kello.notify.notification-failed.v1"):
    """A message reached nobody, and will not be tried again."""

    channel: Channel
    """The last channel that was tried."""
    reason: Code
    """Why, for programs: `refused`, `unreachable` …"""


class NotificationSuppressed(NotificationEvent, type="kello.notify.notification-suppressed.v1"):
    """Somebody was not told something, on purpose."""

    reason: Code
    """Why, for programs: `no-consent`, `no-address`, `expired` …"""


class NotificationUnknown(NotificationEvent, type="kello.notify.notification-unknown.v1"):
    """A provider may or may not have taken a message over. NotificationSent or NotificationFailed may follow."""

    channel: Channel


class CommandAccepted(Accepted, type="kello.notify.command-accepted.v1", topic="notify.events"):
    """Notify carried a command out, and nothing else tells of it."""


class CommandRejected(Rejected, type="kello.notify.command-rejected.v1", topic="notify.events"):
    """Notify refused a command."""
