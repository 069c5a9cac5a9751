"""Kafka and PostgreSQL: those that the environment names, else embedded ones that live as long as we do."""

import fcntl
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from deploy.local.processes import Program, Say, StartError


class FolderInUse(StartError):
    """Another process runs its servers in this folder."""


class Stack:
    """The two servers. `kafka` (host:port) and `postgres` (the administrator's DSN) are valid between start and stop.

    KELLO_KAFKA and KELLO_POSTGRES in the environment name servers that are already there; each that is not named is
    embedded, with its state in `folder`, which one process may use at a time. From the main thread.
    """

    def __init__(self, folder: Path, say: Say = print, environment: Mapping[str, str] = os.environ) -> None:
        self.folder = folder.absolute()
        self.say = say
        self.kafka = environment.get("KELLO_KAFKA", "")
        self.postgres = environment.get("KELLO_POSTGRES", "")
        self.broker = None if self.kafka else Kafka(self.folder / "kafka", say)
        self.server = None if self.postgres else Postgres(self.folder / "postgres", say)
        self._open = ExitStack()

    def start(self) -> None:
        """Start what is not there, both at once. Raises StartError with the end of a log, or FolderInUse."""
        with ExitStack() as undo:
            undo.enter_context(lock_folder(self.folder))
            undo.callback(self._stop_servers)
            if self.broker:
                self.say("Starting Apache Kafka")
                self.broker.launch()
            if self.server:
                self.say("Starting PostgreSQL")
                self.server.start()
                self.postgres = self.server.dsn
            if self.broker:
                self.broker.start()
                self.kafka = self.broker.address
            self._open = undo.pop_all()

    def programs(self) -> list[Program]:
        """The servers that are ours."""
        return [server for server in (self.broker, self.server) if server]

    def stop(self) -> None:
        """Stop what was started here, in order and in bounded time."""
        self._open.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _stop_servers(self) -> None:
        try:
            if self.broker:
                self.broker.stop()
        finally:
            if self.server:
                self.server.stop()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the kernel lets go of it however we end. Raises FolderInUse."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(f"another process of Kello is at work in {folder}: wait for it or stop it") from None
        yield


def exit_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this process as an exception does, so that every `with` block closes what it opened.

    A second one, or Ctrl-C while closing, does not cut the closing short: that is bounded by itself.
    """

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        for handled in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(handled, signal.SIG_IGN)
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, leave)
