"""What came out: every InvoiceIssued on a topic, read once the last one is there."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from shared.messaging.topics import partitions_of
from tests.bench.contenders.work import ISSUED

POLL_SECONDS = 0.1
FETCH_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Arrival:
    """One InvoiceIssued. `appended` is the moment at which the broker had it, in seconds."""

    event_id: str
    cause_id: str
    key: str
    series: str
    number: int
    total: int
    appended: float


class Incomplete(Exception):
    """Not everything came out in time."""


async def arrivals(
    kafka: str,
    topic: str,
    expected: int,
    *,
    within: float,
    records: int = 0,
    watch: Callable[[int], Awaitable[None]],
) -> list[Arrival]:
    """Every InvoiceIssued on the topic once `expected` distinct causes have come, in the order of arrival.

    Reading begins when there are `records` of any type, so that it takes no part in the work. `watch` is called with
    their number now and then. Raises Incomplete after `within` seconds.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    await consumer.start()
    try:
        places = (await partitions_of([kafka], [topic]))[topic]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        return await _read(consumer, places, expected, max(records, expected), monotonic() + within, watch)
    finally:
        await consumer.stop()


async def _read(
    consumer: AIOKafkaConsumer,
    places: list[TopicPartition],
    expected: int,
    records: int,
    deadline: float,
    watch: Callable[[int], Awaitable[None]],
) -> list[Arrival]:
    found: list[Arrival] = []
    causes: set[str] = set()
    end = 0
    while end < records and monotonic() < deadline:
        end = sum((await consumer.end_offsets(places)).values())
        await watch(end)
        await asyncio.sleep(POLL_SECONDS)
    while len(causes) < expected:
        if monotonic() > deadline:
            raise Incomplete(f"{len(causes)} of {expected} purchases were billed in time")
        for fetched in (await consumer.getmany(timeout_ms=100)).values():
            arrived = [_arrival(record) for record in fetched if _is_issued(record)]
            found += arrived
            causes.update(each.cause_id for each in arrived)
    return sorted(found, key=lambda each: each.appended)


def _is_issued(record: "ConsumerRecord[bytes, bytes]") -> bool:
    return dict(record.headers).get("ce_type") == ISSUED.encode()


def _arrival(record: "ConsumerRecord[bytes, bytes]") -> Arrival:
    payload: dict[str, Any] = orjson.loads(record.value or b"")
    return Arrival(
        dict(record.headers)["ce_id"].decode(),
        payload["cause"]["id"],
        (record.key or b"").decode(),
        payload["series"],
        int(payload["number"].rpartition("-")[2]),
        payload["total"],
        record.timestamp / 1000,
    )
