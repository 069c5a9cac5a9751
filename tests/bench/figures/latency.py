"""PurchaseRecorded → InvoiceIssued at a given load: from the moment a purchase was due to the invoice at a consumer.

Open loop: purchases are sent by the clock whatever comes back, and time counts from when each *should* have been sent,
so a stall shows in all that it delayed.
"""

import asyncio
from time import monotonic

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from shared.messaging.topics import partitions_of
from tests.bench.contenders.work import ISSUED
from tests.bench.contest import KELLO, LIMIT, Contender
from tests.bench.purchases import Purchase, purchases
from tests.bench.report import Figure, Goal
from tests.bench.stage import Stage
from tests.bench.wire import partition_of

ROUNDS = 3
CUSTOMERS = 10_000
LEVELS = ((10, Goal(40, at_least=False)), (50, Goal(100, at_least=False)))
TICK_SECONDS = 0.002
WARM_UP_SHARE = 0.25
PATIENCE_SECONDS = 30


def measure(stage: Stage, maximum: float) -> list[Figure]:
    """p50 and p99 at 10 % and 50 % of `maximum` events/s; and the limit's under the same load, beside them."""
    seconds = 5 if stage.quick else 20
    taken: dict[tuple[int, Contender, int], list[float]] = {}
    for n in range(1 if stage.quick else ROUNDS):
        for percent, _ in LEVELS:
            for contender in (KELLO, LIMIT):
                stage.say(f"Latency at {percent} %, round {n + 1}: {contender.name}")
                found = _at(stage, contender, maximum * percent / 100, seconds)
                for quantile in (50, 99):
                    taken.setdefault((percent, contender, quantile), []).append(found[len(found) * quantile // 100])
    return [
        Figure(
            f"latency at {percent} % ({maximum * percent / 100:,.0f} events/s), p{quantile}{_whose(contender)}",
            "ms",
            tuple(milliseconds),
            goal if quantile == 99 and contender is KELLO else None,
        )
        for percent, goal in LEVELS
        for (at, contender, quantile), milliseconds in taken.items()
        if at == percent
    ]


def _whose(contender: Contender) -> str:
    return "" if contender is KELLO else f", of {contender.name}"


def _at(stage: Stage, contender: Contender, per_second: float, seconds: float) -> list[float]:
    """Milliseconds, sorted, without those of the first quarter."""
    with stage.ground() as ground:
        contender.start(ground, CUSTOMERS)
        load = list(purchases(int(per_second * seconds), CUSTOMERS))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            taken = runner.run(
                _loaded(stage.kafka, ground.topic("sales.events"), ground.topic("billing.events"), load, per_second)
            )
        return sorted(taken[int(len(taken) * WARM_UP_SHARE) :])


async def _loaded(kafka: str, topic_in: str, topic_out: str, load: list[Purchase], per_second: float) -> list[float]:
    """The latency of each purchase, in their order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, fetch_max_wait_ms=100)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await consumer.start()
    await producer.start()
    try:
        places = (await partitions_of([kafka], [topic_out]))[topic_out]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        arrived: dict[bytes, float] = {}
        first = list(purchases(1, CUSTOMERS, first=len(load)))
        await _send(producer, topic_in, first, per_second)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await _watch(consumer, arrived, 1)  # not every contender says when it is ready
        watching = asyncio.create_task(_watch(consumer, arrived, 1 + len(load)))
        began = await _send(producer, topic_in, load, per_second)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await watching
    finally:
        await producer.stop()
        await consumer.stop()
    due = (began + n / per_second for n in range(len(load)))
    return [1000 * (arrived[dict(each.headers)["ce_id"]] - at) for each, at in zip(load, due, strict=True)]


async def _send(producer: AIOKafkaProducer, topic: str, load: list[Purchase], per_second: float) -> float:
    """Send each when it is due; gives when the first one was."""
    began = monotonic()
    sent = 0
    while sent < len(load):
        due = min(int((monotonic() - began) * per_second) + 1, len(load))
        for each in load[sent:due]:
            await producer.send(topic, each.value, each.key, partition_of(each.key), headers=each.headers)
        sent = due
        await asyncio.sleep(TICK_SECONDS)
    return began


async def _watch(consumer: AIOKafkaConsumer, arrived: dict[bytes, float], expected: int) -> None:
    """When the invoice of each purchase was here, by the purchase's event id."""
    issued = ISSUED.encode()
    while len(arrived) < expected:
        fetched = await consumer.getmany(timeout_ms=100)
        now = monotonic()
        for records in fetched.values():
            for record in records:
                headers = dict(record.headers)
                if headers["ce_type"] == issued:
                    arrived.setdefault(headers["ce_causationid"], now)
