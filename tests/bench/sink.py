"""A mail server that takes everything at once and keeps nothing but a count: so that notify is measured, and not it.

    python -m tests.bench.sink PORT FILE

FILE holds how many mails came and how many different Message-IDs they had, rewritten whenever that changed.
"""

import asyncio
import re
import sys
from pathlib import Path
from typing import cast

import uvloop

MESSAGE_ID = re.compile(rb"^message-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
TELL_SECONDS = 0.02
END = b"\r\n.\r\n"


class Mails:
    """What came so far."""

    def __init__(self) -> None:
        self.count = 0
        self.ids: set[bytes] = set()

    def take(self, mail: bytes) -> None:
        self.count += 1
        found = MESSAGE_ID.search(mail)
        self.ids.add(found[1] if found else b"")


class Line(asyncio.Protocol):
    """SMTP (RFC 5321) as far as a client needs that has nothing to be told."""

    def __init__(self, mails: Mails) -> None:
        self._mails = mails
        self._received = b""
        self._is_data = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own, of no class of asyncio
        self._answer(b"220 sink ESMTP")

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._take_next():
            pass

    def _take_next(self) -> bool:
        """One command, or one mail; False where no whole one is there."""
        whole, end, rest = self._received.partition(END if self._is_data else b"\r\n")
        if not end:
            return False
        self._received = rest
        if self._is_data:
            self._is_data = False
            self._mails.take(whole)
            self._answer(b"250 2.0.0 taken")
        else:
            self._obey(whole[:4].upper())
        return True

    def _obey(self, verb: bytes) -> None:
        match verb:
            case b"EHLO":
                self._answer(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8")
            case b"DATA":
                self._is_data = True
                self._answer(b"354 go ahead")
            case b"QUIT":
                self._answer(b"221 2.0.0 bye")
                if self._transport is not None:
                    self._transport.close()
            case _:
                self._answer(b"250 2.0.0 ok")

    def _answer(self, text: bytes) -> None:
        if self._transport is not None:
            self._transport.write(text + b"\r\n")


async def main(port: int, file: Path) -> None:
    mails = Mails()
    await asyncio.get_running_loop().create_server(lambda: Line(mails), "127.0.0.1", port)
    told = -1
    while True:
        if told != mails.count:
            told = mails.count
            fresh = file.with_suffix(".new")
            fresh.write_text(f"{told} {len(mails.ids)}")
            fresh.replace(file)
        await asyncio.sleep(TELL_SECONDS)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2])))
