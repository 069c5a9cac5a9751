"""What is done outside, and what comes of it: the payloads of tasks, and the results that performers return."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.schemas.base import Moment
from shared.schemas.immutable import immutable
from shared.schemas.notify import Category

SEND_EMAIL = "send-email"
SEND_SMS = "send-sms"
RECIPIENT_UNKNOWN = "recipient-unknown"
FORGET_LETTERS = "forget-letters"


class TaskPayload(BaseModel):
    """What a performer needs. A base."""

    model_config = ConfigDict(frozen=True)


class SendEmail(TaskPayload):
    """One mail to one address. The Message-ID follows from `notification_id`, the Date is `dated`: always the same."""

    notification_id: UUID
    template: str
    category: Category
    language: str
    to: str
    name: str
    dated: Moment
    subject: str
    text: str
    html: str


class SendSms(TaskPayload):
    """One text message to one number in E.164."""

    notification_id: UUID
    to: str
    text: str


class Waiting(TaskPayload):
    """A notification waits for the profile of whom it is for."""

    notification_id: UUID


class LettersUntil(TaskPayload):
    """The letters that were rendered before this moment have been kept long enough."""

    until: Moment


@immutable(frozen=True, slots=True)
class HandedOver:
    """A provider took the message over: the mail's Message-ID, or the provider's id of an SMS."""

    message_id: str


@immutable(frozen=True, slots=True)
class TurnedAway:
    """A provider refuses the message for good. `address_is_bad`: any other message to this address, too."""

    code: str
    address_is_bad: bool = False


@immutable(frozen=True, slots=True)
class GivenUp:
    """Nobody knows whether the message was taken over, and it is not sent again."""

    code: str = "uncertain"
