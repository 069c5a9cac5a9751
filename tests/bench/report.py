"""Figures and what becomes of them: a table to look at, JSON to compare, a chart for the README."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

import orjson
from rich.console import Console
from rich.table import Table

BAR_PIXELS, ROW_PIXELS, LABEL_PIXELS, MARGIN_PIXELS = 420, 34, 290, 16


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should reach."""

    value: float
    at_least: bool = True

    def holds(self, value: float) -> bool:
        return value >= self.value if self.at_least else value <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {readable(self.value)}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, once per round. Without rounds it was not, and `note` says why."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    goal: Goal | None = None
    note: str = ""

    @property
    def median(self) -> float | None:
        return median(self.rounds) if self.rounds else None

    @property
    def holds(self) -> bool | None:
        """None where there is no goal, or nothing was measured."""
        return None if self.goal is None or self.median is None else self.goal.holds(self.median)

    def told(self) -> dict[str, object]:
        """As in bench.json."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.rounds, default=None),
            "max": max(self.rounds, default=None),
            "rounds": list(self.rounds),
            "goal": str(self.goal) if self.goal else None,
            "holds": self.holds,
            "note": self.note,
        }


def unmeasured(name: str, unit: str, why: str, goal: Goal | None = None) -> Figure:
    """A figure that could not be taken."""
    return Figure(name, unit, (), goal, why)


def ratio(
    name: str, mine: Sequence[float], theirs: Sequence[float], goal: Goal | None = None, note: str = ""
) -> Figure:
    """Round by round: what disturbed the machine for a while disturbed both."""
    pairs = zip(mine, theirs, strict=False)
    return Figure(name, "x", tuple(a / b for a, b in pairs if b), goal, note or "round by round")


def readable(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_table(figures: Sequence[Figure], conditions: Mapping[str, str], console: Console) -> None:
    """All figures, and below them what they depend on."""
    table = Table(title="Kello, measured", show_lines=False)
    for heading in ("figure", "median", "min", "max", "unit", "goal", "holds", "note"):
        table.add_column(heading, justify="right" if heading in ("median", "min", "max") else "left", overflow="fold")
    for figure in figures:
        table.add_row(
            figure.name,
            readable(figure.median),
            readable(min(figure.rounds, default=None)),
            readable(max(figure.rounds, default=None)),
            figure.unit,
            str(figure.goal or ""),
            {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[figure.holds],
            figure.note,
        )
    console.print(table)
    for name, value in conditions.items():
        console.print(f"{name}: {value}", highlight=False)


def write(folder: Path, figures: Sequence[Figure], conditions: Mapping[str, str]) -> None:
    """bench.json, and chart.svg of the throughput of all contenders."""
    told = {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "conditions": dict(conditions),
        "figures": [figure.told() for figure in figures],
    }
    (folder / "bench.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))


def chart(title: str, bars: Sequence[Figure]) -> str:
    """Horizontal bars, median with a line from the least to the most; readable on light and dark pages."""
    measured = [bar for bar in bars if bar.median is not None]
    longest = max((max(bar.rounds) for bar in measured), default=1.0)
    width = LABEL_PIXELS + BAR_PIXELS + 120
    height = 2 * MARGIN_PIXELS + 24 + ROW_PIXELS * len(measured)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
            f' font-family="system-ui, sans-serif" font-size="13"><title>{escape(title)}</title>'
        ),
        "<style>text{fill:#222}@media (prefers-color-scheme: dark){text{fill:#ddd}}</style>",
        f'<text x="{MARGIN_PIXELS}" y="{MARGIN_PIXELS + 8}" font-weight="600">{escape(title)}</text>',
    ]
    for n, bar in enumerate(measured):
        parts += _bar(bar, MARGIN_PIXELS + 24 + n * ROW_PIXELS, BAR_PIXELS / longest)
    return "\n".join([*parts, "</svg>\n"])


def _bar(bar: Figure, top: int, scale: float) -> list[str]:
    value = bar.median or 0.0
    least, most = (LABEL_PIXELS + scale * end for end in (min(bar.rounds), max(bar.rounds)))
    middle = top + ROW_PIXELS / 2 - 4
    color = "#2f6fde" if bar.name.startswith("Kello") else "#9aa3ad"
    return [
        f'<text x="{LABEL_PIXELS - 8}" y="{middle + 5:.0f}" text-anchor="end">{escape(bar.name)}</text>',
        (
            f'<rect x="{LABEL_PIXELS}" y="{top}" width="{max(scale * value, 1):.1f}" height="{ROW_PIXELS - 8}" rx="3"'
            f' fill="{color}"/>'
        ),
        f'<path d="M{least:.1f} {middle:.1f}H{most:.1f}" stroke="#d9822b" stroke-width="2"/>',
        f'<text x="{most + 8:.1f}" y="{middle + 5:.0f}">{readable(value)}</text>',
    ]
