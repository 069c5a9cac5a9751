"""The environment of the peers, apart from Kello's own: one of them asks for an older pydantic than Kello uses."""

import hashlib
import re
import subprocess
from functools import cache
from pathlib import Path

from deploy.environment import find_uv, succeeds
from tests.bench.stage import ROOT, STATE

LOCK = ROOT / "tests" / "bench" / "requirements.lock"
VENV = STATE / "peers"
PINNED = re.compile(r"^(faststream-outbox|faust-streaming|quixstreams)(?:\[\w+\])?==(\S+)", re.MULTILINE)


def python() -> Path:
    """The peers' interpreter, once `missing` was asked."""
    return VENV / "bin" / "python"


def versions() -> str:
    """Of the peers' libraries, as their lock has them."""
    pinned = PINNED.findall(LOCK.read_text())
    return ", ".join(f"{name} {number}" for name, number in pinned)


@cache
def missing(module: str) -> str | None:
    """Why a peer cannot take part, in a line; None where its library can be imported."""
    if not _installed():
        return f"the packages of {LOCK.relative_to(ROOT)} could not be installed"
    done = subprocess.run([str(python()), "-c", f"import {module}"], capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    return None if done.returncode == 0 else f"it cannot be imported: {done.stderr.strip().splitlines()[-1]}"


@cache
def _installed() -> bool:
    """Make the environment as the lock says; from uv's cache alone where that holds everything."""
    stamp = VENV / "stamp"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return True
    uv = find_uv()
    sync = [uv, "pip", "sync", "--quiet", "--python", str(python()), "--require-hashes", str(LOCK)]
    made = succeeds(uv, "venv", "--quiet", "--clear", "--no-project", str(VENV)) and (
        succeeds(*sync, "--offline", quiet=True) or succeeds(*sync)
    )
    if made:
        stamp.write_text(wanted)
    return made
