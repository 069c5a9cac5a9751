"""The SMTP side of the mail server: who is refused, what is kept, and which answers get lost on the way."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.parser import HeaderParser
from typing import Self, cast

import orjson
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import BaseModel, ConfigDict, Field

from deploy.local.sandboxes.journal import Entry, Journal
from deploy.local.sandboxes.wire import listening_socket

HOSTNAME = "mail.example.com"
MAIL_BYTES_MAX = 32 * 1024 * 1024
SMTP_REPLY = r"^[45][0-9]{2} [\x20-\x7e]{1,200}$"


class MailBehaviour(BaseModel):
    """What happens to mail for a recipient; the default is that it arrives.

    `rcpt_reply` refuses the recipient, always or the first `rcpt_times`; after DATA the mail is lost on its way
    (`lose_mails`), the answer waits `delay_seconds`, `data_reply` refuses the mail, or the mail is kept and the answer
    lost (`lose_replies`). Losses are counted per Message-ID, refused recipients per address.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rcpt_reply: str | None = Field(default=None, pattern=SMTP_REPLY)
    rcpt_times: int | None = Field(default=None, ge=1)
    data_reply: str | None = Field(default=None, pattern=SMTP_REPLY)
    delay_seconds: float = Field(default=0, ge=0, le=600)
    lose_mails: int = Field(default=0, ge=0)
    lose_replies: int = Field(default=0, ge=0)


BY_DOMAIN = {
    "bounce.example.com": MailBehaviour(rcpt_reply="550 5.1.1 no such mailbox"),
    "full.example.com": MailBehaviour(rcpt_reply="552 5.2.2 mailbox full"),
    "greylist.example.com": MailBehaviour(rcpt_reply="451 4.7.1 greylisted, come back", rcpt_times=1),
    "busy.example.com": MailBehaviour(rcpt_reply="451 4.3.2 try again later"),
    "refused.example.com": MailBehaviour(data_reply="554 5.7.1 content refused"),
    "slow.example.com": MailBehaviour(delay_seconds=2),
    "lost-reply.example.com": MailBehaviour(lose_replies=1),
    "lost-mail.example.com": MailBehaviour(lose_mails=1),
}


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that was accepted, the n-th from 1. `sender` and `to` are the envelope's, the rest its header's."""

    n: int
    sender: str
    to: tuple[str, ...]
    message_id: str
    subject: str
    size: int
    received_at: datetime


class MailServer:
    """Accepts mail by SMTP while entered, and keeps it in the journal. Port 0 takes a free one."""

    def __init__(self, journal: Journal, port: int = 0) -> None:
        self.port = port
        self.mails: list[Mail] = []
        self.refused = 0
        self.latency_seconds = 0.0
        self.by_address: dict[str, MailBehaviour] = {}
        self._journal = journal
        self._down = False
        self._sessions: set[asyncio.Task[None]] = set()
        self._happened: Counter[tuple[str, str]] = Counter()
        self._entry_numbers: list[int] = []
        for entry in journal.entries():
            self._apply(entry)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._line, sock=listening_socket(self.port))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        sessions = self._cut()
        if sessions:
            await asyncio.wait(sessions)
        await self._server.wait_closed()

    def outage(self, down: bool) -> None:
        """Going down cuts every connection; while down, new ones are told 421."""
        self._down = down
        if down:
            self._cut()

    def raw(self, n: int) -> bytes:
        """The n-th mail as it arrived. LookupError: there is none."""
        if not 1 <= n <= len(self.mails):
            raise LookupError(f"there is no mail {n}")
        return self._journal.raw(self._entry_numbers[n - 1])

    def refusal(self, address: str) -> str | None:
        """The answer that refuses this recipient now, or None."""
        behaviour = self._behaviour_of(address)
        if behaviour.rcpt_reply is None:
            return None
        if behaviour.rcpt_times is not None and not self._happens("recipient_refused", address, behaviour.rcpt_times):
            return None
        if behaviour.rcpt_times is None:
            self._record("recipient_refused", address)
        return behaviour.rcpt_reply

    async def deliver(self, sender: str, to: Sequence[str], content: bytes) -> str | None:
        """The answer to DATA, or None for a line that drops without one. What is kept is kept before the answer."""
        behaviours = [self._behaviour_of(address) for address in to]
        message_id, subject = headers_of(content)
        if self._happens("mail_lost", message_id, max(b.lose_mails for b in behaviours)):
            return None
        reply = next((b.data_reply for b in behaviours if b.data_reply), None)
        if reply is None:
            self._keep(sender, to, message_id, subject, content)
        else:
            self._record("mail_refused", message_id)
        await asyncio.sleep(self.latency_seconds + max(b.delay_seconds for b in behaviours))
        if self._happens("reply_lost", message_id, max(b.lose_replies for b in behaviours)):
            return None
        return reply or "250 2.0.0 kept"

    def _line(self) -> asyncio.Protocol:
        return ClosedLine() if self._down else Line(self, self._sessions)

    def _cut(self) -> list[asyncio.Task[None]]:
        sessions = list(self._sessions)
        for session in sessions:
            session.cancel()
        return sessions

    def _behaviour_of(self, address: str) -> MailBehaviour:
        address = address.lower()
        scripted = self.by_address.get(address) or BY_DOMAIN.get(address.rpartition("@")[2])
        return scripted or MailBehaviour()

    def _keep(self, sender: str, to: Sequence[str], message_id: str, subject: str, content: bytes) -> None:
        body = {"sender": sender, "to": list(to), "message_id": message_id, "subject": subject, "size": len(content)}
        self._apply(self._journal.append("mail", message_id, orjson.dumps(body).decode(), content))

    def _happens(self, trouble: str, key: str, times: int) -> bool:
        """Whether this trouble strikes the key once more."""
        if self._happened[trouble, key] >= times:
            return False
        self._record(trouble, key)
        return True

    def _record(self, what: str, key: str) -> None:
        self._apply(self._journal.append(what, key))

    def _apply(self, entry: Entry) -> None:
        """The one place where state changes: by new entries, and by the old ones at a start."""
        if entry.what == "mail":
            body = orjson.loads(entry.body)
            to = tuple(body.pop("to"))
            self.mails.append(Mail(n=len(self.mails) + 1, to=to, received_at=entry.at, **body))
            self._entry_numbers.append(entry.n)
            return
        self._happened[entry.what, entry.key] += 1
        self.refused += entry.what in {"recipient_refused", "mail_refused"}


class Line(SMTP):
    """One connection. Its task is in `sessions` while it is open; cancelling it closes the line."""

    def __init__(self, server: MailServer, sessions: set[asyncio.Task[None]]) -> None:
        super().__init__(
            Clerk(server),
            hostname=HOSTNAME,
            ident="Kello sandbox",
            data_size_limit=MAIL_BYTES_MAX,
            enable_SMTPUTF8=True,
            loop=asyncio.get_running_loop(),
        )
        self._sessions = sessions

    async def _handle_client(self) -> None:
        session = asyncio.current_task()
        if session is None:
            raise AssertionError("aiosmtpd runs each connection in a task of its own")
        self._sessions.add(session)
        try:
            with suppress(ConnectionError):  # clients go away as they like
                await super()._handle_client()
        finally:
            self._sessions.discard(session)
            self._writer.close()

    async def drop(self) -> None:
        """Closes the line without an answer; the loss of the connection then cancels whoever waits here."""
        self._writer.transport.abort()
        await asyncio.get_running_loop().create_future()


class Clerk:
    """What aiosmtpd calls for each command (its handler hooks)."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, _line: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refusal = self._server.refusal(printable(address))
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, line: Line, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # as above
        to = [printable(address) for address in envelope.rcpt_tos]
        reply = await self._server.deliver(printable(envelope.mail_from or ""), to, envelope.original_content or b"")
        if reply is None:
            await line.drop()
        return reply or ""


class ClosedLine(asyncio.Protocol):
    """What a connection meets while the server is down."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        line = cast("asyncio.WriteTransport", transport)  # a server's always is, though uvloop's is no subclass
        line.write(f"421 4.3.2 {HOSTNAME} is not available\r\n".encode())
        line.close()


def printable(address: str) -> str:
    """An address whose undecodable bytes are replaced, so that it can be written as JSON."""
    return address.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def headers_of(content: bytes) -> tuple[str, str]:
    """Message-ID and decoded subject of a mail; empty where it has none."""
    head = content.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    headers = HeaderParser().parsestr(head)
    return str(headers.get("Message-ID", "")).strip(), decoded(str(headers.get("Subject", "")))


def decoded(text: str) -> str:
    """Header text in one line, with its encoded words (RFC 2047) decoded; as they stand where they are broken."""
    unfolded = "".join(text.splitlines())
    try:
        return str(make_header(decode_header(unfolded)))
    except (HeaderParseError, LookupError, UnicodeError):
        return unfolded
