"""The process behind `make up`: it owns every child, starts again what ended, and tells in a file where all is."""

import os
import time
from pathlib import Path

from deploy.local.operators import operators_environment, write_environment
from deploy.local.processes import Program, started_at
from deploy.local.running import Running, tell
from deploy.local.stack import exit_on_signals, lock_folder
from deploy.local.system import System

POLL_SECONDS = 0.25
RESTART_SECONDS, RESTART_SECONDS_MAX = 0.5, 30.0


def supervise(folder: Path, *, only_servers: bool) -> None:
    """Be the supervisor: run until SIGTERM or SIGINT."""
    exit_on_signals()
    system = System(folder, _say_with_time, only_servers=only_servers)
    with lock_folder(folder / "supervisor"):  # before we say that it is us
        tell(folder, _myself())
        with system:
            if system.services:
                write_environment(folder, operators_environment(system))
            revival = Revival()
            while True:
                tell(folder, _state_of(system))
                revival.revive(system.programs())
                time.sleep(POLL_SECONDS)  # a look at every process, four times a second


class Revival:
    """Starts programs again that ended, each the more slowly the more often it ends."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._wait: dict[str, float] = {}

    def revive(self, programs: list[Program]) -> None:
        """Launch what is due; called again and again."""
        now = time.monotonic()
        for program in programs:
            name = program.name
            if program.alive:
                if now > self._next.get(name, 0) + RESTART_SECONDS_MAX:
                    self._wait.pop(name, None)
            elif now >= self._next.get(name, 0):
                wait = self._wait.get(name, RESTART_SECONDS)
                _say_with_time(f"{name} ended with {program.process.process.returncode}: starting it again")
                self._next[name] = now + wait
                self._wait[name] = min(2 * wait, RESTART_SECONDS_MAX)
                program.launch()


def _say_with_time(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')}  {text}", flush=True)  # noqa: T201 - the supervisor's log


def _myself() -> Running:
    return Running(os.getpid(), started_at(os.getpid()) or 0)


def _state_of(system: System) -> Running:
    return Running(
        os.getpid(),
        started_at(os.getpid()) or 0,
        ready=True,
        kafka=system.stack.kafka,
        postgres=system.stack.postgres,
        mailbox=system.outside.mailbox if system.services else "",
        gateway=system.outside.gateway if system.services else "",
        expected=[program.name for program in system.programs()],
        processes={program.name: program.process.pid for program in system.programs() if program.alive},
        services={name: (service.url, service.token) for name, service in system.services.items()},
    )
