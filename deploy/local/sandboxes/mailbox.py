"""The mail server: accepts mail by SMTP (RFC 5321), keeps every one, and shows them over HTTP.

No TLS and no login; SMTPUTF8, 8BITMIME and SIZE (32 MB) are offered. A mail that is accepted twice is kept twice, as a
mail server does: distinct Message-IDs against mails tells how often that happened.

How it behaves is scripted by the recipient's domain; every other recipient gets the mail.

    @bounce.example.com         550 5.1.1 at RCPT: no such mailbox
    @full.example.com           552 5.2.2 at RCPT: mailbox full
    @greylist.example.com       451 4.7.1 at RCPT the first time for an address, then accepted
    @busy.example.com           451 4.3.2 at RCPT every time
    @refused.example.com        554 5.7.1 after DATA: content refused
    @slow.example.com           the answer to DATA comes after 2 s
    @lost-reply.example.com     kept, then the line drops without an answer to DATA; the first time for a Message-ID
    @lost-mail.example.com      the line drops after DATA and the mail is forgotten; the first time for a Message-ID

While the server is down, open connections are cut and new ones get `421 4.3.2`.

Over HTTP, for the demo, tests and audits:

    GET    /admin/mails?to=&message_id=&after=0&limit=1000     in order of arrival; limit at most 10,000
           {"mails": [{"n": 1, "from", "to": [envelope recipients], "message_id", "subject", "size", "received_at"}],
            "next": n to go on after | null}
    GET    /admin/mails/{n}         the same, with "headers": [[name, value]], "text" and "html" (decoded, null if none)
    GET    /admin/mails/{n}/raw     message/rfc822, byte for byte as it arrived
    GET    /admin/summary           {"mails": 8, "message_ids": 7, "repeated": {message_id: times}, "refused": 1}
    POST   /admin/script            {"to": address, any fields of `MailBehaviour`}      204; address before domain
    DELETE /admin/script            204, every script is forgotten
    POST   /admin/outage            {"down": true | false}      204
    POST   /admin/latency           {"seconds": 0.2}            204; added to the answer to DATA
    GET    /healthz                 200 {"status": "ok"}

Mails survive a restart, of the process too; scripts, an outage and a latency do not.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from email import message_from_bytes, policy
from email.message import MIMEPart
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic import Field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from deploy.local.sandboxes.journal import Journal
from deploy.local.sandboxes.mail_server import Mail, MailBehaviour, MailServer
from deploy.local.sandboxes.provider import refusal
from deploy.local.sandboxes.wire import (
    HOST,
    NO_CONTENT,
    Listener,
    body_of,
    json_response,
    page,
    respond,
    stage_routes,
)


class MailScript(MailBehaviour):
    """The body of POST /admin/script: a behaviour, and the address that it is for."""

    to: str = Field(min_length=3, max_length=320)


@asynccontextmanager
async def open_mailbox(state_dir: Path, smtp_port: int = 0, http_port: int = 0) -> AsyncIterator["Mailbox"]:
    """A mail server that listens; port 0 takes a free one. Its state is DIR/mailbox.sqlite."""
    with closing(Journal(state_dir / "mailbox.sqlite")) as journal:
        async with MailServer(journal, smtp_port) as server:
            mailbox = Mailbox(server, http_port)
            async with mailbox.listener:
                yield mailbox


class Mailbox:
    """The mail server, as its director sees it. Its clients see `smtp_host` and `smtp_port`."""

    smtp_host = HOST

    def __init__(self, server: MailServer, http_port: int) -> None:
        self._server = server
        self.listener = Listener([*stage_routes(self), *self._routes()], http_port)

    @property
    def smtp_port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        return self.listener.url

    def script(self, behaviour: MailBehaviour, *, to: str) -> None:
        """From now on, mail for this address is treated like this. An address goes before its domain."""
        self._server.by_address[to.lower()] = behaviour

    def forget_scripts(self) -> None:
        self._server.by_address.clear()

    def outage(self, down: bool) -> None:
        """Going down cuts every connection; while down, new ones are told 421."""
        self._server.outage(down)

    def latency(self, seconds: float) -> None:
        """Every answer to DATA waits this long; the mail is kept before."""
        self._server.latency_seconds = seconds

    def mails(self, to: str | None = None) -> list[Mail]:
        """Every mail that was accepted, or those for one envelope recipient, in order."""
        return [mail for mail in self._server.mails if to is None or to in mail.to]

    def raw(self, n: int) -> bytes:
        """The n-th mail as it arrived. LookupError: there is none."""
        return self._server.raw(n)

    def summary(self) -> dict[str, Any]:
        """Counts of what happened, and the Message-IDs that were accepted more than once."""
        times = Counter(mail.message_id for mail in self._server.mails)
        return {
            "mails": len(self._server.mails),
            "message_ids": len(times),
            "repeated": {message_id: count for message_id, count in times.items() if count > 1},
            "refused": self._server.refused,
        }

    def _routes(self) -> list[Route]:
        return [
            Route("/admin/mails", self._get_mails),
            Route("/admin/mails/{n:int}", self._get_mail),
            Route("/admin/mails/{n:int}/raw", self._get_raw),
            Route("/admin/summary", self._get_summary),
            Route("/admin/script", self._post_script, methods=["POST"]),
            Route("/admin/script", self._delete_script, methods=["DELETE"]),
        ]

    async def _get_mails(self, request: HttpRequest) -> Response:
        to, message_id = request.query_params.get("to"), request.query_params.get("message_id")

        def view(_n: int, mail: Mail) -> dict[str, Any] | None:
            wanted = (to is None or to in mail.to) and message_id in {None, mail.message_id}
            return _view(mail) if wanted else None

        return page(request, "mails", self._server.mails, view)

    async def _get_mail(self, request: HttpRequest) -> Response:
        n = request.path_params["n"]
        if not 1 <= n <= len(self._server.mails):
            return _not_found(n)
        return json_response(_view(self._server.mails[n - 1]) | _content(self._server.raw(n)))

    async def _get_raw(self, request: HttpRequest) -> Response:
        n = request.path_params["n"]
        if not 1 <= n <= len(self._server.mails):
            return _not_found(n)
        return Response(self._server.raw(n), media_type="message/rfc822")

    async def _get_summary(self, _request: HttpRequest) -> Response:
        return json_response(self.summary())

    async def _post_script(self, request: HttpRequest) -> Response:
        script = await body_of(request, MailScript)
        self.script(script, to=script.to)
        return NO_CONTENT

    async def _delete_script(self, _request: HttpRequest) -> Response:
        self.forget_scripts()
        return NO_CONTENT


def _view(mail: Mail) -> dict[str, Any]:
    return {
        "n": mail.n,
        "from": mail.sender,
        "to": mail.to,
        "message_id": mail.message_id,
        "subject": mail.subject,
        "size": mail.size,
        "received_at": mail.received_at,
    }


def _content(raw: bytes) -> dict[str, Any]:
    message = message_from_bytes(raw, policy=policy.default)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    return {
        "headers": [(name, str(value)) for name, value in message.items()],
        "text": _text(text),
        "html": _text(html),
    }


def _text(part: MIMEPart | None) -> str | None:
    if part is None:
        return None
    try:
        return str(part.get_content())
    except LookupError:  # a charset that nobody knows
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else str(payload)


def _not_found(n: int) -> Response:
    return respond(refusal(HTTPStatus.NOT_FOUND, "mail_not_found", f"there is no mail {n}"))
