"""The SMS provider: sends text messages over HTTP, once per idempotency key.

    POST /messages
        Idempotency-Key: 1 to 255 visible ASCII characters, the same over all retries of one message
        {"to": "+4915112345678", "text": "Your invoice is ready"}     to: E.164; text: 1 to 1,600 characters

    GET /messages/by-key/{key}                  the key percent-encoded
    GET /messages?idempotency_key={key}         the same

A message, as POST and GET answer it:

    {"id": "sms_000000000001", "state": "accepted" | "rejected" | "pending", "code": null | "invalid_destination" | …,
     "key": …, "to": …, "text": …, "accepted_at": RFC 3339 | null}

    POST answers                                                                     was it sent?
    201  the message, `accepted`                                                     yes
    202  the message, `pending`: ask by key                                          not known yet
    400  problem `invalid_destination` | `opted_out`; `message`                      no, and never under this key
    400  problem `idempotency_key_missing` | `idempotency_key_invalid`               no
    409  problem `in_flight`; Retry-After                                            ask by key
    422  problem `idempotency_key_reused` | `invalid_request`                        not by this request
    429  problem `throttled`; Retry-After (seconds)                                  no
    503  problem `unavailable`; Retry-After                                          no
    the connection closes without an answer                                          ask by key

    GET answers 200 with the message, 404 problem `message_not_found` when no request with that key was ever accepted.

Keys, replays and problems are as in `gateway`. How it behaves is scripted by the last four digits of the number; every
other number is reached.

    …0000   400 invalid_destination
    …0001   accepted, then the connection closes without an answer; the first time for a key
    …0002   the connection closes and the request is forgotten; the first time for a key
    …0003   429 with `Retry-After: 1` the first time for a key
    …0004   503 two times for a key
    …0005   answers after 2 s
    …0006   400 opted_out

For the demo, tests and audits (never for an adapter):

    GET    /admin/messages?to=&after=0&limit=1000       every message that was sent, in order; limit at most 10,000
           {"messages": [{"n": 1, "id", "key", "to", "text", "accepted_at", "requests"}], "next": n | null}
    GET    /admin/summary           {"messages": 7, "rejected": 1, "pending": 0, "requests": 9}
    POST   /admin/script            {"to": …, any fields of `Behaviour`}            204
    DELETE /admin/script, POST /admin/outage, POST /admin/latency, GET /healthz     as in `gateway`
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic import Field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from deploy.local.sandboxes.journal import Journal
from deploy.local.sandboxes.provider import Behaviour, Order, Provider, Request, Words
from deploy.local.sandboxes.wire import NO_CONTENT, Front, body_of, json_response, page

WORDS = Words("message", "accepted", "rejected", "accepted_at", "sms", HTTPStatus.BAD_REQUEST)

BY_LAST_DIGITS = {
    "0000": Behaviour(decline_code="invalid_destination"),
    "0001": Behaviour(lose_replies=1),
    "0002": Behaviour(lose_requests=1),
    "0003": Behaviour(throttled_times=1),
    "0004": Behaviour(unavailable_times=2),
    "0005": Behaviour(delay_seconds=2),
    "0006": Behaviour(decline_code="opted_out"),
}
E164 = r"^\+[1-9][0-9]{6,14}$"


class MessageRequest(Request):
    """The body of POST /messages."""

    to: str = Field(pattern=E164)
    text: str = Field(min_length=1, max_length=1600)


class SmsScript(Behaviour):
    """The body of POST /admin/script: a behaviour, and the number that it is for."""

    to: str = Field(pattern=E164)


@dataclass(frozen=True, slots=True)
class TextMessage:
    """A message that was sent. `n` counts them from 1; `requests` tells how many POSTs came with the key."""

    n: int
    id: str
    key: str
    to: str
    text: str
    accepted_at: datetime
    requests: int


@asynccontextmanager
async def open_sms(state_dir: Path, port: int = 0) -> AsyncIterator["Sms"]:
    """An SMS provider that listens; port 0 takes a free one. Its state is DIR/sms.sqlite."""
    with closing(Journal(state_dir / "sms.sqlite")) as journal:
        sms = Sms(journal, port)
        async with sms.front.listener:
            yield sms


class Sms:
    """The SMS provider, as its director sees it. Its clients see `url`."""

    def __init__(self, journal: Journal, port: int) -> None:
        self._provider = Provider(WORDS, MessageRequest, self._behaviour_of, journal)
        self._by_number: dict[str, Behaviour] = {}
        self.front = Front(self._provider, self._admin_routes(), port)

    @property
    def url(self) -> str:
        return self.front.listener.url

    def script(self, behaviour: Behaviour, *, to: str) -> None:
        """From now on, new messages to this number behave like this."""
        self._by_number[to] = behaviour

    def forget_scripts(self) -> None:
        self._by_number = {}

    def outage(self, down: bool) -> None:
        """While down, every message request is answered with 503."""
        self.front.outage(down)

    def latency(self, seconds: float) -> None:
        """Every message request waits this long before anything else happens."""
        self.front.latency(seconds)

    def messages(self) -> list[TextMessage]:
        """Every message that was sent, in order."""
        return [_message(n, order) for n, order in enumerate(self._provider.done, 1)]

    def summary(self) -> dict[str, int]:
        """Counts of what happened."""
        return {
            "messages": len(self._provider.done),
            "rejected": self._provider.count("rejected"),
            "pending": self._provider.count("pending"),
            "requests": self._provider.requests,
        }

    def _behaviour_of(self, request: MessageRequest) -> Behaviour:
        return self._by_number.get(request.to) or BY_LAST_DIGITS.get(request.to[-4:]) or Behaviour()

    def _admin_routes(self) -> list[Route]:
        return [
            Route("/admin/messages", self._get_messages),
            Route("/admin/summary", self._get_summary),
            Route("/admin/script", self._post_script, methods=["POST"]),
            Route("/admin/script", self._delete_script, methods=["DELETE"]),
        ]

    async def _get_messages(self, request: HttpRequest) -> Response:
        to = request.query_params.get("to")

        def view(n: int, order: Order[MessageRequest]) -> dict[str, Any] | None:
            return asdict(_message(n, order)) if to in {None, order.request.to} else None

        return page(request, "messages", self._provider.done, view)

    async def _get_summary(self, _request: HttpRequest) -> Response:
        return json_response(self.summary())

    async def _post_script(self, request: HttpRequest) -> Response:
        script = await body_of(request, SmsScript)
        self.script(script, to=script.to)
        return NO_CONTENT

    async def _delete_script(self, _request: HttpRequest) -> Response:
        self.forget_scripts()
        return NO_CONTENT


def _message(n: int, order: Order[MessageRequest]) -> TextMessage:
    return TextMessage(
        n=n,
        id=order.id,
        key=order.key,
        to=order.request.to,
        text=order.request.text,
        accepted_at=order.moment,
        requests=order.requests,
    )
