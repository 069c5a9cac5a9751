"""What this machine gives to anybody: a round trip to PostgreSQL, a durable commit, a record acknowledged by Kafka.

Every other figure is to be read against these three.
"""

import asyncio
from collections.abc import Awaitable, Callable
from statistics import quantiles
from time import perf_counter

import asyncpg
import uvloop
from aiokafka import AIOKafkaProducer

from tests.bench.report import Figure
from tests.bench.stage import Stage

CALLS = 500
ROUNDS = 3


def measure(stage: Stage) -> list[Figure]:
    """p50 of each, in ms, with one caller on an otherwise idle machine."""
    stage.say("The machine")
    with stage.ground() as ground, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        url = ground.plain_database("CREATE TABLE t (n bigint)")
        taken = runner.run(_taken(url, stage.kafka, ground.topic("sales.events")))
    return [Figure(f"the machine: {name}", "ms", tuple(p50s)) for name, p50s in taken.items()]


async def _taken(url: str, kafka: str, topic: str) -> dict[str, list[float]]:
    database = await asyncpg.connect(url)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "a round trip to PostgreSQL": lambda: database.fetchval("SELECT 1"),
        "a durable commit": lambda: database.execute("INSERT INTO t VALUES (1)"),
        "a record acknowledged by Kafka": lambda: producer.send_and_wait(topic, b"x" * 500),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    try:
        for _ in range(ROUNDS):
            for name, call in calls.items():
                taken[name].append(await _p50(call))
    finally:
        await producer.stop()
        await database.close()
    return taken


async def _p50(call: Callable[[], Awaitable[object]]) -> float:
    milliseconds = []
    for _ in range(CALLS):
        began = perf_counter()
        await call()
        milliseconds.append(1000 * (perf_counter() - began))
    return quantiles(milliseconds, n=2)[0]
