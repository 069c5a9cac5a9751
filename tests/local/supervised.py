"""What the tests of supervision share: the commands, and who is still there."""

import subprocess
import sys
import time
from pathlib import Path

from deploy.local.running import Running, running_in

ROOT = Path(__file__).parents[2]
GONE_SECONDS = 60.0
"""Servers that end write their last checkpoint, and a busy disk takes its time."""
COMMAND_SECONDS = 300.0


def command(name: str, folder: Path, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """`python -m deploy.local up` and so on, which must end with this exit code."""
    done = subprocess.run(  # noqa: S603 - the test's own command
        [sys.executable, "-m", "deploy.local", name, "--state", str(folder), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def processes_in(folder: Path) -> list[int]:
    """Those that work in the folder or name it in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            here = (entry / "cwd").readlink().is_relative_to(folder)
            if here or str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # it ended while we looked, or is not ours to look at
    return found


def assert_all_gone(folder: Path) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while left := processes_in(folder):
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
        time.sleep(0.02)


def until_revived(folder: Path, before: Running) -> Running:
    deadline = time.monotonic() + GONE_SECONDS
    while not (now := running_in(folder)) or now.processes.keys() != before.processes.keys() or now == before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return now
