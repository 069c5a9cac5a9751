"""Mails as bytes, and the lines to the mail server that take them.

The standard library builds some hundreds of mails a second. Here a skeleton for each template and language is made
once, and filled in with bytes: the bodies in base64, so that no line is too long and none can look like a boundary.
"""

import re
from base64 import b64encode, encodebytes
from dataclasses import dataclass
from datetime import UTC
from email.utils import format_datetime
from functools import cache
from types import TracebackType
from typing import Self

import aiosmtplib

from services.notify.domain.tasks import SendEmail
from services.notify.letters import one_line
from shared.messaging.tasks import Uncertain

LINE_SECONDS = 8.0
"""How long the mail server may take for one answer: less than a call may take as a whole."""
CONNECT_SECONDS = 3.0
MAILS_PER_LINE_MAX = 500
"""Mail servers end lines that go on for ever."""

PLAIN_WORDS = re.compile(r"[A-Za-z0-9 !#$%&'*+/=?^_`{|}~-]*\Z")
"""A display name that needs neither quotes nor encoding (RFC 5322, 3.2.3)."""

WORD_OCTETS_MAX = 36
"""Of one encoded word: with its frame and the header's name it stays within 76 characters (RFC 2047, 2)."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A mail as it goes over the line: whom it is for, its Message-ID, its bytes."""

    to: str
    message_id: str
    content: bytes


class Postbox:
    """Lines to one mail server, reused from mail to mail. Whoever posts has a line of its own while it does."""

    def __init__(self, host: str, port: int, sender: str, sender_name: str) -> None:
        self._host = host
        self._port = port
        self._sender = sender
        self._domain = sender.rpartition("@")[2]
        self._from = mailbox(sender_name, sender)
        self._idle: list[Line] = []
        self._lines: set[Line] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._lines:
            line.client.close()
        self._lines.clear()
        self._idle.clear()

    def envelope(self, mail: SendEmail) -> Envelope:
        """The same notification makes the same bytes, at every try."""
        message_id = f"<{mail.notification_id}@{self._domain}>"
        content = skeleton(mail.template, mail.language) % {
            b"from": self._from.encode(),
            b"to": mailbox(mail.name, mail.to).encode(),
            b"subject": encoded(mail.subject).encode(),
            b"message_id": message_id.encode(),
            b"date": format_datetime(mail.dated.astimezone(UTC)).encode(),
            b"boundary": mail.notification_id.hex.encode(),
            b"text": encodebytes(mail.text.encode()),
            b"html": encodebytes(mail.html.encode()),
        }
        return Envelope(mail.to, message_id, content)

    async def post(self, envelope: Envelope) -> None:
        """Hands a mail over.

        Raises aiosmtplib's errors where nothing was handed over, and Uncertain where the line broke after DATA.
        """
        line = await self._line(envelope.to)
        is_usable = False
        try:
            await self._data(line, envelope)
            is_usable = True
        except aiosmtplib.SMTPResponseException as answer:
            is_usable = await line.reset() if answer.code != CLOSING else False
            raise
        finally:
            self._put_back(line, is_usable=is_usable)

    async def _line(self, to: str) -> "Line":
        """A line on which the transaction has begun. One that the server closed meanwhile is replaced."""
        while self._idle:
            line = self._idle.pop()
            try:
                await line.begin(self._sender, to)
            except (aiosmtplib.SMTPServerDisconnected, ConnectionError):
                self._put_back(line, is_usable=False)
            except BaseException:
                self._put_back(line, is_usable=False)
                raise
            else:
                return line
        line = Line(aiosmtplib.SMTP(hostname=self._host, port=self._port, timeout=LINE_SECONDS, start_tls=False))
        self._lines.add(line)
        try:
            await line.client.connect(timeout=CONNECT_SECONDS)
            await line.client.ehlo()
            await line.begin(self._sender, to)
        except BaseException:
            self._put_back(line, is_usable=False)
            raise
        return line

    async def _data(self, line: "Line", envelope: Envelope) -> None:
        await line.recipient(envelope.to)
        try:
            await line.client.data(envelope.content)
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError) as error:
            raise Uncertain("the line broke after DATA") from error

    def _put_back(self, line: "Line", *, is_usable: bool) -> None:
        line.mails += 1
        if is_usable and line.mails < MAILS_PER_LINE_MAX:
            self._idle.append(line)
        else:
            line.client.close()
            self._lines.discard(line)


OK, FORWARDED, CLOSING = 250, 251, 421
"""Answers of RFC 5321, 4.2.3; with 421 the server ends the line."""


@dataclass(slots=True, eq=False)
class Line:
    """One connection, and how many mails went over it."""

    client: aiosmtplib.SMTP
    mails: int = 0

    async def begin(self, sender: str, to: str) -> None:
        """MAIL. Raises SMTPNotSupported for an address beyond ASCII where the server does not take those."""
        options = []
        if not to.isascii():
            if not self.client.supports_extension("smtputf8"):
                raise aiosmtplib.SMTPNotSupported("SMTPUTF8")
            options.append(b"SMTPUTF8")
        answer = await self.client.execute_command(b"MAIL", b"FROM:<%s>" % sender.encode(), *options)
        if answer.code != OK:
            raise aiosmtplib.SMTPSenderRefused(answer.code, answer.message, sender)

    async def recipient(self, to: str) -> None:
        """RCPT. An address that got here is well-formed; aiosmtplib's own method would parse it once more, slowly."""
        answer = await self.client.execute_command(b"RCPT", b"TO:<%s>" % to.encode())
        if answer.code not in {OK, FORWARDED}:
            raise aiosmtplib.SMTPRecipientRefused(answer.code, answer.message, to)

    async def reset(self) -> bool:
        """Ends a transaction that was refused. False: the line is of no use any more."""
        try:
            await self.client.rset()
        except (aiosmtplib.SMTPException, OSError):
            return False
        return True


@cache
def skeleton(template: str, language: str) -> bytes:
    """A mail of two alternatives with holes (RFC 2046, 5.1.4), lines ended by CRLF."""
    lines = (
        "From: %(from)s",
        "To: %(to)s",
        "Subject: %(subject)s",
        "Date: %(date)s",
        "Message-ID: %(message_id)s",
        "Auto-Submitted: auto-generated",  # RFC 3834: no out-of-office answers, please
        f"Content-Language: {language}",
        f"X-Kello-Template: {template}",
        "MIME-Version: 1.0",
        'Content-Type: multipart/alternative; boundary="%(boundary)s"',
        "",
        "--%(boundary)s",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
        "%(text)s",
        "--%(boundary)s",
        "Content-Type: text/html; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
        "%(html)s",
        "--%(boundary)s--",
        "",
    )
    return "\r\n".join(lines).encode()


def mailbox(name: str, address: str) -> str:
    """A name and an address as a header has them. What could end the header is taken out of the name."""
    name = one_line(name)
    if not name:
        return address
    if not _is_plain(name):
        return f"{_in_words(name)} <{address}>"
    if PLAIN_WORDS.match(name):
        return f"{name} <{address}>"
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>'


def encoded(subject: str) -> str:
    """A subject as a header has it."""
    subject = one_line(subject)
    return subject if _is_plain(subject) else _in_words(subject)


def _is_plain(text: str) -> bool:
    return text.isascii() and "=?" not in text


def _in_words(text: str) -> str:
    """Encoded words (RFC 2047), one a line: ten times as fast as the standard library's, which weighs every charset."""
    words, chunk = [], b""
    for character in text:
        octets = character.encode()
        if len(chunk) + len(octets) > WORD_OCTETS_MAX:
            words.append(chunk)
            chunk = b""
        chunk += octets
    words.append(chunk)
    return "\r\n ".join(f"=?utf-8?b?{b64encode(word).decode()}?=" for word in words)
