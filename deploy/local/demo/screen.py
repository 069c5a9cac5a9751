"""What is seen while it runs: live progress on a terminal, plain lines with the time elsewhere."""

import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from shared.operations.audit.checks import Finding

OFFENDING_SHOWN = 3
SHOWN_CHARACTERS = 70
PLAIN_SECONDS = 10.0
"""Where no line can change, what is done just now is said no more often than this."""


class Screen:
    """Says what happens; on a terminal the last line is alive."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._began = self._said = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """One line that stays."""
        self._said = time.monotonic()
        if self.console.is_terminal:
            self.console.print(Text(f"{self.seconds:6.1f} s  {text}"))
        else:
            self.console.print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')}  {text}", markup=False, soft_wrap=True)

    @contextmanager
    def phase(self, text: str, total: int | None = None) -> Iterator[None]:
        """A part of the work; `advance` and `show` move its bar while it lasts."""
        self.say(text)
        if not self.console.is_terminal:
            yield
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as self._progress:
            self._task = self._progress.add_task(text, total=total)
            try:
                yield
            finally:
                self._task = None

    def advance(self) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)

    def show(self, text: str) -> None:
        """What is done just now, as far as a line holds it."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=textwrap.shorten(text, SHOWN_CHARACTERS, placeholder=" …"))
        elif not self.console.is_terminal and time.monotonic() - self._said > PLAIN_SECONDS:
            self.say(text)

    def table(self, findings: Sequence[Finding]) -> None:
        """Each promise, and whether it holds."""
        if not self.console.is_terminal:
            for each in findings:
                self.console.print(_plain(each), markup=False, soft_wrap=True)
            return
        table = Table("", "promise", "broken by", box=None, padding=(0, 1))
        for each in findings:
            mark = Text("✔", "green") if each.holds else Text("✘", "red")
            table.add_row(mark, Text(each.promise), Text(_shown(each), "red"))
        self.console.print(table)

    def card(self, title: str, content: RenderableType) -> None:
        """Something to look at."""
        if self.console.is_terminal:
            self.console.print(Panel(content, title=title, title_align="left"))
        else:
            self.console.print(f"\n--- {title}", markup=False)
            self.console.print(content, markup=False, soft_wrap=True)


def _plain(finding: Finding) -> str:
    return f"ok      {finding.promise}" if finding.holds else f"BROKEN  {finding.promise}: {_shown(finding)}"


def _shown(finding: Finding) -> str:
    shown = "; ".join(finding.offending[:OFFENDING_SHOWN])
    more = len(finding.offending) - OFFENDING_SHOWN + finding.more
    return f"{shown}; and {more} more" if more > 0 else shown
