"""Who takes part: each contender, what it guarantees, how it is started, and how its output is checked."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from deploy.local.processes import Child, Program, spawn
from deploy.local.services import Service
from tests.bench import peers, stock
from tests.bench.arrivals import Arrival
from tests.bench.contenders import work
from tests.bench.purchases import Purchase
from tests.bench.stage import ROOT, Ground
from tests.bench.wire import PARTITIONS

NOBODY = "http://127.0.0.1:9"  # no purchase of ours asks for a payment
READY_SECONDS = 60.0


class WrongOutput(Exception):
    """A contender billed something twice, not at all, or wrongly: its speed counts nothing."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work. `start` makes its database with these customers and runs its programs."""

    name: str
    guarantee: str
    start: Callable[[Ground, int], "Audit"]
    is_exact: bool
    """Whether what it promises makes its output exact, also when the same purchase is published twice."""
    records_per_purchase: int = 1
    share: float = 1.0
    """The part of the input that it gets: the first records, fewer for the slow."""
    missing: Callable[[], str | None] = lambda: None
    """Why it cannot take part here; None where it can."""


Audit = Callable[[Sequence[Purchase]], None]
"""Compares the contender's database with what was published. Raises WrongOutput."""


def kello(
    ground: Ground,
    customers: int,
    *,
    processes: int = 1,
    lanes: int = 12,
    invoices: int = 0,
    environment: dict[str, str] | None = None,
) -> Audit:
    """Billing as it is shipped, on a database that knows the customers, their accounts and `invoices` of before."""
    database = ground.service_database("billing")
    asyncio.run(stock.billing(database.admin_url, customers, lanes=lanes, invoices=invoices))
    services = [
        Service(
            "billing",
            ground.folder / f"billing-{n}",
            kafka=ground.stage.kafka,
            database=database,
            settings={"KELLO_GATEWAY_URL": NOBODY, **(environment or {})},
            prefix=ground.prefix,
        )
        for n in range(processes)
    ]
    for service in services:
        ground.run(service)
    for service in services:
        service.wait_ready()
    return lambda published: asyncio.run(
        _audit(
            database.admin_url,
            published,
            "SELECT count(*), sum(total), count(DISTINCT (year, lane, number)), sum(number)"
            " FROM invoice WHERE cause_kind = 'purchase'",  # what was in stock came by command
            "SELECT coalesce(sum((next_number - 1) * next_number / 2), 0) FROM number_series",
            "SELECT coalesce(sum(amount), 0) FROM ledger_posting",
        )
    )


def alone(module: str, python: Callable[[], Path]) -> Callable[[Ground, int], Audit]:
    """A program of `contenders`, on its tables."""

    def start(ground: Ground, customers: int) -> Audit:
        url = ground.plain_database(work.SCHEMA)
        asyncio.run(stock.contender(url, customers))
        ground.run(Alone(module, python(), ground, url))
        return lambda published: asyncio.run(
            _audit(
                url,
                published,
                "SELECT count(*), sum(total), count(DISTINCT number), sum(number) FROM invoice",
                "SELECT coalesce(sum((next_number - 1) * next_number / 2), 0) FROM number_series",
                "SELECT coalesce(sum(receivable + revenue + tax_payable), 0) FROM ledger_entry",
            )
        )

    return start


def stateful(module: str, python: Callable[[], Path], tables: Sequence[str] = ()) -> Callable[[Ground, int], Audit]:
    """A program of `contenders` that keeps everything in its library's own state: there is no database to look into.

    `tables` name those of faust, which stumbles over changelogs that the cluster has only just made.
    """

    def start(ground: Ground, _customers: int) -> Audit:
        if tables:
            ground.make_topics([f"{module}-{table}-changelog" for table in tables], PARTITIONS)
        ground.run(Alone(module, python(), ground, ""))
        return lambda _published: None

    return start


class Alone(Program):
    """A contender's process. It says nothing when it is ready: its first output does."""

    def __init__(self, module: str, python: Path, ground: Ground, database_url: str) -> None:
        super().__init__(module)
        self._python = python
        self._folder = ground.folder
        self._environment = {
            "BENCH_KAFKA": ground.stage.kafka,
            "BENCH_DATABASE_URL": database_url,
            "BENCH_TOPIC_IN": ground.topic("sales.events"),
            "BENCH_TOPIC_OUT": ground.topic("billing.events"),
            "BENCH_GROUP": ground.prefix + module,
            "BENCH_STATE": str(ground.folder),
        }

    def wait_ready(self) -> None:
        """Nothing to ask it."""

    def _spawn(self) -> Child:
        return spawn(
            self.name,
            [self._python, "-m", f"tests.bench.contenders.{self.name}"],
            log=self._folder / f"{self.name}.log",
            env={**os.environ, **self._environment},
            cwd=ROOT,
        )


LIMIT = Contender(
    "the limit",
    "nothing after a crash; purchases published twice are billed twice",
    alone("limit", lambda: Path(sys.executable)),
    is_exact=False,
)
KELLO = Contender(
    "Kello, one process",
    "effectively once, in order per key, through crashes of everything",
    kello,
    is_exact=True,
    records_per_purchase=2,
)
CONTENDERS = (
    LIMIT,
    KELLO,
    Contender(
        "Kello, two processes",
        "the same",
        lambda ground, customers: kello(ground, customers, processes=2, lanes=12),
        is_exact=True,
        records_per_purchase=2,
    ),
    Contender(
        "FastStream, naive",
        "at least once into the database, an event may be lost or told twice; in order",
        alone("naive_faststream", lambda: Path(sys.executable)),
        is_exact=False,
        share=0.03,
    ),
    Contender(
        "faststream-outbox and an inbox, batched",
        "effectively once, in order with its one relay worker",
        alone("outbox_faststream", peers.python),
        is_exact=True,
        share=0.15,
        missing=lambda: peers.missing("faststream_outbox"),
    ),
    Contender(
        "faust-streaming",
        "at least once; state in its tables, no database",
        stateful("faust_tables", peers.python, ("accounts", "numbers", "invoices", "entries")),
        is_exact=False,
        share=0.3,
        missing=lambda: peers.missing("faust"),
    ),
    Contender(
        "quixstreams",
        "exactly once within Kafka by transactions; state in its stores, no database",
        stateful("quix_state", peers.python),
        is_exact=True,
        missing=lambda: peers.missing("quixstreams"),
    ),
)


def check(contender: Contender, published: Sequence[Purchase], arrived: Sequence[Arrival], audit: Audit) -> None:
    """Complete for all; exact for those that promise it. Raises WrongOutput."""
    wanted = {each.id: (each.key.decode(), each.total) for each in published}
    told = {each.cause_id: (each.key, each.total) for each in arrived}
    if told != wanted:
        wrong = sum(1 for cause, money in wanted.items() if told.get(cause) != money)
        raise WrongOutput(f"{contender.name}: {wrong} of {len(wanted)} invoices are missing or wrong on the topic")
    if not contender.is_exact:
        return
    if len(arrived) != len(wanted) or len({each.event_id for each in arrived}) != len(wanted):
        raise WrongOutput(f"{contender.name}: {len(arrived)} events for {len(wanted)} purchases")
    for series, numbers in _by_series(arrived).items():
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            raise WrongOutput(f"{contender.name}: the numbers of {series} have gaps or come twice")
    audit(published)


def _by_series(arrived: Sequence[Arrival]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for each in arrived:
        numbers.setdefault(each.series, []).append(each.number)
    return numbers


async def _audit(url: str, published: Sequence[Purchase], invoices: str, numbers: str, ledger: str) -> None:
    """One invoice for each purchase, to the unit, numbered without a gap, and a ledger that sums to zero."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetchrow(invoices)
        given, balance = await connection.fetchval(numbers), await connection.fetchval(ledger)
    finally:
        await connection.close()
    kept = dict(zip(("invoices", "total", "numbers", "sum of numbers"), map(int, found or ()), strict=True))
    wanted = {
        "invoices": len(published),
        "total": sum(each.total for each in published),
        "numbers": len(published),
        "sum of numbers": int(given),
    }
    if kept != wanted or balance != 0:
        raise WrongOutput(f"the database holds {kept}, wanted is {wanted}; the ledger sums to {balance}")
