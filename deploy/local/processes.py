"""Child processes that never outlive us: spawned under a guard, stopped in order, killed when they do not obey."""

import os
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

Say = Callable[[str], None]
"""Tells a person what goes on, one line at a time."""

ROOT = Path(__file__).parents[2]
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


class Program(ABC):
    """Something that runs as one child process: Kafka, PostgreSQL, a service. It can be killed and launched again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._child: Child | None = None

    @property
    def process(self) -> Child:
        """The process last launched. Raises RuntimeError before the first launch."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was not launched yet")
        return self._child

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.alive

    def start(self) -> None:
        """Launch and wait until it serves; nothing when it does already. Raises StartError with the end of its log."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the process and return; nothing when it is running. From the main thread only (`spawn` says why)."""
        if not self.alive:
            self._child = self._spawn()

    @abstractmethod
    def wait_ready(self) -> None:
        """Wait until it serves; from any thread. Raises StartError with the end of its log."""

    def stop(self) -> None:
        """Orderly, and killed when that takes too long; from any thread. Nothing when it does not run."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """SIGKILL, as a crash would; gone when this returns."""
        self.process.kill()

    @abstractmethod
    def _spawn(self) -> Child:
        """Start the process."""


def started_at(pid: int) -> int | None:
    """When a process started, in ticks since boot; None when it is gone. With the pid it names one process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] == "Z" else int(fields[19])


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
) -> Child:
    """Start `command`, appending what it prints to `log`; it gets `death_signal` when this process dies in any way.

    `wrapper` is a command that changes credentials and then executes the rest, such as unshare.
    Call it from the main thread: the kernel counts the end of the *thread* that spawned as the parent's death.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        log_start = file.tell()
        process = subprocess.Popen(  # noqa: S603 - the commands are this package's own
            _guarded(command, wrapper, death_signal),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
        )
    return Child(name, log, process, stop_signal, stop_seconds, log_start)


def run_to_end(
    name: str, command: Sequence[str | Path], *, seconds: float, wrapper: Sequence[str] = (), typed: str = ""
) -> None:
    """Run a command that ends by itself, under the guard as well. Raises StartError with what it said when it fails."""
    guarded = _guarded(command, wrapper, SIGKILL)
    try:
        done = subprocess.run(  # noqa: S603 - the commands are this package's own
            guarded, input=typed, capture_output=True, text=True, timeout=seconds, check=False, start_new_session=True
        )
    except subprocess.TimeoutExpired:
        raise StartError(f"{name} had not ended after {seconds:.0f} s") from None
    if done.returncode != 0:
        raise StartError(f"{name} failed with {done.returncode}:\n{done.stdout}\n{done.stderr}")


def _guarded(command: Sequence[str | Path], wrapper: Sequence[str], death_signal: Signals) -> list[str]:
    """The command under the guard, which stands inside the wrapper, too: a change of credentials ends the first."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("children are spawned from the main thread: with any other they would die when it ends")
    guard = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), str(int(death_signal))]
    return [*guard, *(wrapper and [*wrapper, *guard]), *map(str, command)]
