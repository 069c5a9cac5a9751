"""Make the checkout's own Python environment, `.kello/venv`, from requirements.lock; nothing to do when it is there.

    python3 deploy/environment.py

Standard library only: this runs before anything is installed. uv comes from the PATH, else from an earlier checkout of
this user, else from pip. Both respect the user's own settings for indexes, proxies and certificates.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / ".kello"
VENV = STATE / "venv"
LOCK = ROOT / "requirements.lock"
STAMP = STATE / "environment"
CACHED_UV = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kello" / "bin" / "uv"
OLDEST = (3, 11)
PIP_FOR_UV = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_FIND_LINKS": "UV_FIND_LINKS"}


def main() -> None:
    if sys.version_info < OLDEST:
        sys.exit(f"Kello needs Python {OLDEST[0]}.{OLDEST[1]} or later; {sys.executable} is {sys.version.split()[0]}")
    try:
        STATE.mkdir(exist_ok=True)
        with (STATE / "environment.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two makes at once in one checkout
            make_environment()
    except PermissionError as error:
        sys.exit(f"{error.filename} belongs to another user: remove {STATE}, or work as that user")


def make_environment() -> None:
    """Bring .kello/venv to what requirements.lock says, and leave a stamp that says so."""
    state = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if not (STAMP.exists() and STAMP.read_text() == state and works(VENV / "bin" / "python")):
        print("Making the Python environment: about 125 MB the first time, from uv's cache later", flush=True)  # noqa: T201 - says why it takes time
        uv = find_uv()
        if not works(VENV / "bin" / "python"):
            run(uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(VENV))
        # first from the cache alone: what was fetched before needs no network and no waiting for one
        sync = [uv, "pip", "sync", "--python", str(VENV / "bin" / "python"), "--require-hashes", str(LOCK)]
        sync += [] if sys.stdout.isatty() else ["--quiet"]  # its progress is for people
        if not succeeds(*sync, "--offline", quiet=True) and not succeeds(*sync):
            sys.exit("The Python packages could not be installed")
        STAMP.write_text(state)
    STAMP.touch()  # newer than requirements.lock: make need not ask again


def works(python: Path) -> bool:
    """Whether an environment is there and of this very Python."""
    if not python.exists():
        return False
    ask = [str(python), "-c", "import sys; print(sys.version)"]
    return subprocess.run(ask, capture_output=True, text=True, check=False).stdout == f"{sys.version}\n"  # noqa: S603 - our own


def find_uv() -> str:
    """uv's path; installed where there is none."""
    own = STATE / "uv" / "bin" / "uv"
    if found := shutil.which("uv"):
        return found
    if not own.exists() and CACHED_UV.exists():
        own.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CACHED_UV, own)
    if not own.exists():
        install_uv(own)
    return str(own)


def install_uv(own: Path) -> None:
    """Into a folder of the checkout, by the pip of this Python or, where it has none, of a new environment."""
    if succeeds(sys.executable, "-m", "pip", "--version", quiet=True):
        run(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(STATE / "uv"), "--upgrade", "uv")
    else:
        run(sys.executable, "-m", "venv", "--clear", str(STATE / "uv"))
        run(str(STATE / "uv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv")
    CACHED_UV.parent.mkdir(parents=True, exist_ok=True)
    fresh = CACHED_UV.with_name(f"uv.{os.getpid()}")
    shutil.copy2(own, fresh)
    fresh.replace(CACHED_UV)


def run(*command: str) -> None:
    """Run a command; leave with what it said when it fails."""
    if not succeeds(*command):
        sys.exit(f"This failed: {' '.join(command)}")


def succeeds(*command: str, quiet: bool = False) -> bool:
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, env=environment(), stdout=output, stderr=output, check=False).returncode == 0  # noqa: S603 - our own


def environment() -> dict[str, str]:
    """Ours, with pip's indexes told to uv where uv was told none."""
    told = {uv: os.environ[pip] for pip, uv in PIP_FOR_UV.items() if pip in os.environ and uv not in os.environ}
    return {**told, "PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **os.environ}


if __name__ == "__main__":
    main()
