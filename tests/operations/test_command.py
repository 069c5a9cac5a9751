"""The command as a whole: each part says how it is used, a shell completes it, ./kello finds what `make up` made."""

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from deploy.local.operators import write_environment
from deploy.local.processes import ROOT
from shared.harness.kello import Kello
from shared.operations.__main__ import app
from tests.operations.conftest import operators_environment

SECONDS = 60


def commands(group: typer.core.TyperGroup, path: str) -> Iterator[tuple[str, str]]:
    """Each command's words and its help."""
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command.help or ""


def test_every_command_says_how_it_is_used() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    found = dict(commands(group, "kello"))
    assert len(found) > 20
    for words, text in found.items():
        assert words in text.strip().splitlines()[-1], f"the help of {words} must end with an example"


@pytest.fixture
async def checkout(kello: Kello, tmp_path: Path) -> Path:
    """A checkout in which `make up` has just started this test's Kello."""
    root = tmp_path / "checkout"
    state = root / ".kello" / "local"
    state.mkdir(parents=True)
    for name in ("shared", "services", ".kello/venv"):
        (root / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "kello", root / "kello")
    write_environment(state, await operators_environment(kello))
    return root


async def run(checkout: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """./kello, from somewhere else and by a shell that knows nothing of an installation."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KELLO_")}
    process = await asyncio.create_subprocess_exec(
        str(checkout / "kello"),
        *arguments,
        env={**clean, **environment},
        cwd="/",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_it_finds_what_make_up_has_started_and_the_shell_completes_it(checkout: Path) -> None:
    (code, out, _), (_, names, _) = await asyncio.gather(
        run(checkout, "offsets", "show", "billing", "--json"),
        run(checkout, _KELLO_COMPLETE="complete_bash", COMP_WORDS="kello pause pay", COMP_CWORD="2"),
    )
    assert (code, json.loads(out)) == (0, [])
    assert names.split() == ["payroll"]


async def test_the_environment_counts_before_what_make_up_has_started(checkout: Path) -> None:
    nowhere = {"KELLO_KAFKA": "127.0.0.1:1", "KELLO_DATABASES": '{"payroll": "postgresql://x@127.0.0.1:1/payroll"}'}
    code, _, err = await run(checkout, "offsets", "show", "payroll", **nowhere)
    assert code == 3
    assert "127.0.0.1:1/payroll" in err
