"""Child processes that never outlive us: spawned under a guard, stopped in order, killed when they do not obey."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

GUARD = Path(__file__).with_name("guard.py")
POLL_SECONDS = 0.02
KILL_SECONDS = 10.0


class StartError(Exception):
    """A process ended or stayed silent instead of getting ready; the message holds the end of its log."""


@dataclass
class Child:
    """A process of ours, in a session of its own: Ctrl-C in a terminal reaches us alone, and we stop it in order."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]
    stop_signal: Signals
    stop_seconds: float
    log_start: int = field(default=0)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def send(self, number: Signals) -> None:
        """Send a signal; nothing happens when the process is gone."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """Ask it to end, wait `stop_seconds`, then kill it. It is gone when this returns."""
        self.send(self.stop_signal)
        try:
            self.process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(SIGKILL)
        self.process.wait(KILL_SECONDS)

    def log_text(self) -> str:
        """What this process has logged (its predecessors in the same file left out)."""
        with self.log.open("rb") as file:
            file.seek(self.log_start)
            return file.read().decode("utf-8", "replace")

    def log_tail(self, lines: int = 25) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Poll `ready` until it is true. Raises StartError when the process ends first or `seconds` are over."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive:
                raise StartError(f"{self.name} ended with {self.process.returncode}. Its log:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} was not ready after {seconds:.0f} s. Its log:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)


def spawn(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    wrapper: Sequence[str] = (),
    death_signal: Signals = SIGKILL,
    stop_signal: Signals = SIGTERM,
    stop_seconds: float = 10.0,
    stdout: int | None = None,
) -> Child:
    """Start `command`, appending what it prints to `log`; it gets `death_signal` when this process dies in any way.

    `wrapper` is a command that changes credentials and then executes the rest, such as unshare.
    Call it from the main thread: the kernel counts the end of the *thread* that spawned as the parent's death.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"{name} must be spawned from the main thread: it would die with any other")
    log.parent.mkdir(parents=True, exist_ok=True)
    guard = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), str(int(death_signal))]
    inner = [*wrapper, *guard] if wrapper else []
    with log.open("ab") as file:
        log_start = file.tell()
        process = subprocess.Popen(  # noqa: S603 - the commands are this package's own
            [*guard, *inner, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=file if stdout is None else stdout,
            stderr=file,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
        )
    return Child(name, log, process, stop_signal, stop_seconds, log_start)
