"""The outside: mail by SMTP, text messages by HTTP. Each hand-over is a task, and so are the two timers.

When a line drops after DATA nobody knows whether the mail was taken over. The category decides: security,
transactional and service mail is sent again under the same Message-ID, up to `RESENDS_MAX` times (a mail server or a
reader can drop the second copy, nobody can make up for a missing one); marketing is given up and recorded as failed,
`uncertain`. Of a text message the provider is asked by idempotency key.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiosmtplib
import httpx
from pydantic import Field

from services.notify.domain.tasks import (
    FORGET_LETTERS,
    RECIPIENT_UNKNOWN,
    SEND_EMAIL,
    SEND_SMS,
    GivenUp,
    HandedOver,
    LettersUntil,
    SendEmail,
    SendSms,
    TurnedAway,
    Waiting,
)
from services.notify.mail import Postbox
from shared.messaging.settings import ServiceSettings
from shared.messaging.tasks import NOT_DONE, Later, TaskCall, TaskKind, Uncertain
from shared.schemas.base import ShortText
from shared.schemas.standards import Email

RESENDS_MAX = 3
"""So often a mail that got no answer is sent again; then it is given up, whatever its category."""

BACKOFF_SECONDS_MAX = 15.0
ATTEMPTS_MAX = 6_000
"""With that back-off: most of a day. An outage of a provider is waited for; it turns no mail away."""

SMTP_CONNECTIONS_MAX = 32
SMS_CONNECTIONS_MAX = 16
SMS_SECONDS = 10.0
CONNECT_SECONDS = 3.0

BAD_NUMBERS = frozenset({"invalid_destination", "opted_out"})
"""What an SMS provider says of a number that no other message will reach either."""

BAD_ADDRESSES = frozenset(
    {"address-not-supported", "no-such-address", *(code.replace("_", "-") for code in BAD_NUMBERS)}
)
"""The codes with which an address is turned away for good, in whatever channel."""


class NotifySettings(ServiceSettings):
    """Where mail and text messages go out."""

    smtp_host: str = Field(min_length=1, description="the mail server")
    smtp_port: int = Field(ge=1, le=65535)
    sms_url: str = Field(min_length=1, description="the SMS provider, such as http://127.0.0.1:8025")
    mail_from: Email = Field(
        "kello@example.com", description="the sender of every mail; its domain is that of the Message-IDs"
    )
    mail_from_name: ShortText = "Kello"
    mail_timeout_seconds: float = Field(10, ge=1, le=600, description="how long the hand-over of one mail may take")


@asynccontextmanager
async def task_kinds(settings: NotifySettings) -> AsyncIterator[Sequence[TaskKind[Any]]]:
    """The clients of the outside, open for as long as the service runs."""
    limits = httpx.Limits(max_connections=SMS_CONNECTIONS_MAX, max_keepalive_connections=SMS_CONNECTIONS_MAX)
    timeout = httpx.Timeout(SMS_SECONDS - 1, connect=CONNECT_SECONDS)
    postbox = Postbox(settings.smtp_host, settings.smtp_port, settings.mail_from, settings.mail_from_name)
    async with httpx.AsyncClient(base_url=settings.sms_url, limits=limits, timeout=timeout) as client, postbox:
        mail, sms, seconds = MailCalls(postbox), SmsCalls(client), settings.mail_timeout_seconds
        yield (
            TaskKind(
                SEND_EMAIL, SendEmail, mail.send, mail.reconcile, SMTP_CONNECTIONS_MAX,
                call_timeout_seconds=seconds, lease_seconds=2 * seconds,
                attempts_max=ATTEMPTS_MAX, backoff_max_seconds=BACKOFF_SECONDS_MAX,
            ),
            TaskKind(
                SEND_SMS, SendSms, sms.send, sms.reconcile, SMS_CONNECTIONS_MAX,
                call_timeout_seconds=SMS_SECONDS, lease_seconds=2 * SMS_SECONDS,
                attempts_max=ATTEMPTS_MAX, backoff_max_seconds=BACKOFF_SECONDS_MAX,
            ),
            TaskKind(RECIPIENT_UNKNOWN, Waiting),
            TaskKind(FORGET_LETTERS, LettersUntil),
        )  # fmt: skip


class MailCalls:
    """Hands mails over to the mail server."""

    def __init__(self, postbox: Postbox) -> None:
        self._postbox = postbox

    async def send(self, mail: SendEmail, _call: TaskCall) -> HandedOver | TurnedAway:
        """4xx and a lost connection before DATA: later. 5xx: turned away. No answer after DATA: uncertain."""
        envelope = self._postbox.envelope(mail)
        try:
            await self._postbox.post(envelope)
        except aiosmtplib.SMTPNotSupported:
            return TurnedAway("address-not-supported", address_is_bad=True)
        except aiosmtplib.SMTPResponseException as answer:
            return _turned_away(answer)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Later(type(error).__name__) from error
        return HandedOver(envelope.message_id)

    async def reconcile(self, mail: SendEmail, call: TaskCall) -> Any:
        """Nobody can ask a mail server: the category's policy decides."""
        if mail.category == "marketing" or call.reconciliations > RESENDS_MAX:
            return GivenUp()
        return NOT_DONE


def _turned_away(answer: aiosmtplib.SMTPResponseException) -> TurnedAway:
    """An SMTP answer other than 2xx (RFC 5321, 4.2.1), read with its enhanced code (RFC 3463) where it has one."""
    if answer.code < 500:
        raise Later(f"smtp-{answer.code}")
    if isinstance(answer, aiosmtplib.SMTPRecipientRefused):
        enhanced = answer.message.split(" ", 1)[0]
        if enhanced.startswith("5.1.") or (not enhanced.startswith("5.") and answer.code in {550, 551, 553}):
            return TurnedAway("no-such-address", address_is_bad=True)
        return TurnedAway("recipient-refused")
    return TurnedAway("refused")


class SmsCalls:
    """Hands text messages over to the SMS provider, and asks what became of them."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, sms: SendSms, call: TaskCall) -> HandedOver | TurnedAway:
        try:
            answer = await self._client.post(
                "/messages", json={"to": sms.to, "text": sms.text}, headers={"Idempotency-Key": call.idempotency_key}
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Later(type(error).__name__) from error
        except httpx.TransportError as error:
            raise Uncertain(type(error).__name__) from error
        match answer.status_code:
            case 200 | 201:
                return HandedOver(str(_body(answer)["id"]))
            case 429 | 503:
                raise Later(f"http-{answer.status_code}")
            case 400 | 422:
                return _refused(str(_body(answer).get("code", "")))
            case status:
                raise Uncertain(f"http-{status}")

    async def reconcile(self, _sms: SendSms, call: TaskCall) -> Any:
        """Whether the provider has it: HandedOver, TurnedAway or NOT_DONE; Later when it cannot tell yet."""
        try:
            answer = await self._client.get("/messages", params={"idempotency_key": call.idempotency_key})
        except httpx.TransportError as error:
            raise Later(type(error).__name__) from error
        if answer.status_code == 404:
            return NOT_DONE
        if answer.status_code != 200:
            raise Later(f"http-{answer.status_code}")
        message = _body(answer)
        match message["state"]:
            case "accepted":
                return HandedOver(str(message["id"]))
            case "rejected":
                return _refused(str(message["code"]))
            case state:
                raise Later(f"the message is {state}")


def _body(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer. Raises Uncertain: whoever answered is no SMS provider."""
    try:
        body = answer.json()
    except ValueError as error:
        raise Uncertain("an answer that is no JSON") from error
    if not isinstance(body, dict):
        raise Uncertain("an answer that is no JSON object")
    return body


def _refused(code: str) -> TurnedAway:
    return TurnedAway(code.replace("_", "-"), address_is_bad=True) if code in BAD_NUMBERS else TurnedAway("refused")
