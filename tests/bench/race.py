"""One run: the input published, a contender started on it, its output awaited, checked and timed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic

from tests.bench.arrivals import Arrival, arrivals
from tests.bench.contest import Contender, check
from tests.bench.processes import Use
from tests.bench.purchases import purchases
from tests.bench.stage import Ground, Stage
from tests.bench.wire import publish

WARM_UP_SHARE = 0.2
SECONDS_PER_RECORD_MAX = 0.02
START_SECONDS_MAX = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """What was used, and how many records were out, at a moment."""

    at: float
    records: int
    programs: list[Use]
    postgres: Use
    kafka: Use


@dataclass(frozen=True)
class Run:
    """What one run showed. Everything is about the part after the warm-up, which is the first fifth of the input."""

    invoices: int
    seconds: float
    record_bytes: float
    records_per_purchase: int
    thirds: tuple[float, ...]
    """Events per second in each third."""
    samples: list[Sample] = field(repr=False)

    @property
    def per_second(self) -> float:
        return self.invoices / self.seconds

    @property
    def resident_mib(self) -> list[float]:
        """The most that each program held."""
        return [
            max(sample.programs[n].resident_bytes for sample in self.samples) / 2**20
            for n in range(len(self.samples[0].programs))
        ]

    @property
    def growth(self) -> float:
        """What the programs hold at the end, by what they held after the warm-up."""
        first, last = (sum(use.resident_bytes for use in self.samples[n].programs) for n in (0, -1))
        return last / first

    @property
    def cpu_microseconds(self) -> tuple[float, float, float]:
        """Per event: of the programs, of PostgreSQL, of Kafka."""
        first, last = self.samples[0], self.samples[-1]
        events = (last.records - first.records) / self.records_per_purchase

        def spent(before: Use, after: Use) -> float:
            return 1e6 * (after.cpu_seconds - before.cpu_seconds) / max(events, 1)

        own = sum(spent(a, b) for a, b in zip(first.programs, last.programs, strict=True))
        return own, spent(first.postgres, last.postgres), spent(first.kafka, last.kafka)


async def nothing(_ground: Ground) -> None:
    """Nobody else watches."""


def run(
    stage: Stage,
    contender: Contender,
    count: int,
    customers: int,
    *,
    observe: Callable[[Ground], Awaitable[None]] = nothing,
    conclude: Callable[[Ground], None] = lambda _ground: None,
) -> Run:
    """Bill `count` purchases. `observe` is called now and then while it goes on, `conclude` when all came out.

    Raises WrongOutput, Incomplete, or RuntimeError with the log of what ended.
    """
    with stage.ground() as ground:
        published = list(purchases(count, customers))
        size = asyncio.run(publish(stage.kafka, ground.topic("sales.events"), published))
        audit = contender.start(ground, customers)
        samples: list[Sample] = []

        async def watch(records: int) -> None:
            ground.check_alive()
            await observe(ground)
            samples.append(Sample(monotonic(), records, ground.uses(), *stage.server_use()))

        arrived = asyncio.run(
            arrivals(
                stage.kafka,
                ground.topic("billing.events"),
                count,
                records=count * contender.records_per_purchase,
                within=START_SECONDS_MAX + count * SECONDS_PER_RECORD_MAX,
                watch=watch,
            )
        )
        conclude(ground)
        check(contender, published, arrived, audit)
        return _timed(arrived, contender, size / count, samples)


def _timed(arrived: list[Arrival], contender: Contender, record_bytes: float, samples: list[Sample]) -> Run:
    """From the last arrival of the warm-up to the last of all, by the broker's clock."""
    first_of_each: dict[str, float] = {}
    for each in arrived:
        first_of_each.setdefault(each.cause_id, each.appended)
    moments = sorted(first_of_each.values())
    warm = int(len(moments) * WARM_UP_SHARE)
    moments = moments[warm - 1 :]
    third = len(moments) // 3
    warmed = [sample for sample in samples if sample.records >= warm * contender.records_per_purchase]
    return Run(
        len(moments) - 1,
        _between(moments),
        record_bytes,
        contender.records_per_purchase,
        tuple(third / _between(moments[n * third : (n + 1) * third + 1]) for n in range(3)),
        warmed or samples[-1:],
    )


def _between(moments: list[float]) -> float:
    return max(moments[-1] - moments[0], 0.001)
