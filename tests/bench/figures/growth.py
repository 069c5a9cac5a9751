"""Whether billing slows down with what it has: the same load on more and more invoices."""

from dataclasses import replace
from functools import partial

from tests.bench.contest import KELLO, kello
from tests.bench.race import run
from tests.bench.report import Figure, Goal, readable
from tests.bench.stage import Stage


def measure(stage: Stage) -> list[Figure]:
    """events/s at each size, and the slowest size against the fastest."""
    customers = 100_000 if stage.quick else 1_000_000
    sizes = (10_000, 200_000) if stage.quick else (10_000, 1_000_000, 10_000_000)
    speeds = []
    for size in sizes:
        stage.say(f"Growth: {size:,} invoices and {customers:,} accounts are made")
        stocked = replace(KELLO, start=partial(kello, invoices=size))
        speeds.append(run(stage, stocked, 12_000 if stage.quick else 60_000, customers).thirds)
    return [
        *(
            Figure(f"with {size:,} invoices and {customers:,} accounts", "events/s", speed, note="thirds of one run")
            for size, speed in zip(sizes, speeds, strict=True)
        ),
        Figure(
            f"growth: {readable(sizes[-1])} : {readable(sizes[0])} invoices",
            "x",
            tuple(last / first for first, last in zip(speeds[0], speeds[-1], strict=True)),
            Goal(0.8),
        ),
    ]
