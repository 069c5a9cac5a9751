"""What runs in a folder: started in the background, found again, stopped.

The process in the background (`supervisor`) tells in a file what it runs. Whoever reads it checks that its writer is
alive: a process id counts only together with the moment at which that process started, so a file that a dead one left
behind never names a stranger.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.local.processes import ROOT, Say, StartError, started_at

POLL_SECONDS = 0.1
START_SECONDS = 600.0  # the first time, Kafka is fetched over whatever line there is
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Running:
    """What the supervisor tells. `processes`: name to pid of those alive; `services`: name to address and token."""

    pid: int
    started: int
    ready: bool = False
    kafka: str = ""
    postgres: str = ""
    mailbox: str = ""
    gateway: str = ""
    expected: list[str] = field(default_factory=list)
    processes: dict[str, int] = field(default_factory=dict)
    services: dict[str, tuple[str, str]] = field(default_factory=dict)


def running_in(folder: Path) -> Running | None:
    """What runs in this folder; None when nothing does."""
    try:
        told = Running(**json.loads(_file(folder).read_text()))
    except FileNotFoundError:
        return None
    return told if started_at(told.pid) == told.started else None


def bring_up(folder: Path, say: Say, *, only_servers: bool = False) -> Running:
    """Start the supervisor if it does not run, and wait until all is ready. Raises StartError."""
    folder.mkdir(parents=True, exist_ok=True)
    log = _log(folder)
    seen = log.stat().st_size if log.exists() else 0
    if running := running_in(folder):
        return _wait_until_ready(folder, running.pid, seen, say)
    pid = _detach(folder, only_servers=only_servers)
    try:
        return _wait_until_ready(folder, pid, seen, say)
    except BaseException:  # Ctrl-C as well: what is not there as a whole is not left half
        if (running := running_in(folder)) and running.pid == pid:
            take_down(folder, say)
        raise


def take_down(folder: Path, say: Say) -> bool:
    """Stop what runs in this folder and wait until it is gone; False when nothing ran."""
    running = running_in(folder)
    if running is None:
        return False
    say("Stopping")
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while running_in(folder):
        if time.monotonic() > deadline:
            os.kill(running.pid, signal.SIGKILL)  # its children go with it
        time.sleep(POLL_SECONDS)
    return True


def tell(folder: Path, running: Running) -> None:
    """Write the file anew when it would change; only its owner may read it, for the tokens."""
    text = json.dumps(asdict(running), indent=1)
    file = _file(folder)
    if file.exists() and file.read_text() == text:
        return
    folder.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(file)


def _detach(folder: Path, *, only_servers: bool) -> int:
    """Start the supervisor in a session of its own, so that it outlives the terminal; gives its pid."""
    command = [sys.executable, "-m", "deploy.local", "supervise", "--state", str(folder.absolute())]
    command += ["--only-servers"] if only_servers else []
    with _log(folder).open("ab") as file:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=ROOT, start_new_session=True
        )
    return process.pid


def _wait_until_ready(folder: Path, pid: int, seen: int, say: Say) -> Running:
    """Pass on what the supervisor logs from byte `seen` on until it is ready. Raises StartError."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        running = running_in(folder)
        seen = _pass_on(_log(folder), seen, say)
        if running and running.pid == pid and running.ready:
            return running
        if started_at(pid) is None:
            raise StartError(f"It did not start. The end of {_log(folder)}:\n{_tail(_log(folder))}")
        if time.monotonic() > deadline:
            raise StartError(f"It was not ready after {START_SECONDS:.0f} s; see {_log(folder)}")
        time.sleep(POLL_SECONDS)


def _pass_on(log: Path, seen: int, say: Say) -> int:
    """Say the lines that are new in the log, without their time; gives how far it was read."""
    with log.open() as file:
        file.seek(seen)
        for line in file.read().splitlines():
            _, _, text = line.partition("  ")
            if text:
                say(text)
        return file.tell()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text().splitlines()[-30:])


def _log(folder: Path) -> Path:
    return folder / "supervisor.log"


def _file(folder: Path) -> Path:
    return folder / "running.json"
