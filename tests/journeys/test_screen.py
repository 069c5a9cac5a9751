"""What a person sees of the scripted month: plain lines where no line can change, a table on a terminal."""

import asyncio
import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console

from deploy.local.demo.screen import Screen
from shared.operations.audit.checks import Finding

ROOT = Path(__file__).parents[2]
FINDINGS = [Finding("Nothing is lost", []), Finding("Nothing is doubled", ["a [1]", "b", "c", "d", "e"])]


def test_elsewhere_than_on_a_terminal_there_are_plain_lines_with_the_time() -> None:
    seen = StringIO()
    screen = Screen(Console(file=seen, width=40))
    with screen.phase("A month of many messages that fill more than forty characters"):
        screen.show("too soon after the last line to be said")
        screen.advance()
    assert re.fullmatch(r"\S+T\S+  A month of many messages that fill more than forty characters\n", seen.getvalue())


def test_a_broken_promise_names_the_first_that_break_it() -> None:
    seen = StringIO()
    Screen(Console(file=seen, width=40)).table(FINDINGS)
    assert seen.getvalue() == "ok      Nothing is lost\nBROKEN  Nothing is doubled: a [1]; b; c; and 2 more\n"


def test_on_a_terminal_promises_stand_in_a_table() -> None:
    seen = StringIO()
    Screen(Console(file=seen, width=120, force_terminal=True)).table(FINDINGS)
    lost, doubled = (line for line in seen.getvalue().splitlines() if "Nothing" in line)
    assert "✔" in lost
    assert "✘" in doubled
    assert "a [1]; b; c; and 2 more" in doubled


async def test_a_number_of_customers_that_is_none_is_refused_before_anything_starts() -> None:
    ended = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local.demo"),
        cwd=ROOT,
        env={"DEMO_CUSTOMERS": "many"},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, said = await ended.communicate()
    assert ended.returncode == 64
    assert said.decode() == "DEMO_CUSTOMERS must be a whole number from 1 on, not 'many'\n"
