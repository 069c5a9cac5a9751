"""`python -m tests.bench`: every figure on servers of its own, as a table, as JSON and as a chart."""

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic

from rich.console import Console

from deploy.local.processes import StartError
from deploy.local.stack import FolderInUse, exit_on_signals
from tests.bench import peers, purchases, report
from tests.bench.contest import LIMIT
from tests.bench.figures import (
    backlog,
    cost,
    growth,
    journey,
    latency,
    machine,
    mails,
    parts,
    payslips,
    starting,
    throughput,
)
from tests.bench.race import run
from tests.bench.report import Figure
from tests.bench.stage import STATE, Stage, opened

SECTIONS = (
    "machine",
    "throughput",
    "latency",
    "backlog",
    "growth",
    "cost",
    "parts",
    "mails",
    "journey",
    "payslips",
    "starting",
)
WIDTH = 160
WARM_UP_PURCHASES, WARM_UP_CUSTOMERS = 20_000, 1_000
"""Billed before anything is measured: a JVM that has just started compiles, and takes a core for it."""
ASSUMED_PER_SECOND = 10_000.0
"""What latency and backlog are measured against where throughput is not."""


def main() -> int:
    exit_on_signals()
    options = _arguments().parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # topics that are a moment old: it tries again
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    say = partial(console.print, style="dim", highlight=False)
    try:
        with opened(quick=options.quick, say=say) as stage:
            conditions = {**stage.conditions(), "input": purchases.told(), "peers": peers.versions()}
            say("Warming up the broker and the database")
            run(stage, LIMIT, WARM_UP_PURCHASES, WARM_UP_CUSTOMERS)
            figures = _measure(stage, options.only or SECTIONS)
    except (StartError, FolderInUse) as error:
        console.print(str(error))
        return 1
    report.print_table(figures, conditions, console)
    report.write(STATE, figures, conditions)
    if "throughput" in (options.only or SECTIONS):
        options.chart.write_text(report.chart("events/s, purchase to invoice", throughput.bars(figures)))
    console.print(f"{STATE / 'bench.json'} and {options.chart}", highlight=False)
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter runs of everything, in under five minutes")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--chart", type=Path, default=STATE / "chart.svg", help="where the chart is written")
    return parser


def _measure(stage: Stage, sections: Sequence[str]) -> list[Figure]:
    figures: list[Figure] = []

    def maximum() -> float:
        return next((f.median for f in figures if f.name == "Kello, one process" and f.median), ASSUMED_PER_SECOND)

    measures: dict[str, Callable[[], list[Figure]]] = {
        "machine": lambda: machine.measure(stage),
        "throughput": lambda: throughput.measure(stage),
        "latency": lambda: latency.measure(stage, maximum()),
        "backlog": lambda: backlog.measure(stage, maximum()),
        "growth": lambda: growth.measure(stage),
        "cost": lambda: cost.measure(stage),
        "parts": lambda: parts.measure(stage),
        "mails": lambda: mails.measure(stage),
        "journey": lambda: journey.measure(stage),
        "payslips": lambda: payslips.measure(stage),
        "starting": lambda: starting.measure(stage),
    }
    for section in SECTIONS:
        if section in sections:
            began = monotonic()
            figures += _attempted(section, measures[section], stage)
            stage.say(f"{section}: {monotonic() - began:.0f} s")
    return figures


def _attempted(section: str, measure: Callable[[], list[Figure]], stage: Stage) -> list[Figure]:
    """One section that fails does not take the others with it."""
    try:
        return measure()
    except Exception as error:  # noqa: BLE001 - whatever went wrong is told in the table
        stage.say(f"{section} failed: {type(error).__name__}: {error}")
        return [report.unmeasured(section, "", f"{type(error).__name__}: {str(error)[:200]}")]


if __name__ == "__main__":
    warnings.simplefilter("ignore", ResourceWarning)
    sys.exit(main())
