"""Sandboxes: the outside world of Kello on loopback, for the demo and for tests.

A payment gateway and an SMS provider (HTTP) and a mail server (SMTP) that do what good and bad providers do: they know
idempotency keys, decline, answer late, lose requests and replies, are down for a while, and tell afterwards what really
happened. Their wire protocols are written in `gateway`, `sms` and `mailbox`.

As a process, `python -m deploy.local.sandboxes --state DIR` prints one line of JSON when all three listen:

    {"gateway": "http://127.0.0.1:P", "sms": "http://127.0.0.1:P", "smtp_host": "127.0.0.1", "smtp_port": P,
     "mailbox": "http://127.0.0.1:P"}

In a test's own event loop:

    async with Sandboxes(state_dir) as sandboxes:
        sandboxes.gateway.url, sandboxes.sms.url, sandboxes.mailbox.smtp_port, sandboxes.mailbox.url
        sandboxes.gateway.script(Behaviour(lose_replies=1), reference="payslip-7")
        sandboxes.gateway.captures(), sandboxes.sms.messages(), sandboxes.mailbox.mails()

What happened is kept in the state directory, and a sandbox that starts there again goes on from it.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deploy.local.sandboxes.gateway import Capture, Gateway, open_gateway
from deploy.local.sandboxes.mail_server import Mail, MailBehaviour
from deploy.local.sandboxes.mailbox import Mailbox, open_mailbox
from deploy.local.sandboxes.provider import Behaviour
from deploy.local.sandboxes.sms import Sms, TextMessage, open_sms

__all__ = [
    "Behaviour",
    "Capture",
    "Gateway",
    "Mail",
    "MailBehaviour",
    "Mailbox",
    "Ports",
    "Sandboxes",
    "Sms",
    "TextMessage",
]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen; 0 takes a free port."""

    gateway: int = 0
    sms: int = 0
    smtp: int = 0
    mailbox: int = 0


class Sandboxes:
    """All three, listening in this event loop while entered."""

    gateway: Gateway
    sms: Sms
    mailbox: Mailbox

    def __init__(self, state_dir: Path, ports: Ports = Ports()) -> None:  # frozen, so safely shared
        self._state_dir = state_dir
        self._ports = ports

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            enter, state_dir, ports = stack.enter_async_context, self._state_dir, self._ports
            self.gateway = await enter(open_gateway(state_dir, ports.gateway))
            self.sms = await enter(open_sms(state_dir, ports.sms))
            self.mailbox = await enter(open_mailbox(state_dir, ports.smtp, ports.mailbox))
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def addresses(self) -> dict[str, str | int]:
        """Where they listen, as the process prints it."""
        return {
            "gateway": self.gateway.url,
            "sms": self.sms.url,
            "smtp_host": self.mailbox.smtp_host,
            "smtp_port": self.mailbox.smtp_port,
            "mailbox": self.mailbox.url,
        }
