"""Kafka and PostgreSQL: those that the environment names, else ones that live as long as we do."""

import fcntl
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from deploy.local.processes import Program, Say, StartError

if TYPE_CHECKING:
    from deploy.local.containers import Containers

SERVERS = ("embedded", "docker")


class FolderInUse(StartError):
    """Another process runs its servers in this folder."""


class Stack:
    """The two servers. `kafka` (host:port) and `postgres` (the administrator's DSN) are valid between start and stop.

    KELLO_KAFKA and KELLO_POSTGRES in the environment name servers that are already there. Each that is not named is a
    container where KELLO_SERVERS=docker asks for it and an engine answers; else it is embedded, with its state in
    `folder`, which one process may use at a time. From the main thread.
    """

    def __init__(self, folder: Path, say: Say = print, environment: Mapping[str, str] = os.environ) -> None:
        self.folder = folder.absolute()
        self.say = say
        self.kafka = environment.get("KELLO_KAFKA", "")
        self.postgres = environment.get("KELLO_POSTGRES", "")
        self.containers = None if self.kafka and self.postgres else _containers(say, environment)
        is_embedded = self.containers is None
        self.broker = Kafka(self.folder / "kafka", say) if is_embedded and not self.kafka else None
        self.server = Postgres(self.folder / "postgres", say) if is_embedded and not self.postgres else None
        self._open = ExitStack()

    def start(self) -> None:
        """Start what is not there, both at once. Raises StartError with the end of a log, or FolderInUse."""
        with ExitStack() as undo:
            undo.enter_context(lock_folder(self.folder))
            undo.callback(self._stop_servers)
            if self.containers:
                undo.enter_context(self.containers)
                self.kafka = self.kafka or self.containers.kafka()
                self.postgres = self.postgres or self.containers.postgres()
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
        """The servers that are processes of ours."""
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


def _containers(say: Say, environment: Mapping[str, str]) -> "Containers | None":
    """Servers as containers, where they are asked for and an engine answers."""
    asked = environment.get("KELLO_SERVERS") or "embedded"
    if asked not in SERVERS:
        raise StartError(f"KELLO_SERVERS is {asked}; it may be {' or '.join(SERVERS)}")
    if asked == "embedded":
        return None
    from deploy.local import containers  # noqa: PLC0415 - testcontainers is there for who asks for containers

    if containers.engine_answers():
        return containers.Containers(say, environment)
    say("No Docker engine answers: Kafka and PostgreSQL are embedded")
    return None


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
