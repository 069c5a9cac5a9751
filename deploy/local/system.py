"""The whole system on one machine: the two servers, the sandboxes of the world outside, and the four services."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.databases import Database
from deploy.local.ports import free_port
from deploy.local.processes import ROOT, Child, Program, Say, spawn
from deploy.local.services import Service, prepare, service_names, stop_together
from deploy.local.stack import Stack

SANDBOX_SECONDS = 30.0


@dataclass(frozen=True)
class Outside:
    """Where the stand-ins for the world outside are."""

    gateway: str
    sms: str
    smtp_host: str
    smtp_port: int
    mailbox: str

    def settings(self) -> dict[str, str]:
        """What a service is told of them."""
        return {
            "KELLO_GATEWAY_URL": self.gateway,
            "KELLO_SMS_URL": self.sms,
            "KELLO_SMTP_HOST": self.smtp_host,
            "KELLO_SMTP_PORT": str(self.smtp_port),
        }


class System:
    """All of Kello, running between start and stop with its state in `folder`. From the main thread, outside a loop.

    `services["billing"].kill()` and `.start()` do what they say; `outside` and `databases` say where the rest is.
    """

    def __init__(
        self,
        folder: Path,
        say: Say = print,
        environment: Mapping[str, str] = os.environ,
        *,
        prefix: str = "",
        only_servers: bool = False,
    ) -> None:
        self.folder = folder.absolute()
        self.say = say
        self.prefix = prefix
        self.only_servers = only_servers
        self.stack = Stack(folder, say, environment)
        self.databases: dict[str, Database] = {}
        self.services: dict[str, Service] = {}
        self._sandboxes: Sandboxes | None = None
        self._open = ExitStack()

    @property
    def outside(self) -> Outside:
        """Valid after start."""
        if self._sandboxes is None:
            raise RuntimeError("the sandboxes were not started yet")
        return self._sandboxes.outside

    def start(self) -> None:
        """Start everything and wait until every service is ready. Raises StartError; then nothing is left running."""
        with ExitStack() as undo:
            undo.enter_context(self.stack)
            if not self.only_servers:
                self._start_kello(undo)
            self._open = undo.pop_all()

    def stop(self) -> None:
        """Services first, servers last, each in bounded time."""
        self._open.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def programs(self) -> list[Program]:
        """Every process of ours, the servers first."""
        outside = [self._sandboxes] if self._sandboxes else []
        return [*self.stack.programs(), *outside, *self.services.values()]

    def _start_kello(self, undo: ExitStack) -> None:
        self.say("Creating topics and databases")
        kafka, postgres = self.stack.kafka, self.stack.postgres
        self.databases = asyncio.run(prepare(kafka, postgres, service_names(), prefix=self.prefix))
        self._sandboxes = Sandboxes(self.folder / "sandboxes")
        undo.callback(self._sandboxes.stop)
        self._sandboxes.start()
        undo.callback(lambda: stop_together(self.services.values()))
        self._start_services()

    def _start_services(self) -> None:
        tokens = _remembered_tokens(self.folder / "tokens.json", list(self.databases))
        self.services = {
            name: Service(
                name,
                self.folder / "logs",
                kafka=self.stack.kafka,
                database=database,
                settings=self.outside.settings(),
                prefix=self.prefix,
                token=tokens[name],
            )
            for name, database in self.databases.items()
        }
        self.say(f"Starting {', '.join(self.services)}")
        for service in self.services.values():
            service.launch()
        for service in self.services.values():
            service.wait_ready()


class Sandboxes(Program):
    """The gateway, the SMS provider and the mail server, one process; what happened to them is kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__("sandboxes")
        self.folder = folder
        self.ports = {name: free_port() for name in ("gateway", "sms", "smtp", "mailbox")}

    @property
    def outside(self) -> Outside:
        """Their addresses, which stay the same when they are started again."""
        gateway, sms, mailbox = (f"http://127.0.0.1:{self.ports[name]}" for name in ("gateway", "sms", "mailbox"))
        return Outside(gateway, sms, "127.0.0.1", self.ports["smtp"], mailbox)

    def wait_ready(self) -> None:
        """Wait until all of them listen: they say so in one line of JSON."""
        child = self.process
        child.wait_ready(lambda: '{"gateway"' in child.log_text(), SANDBOX_SECONDS)

    def _spawn(self) -> Child:
        command = [sys.executable, "-m", "deploy.local.sandboxes", "--state", str(self.folder)]
        for name, port in self.ports.items():
            command += [f"--{name}-port", str(port)]
        return spawn(self.name, command, log=self.folder / "sandboxes.log", cwd=ROOT)


def _remembered_tokens(file: Path, services: list[str]) -> dict[str, str]:
    """One bearer token per service, the same at the next start."""
    tokens = json.loads(file.read_text()) if file.exists() else {}
    tokens = {name: tokens.get(name) or secrets.token_urlsafe(18) for name in services}
    file.touch(mode=0o600)
    file.write_text(json.dumps(tokens))
    return tokens
