"""Records on their way to Kafka: made from payloads as any producer makes them, and published in ready batches."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from shared.schemas.base import Payload
from shared.schemas.envelope import Envelope, headers

PARTITIONS = 12
"""Of every topic that is keyed by customer, employee or recipient."""
BATCH_BYTES = 256 * 1024
CHUNK = 5_000
SOURCE = "bench"


@dataclass(frozen=True, slots=True)
class Record:
    """One record to publish."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def record_of(payload: Payload) -> Record:
    """A payload as it goes over the wire, now."""
    envelope = Envelope(str(uuid4()), SOURCE, payload.ce_type, datetime.now(UTC), payload.subject)
    value = payload.model_dump_json(exclude_none=True).encode()
    return Record(payload.kafka_key.encode(), value, headers(envelope))


async def publish(kafka: str, topic: str, records: Iterable[Record]) -> int:
    """Send them in their order, acknowledged by the broker when this returns; gives their bytes without headers."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True, max_batch_size=BATCH_BYTES)
    await producer.start()
    size = 0
    try:
        rest = iter(records)
        while chunk := list(islice(rest, CHUNK)):
            size += sum(len(each.value) for each in chunk)
            await _publish_chunk(producer, topic, chunk)
    finally:
        await producer.stop()
    return size


async def _publish_chunk(producer: AIOKafkaProducer, topic: str, chunk: list[Record]) -> None:
    """One or more batches per partition: sending ready batches is several times as fast as sending records."""
    by_partition: dict[int, list[Record]] = {}
    for each in chunk:
        by_partition.setdefault(partition_of(each.key), []).append(each)
    sent = []
    for partition, mine in by_partition.items():
        batch = producer.create_batch()
        for each in mine:
            if batch.append(key=each.key, value=each.value, timestamp=None, headers=each.headers) is None:
                sent.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=each.key, value=each.value, timestamp=None, headers=each.headers)
        sent.append(await producer.send_batch(batch, topic, partition=partition))
    for acknowledged in sent:
        await acknowledged


@cache
def partition_of(key: bytes) -> int:
    """Where Kafka's own clients put a key."""
    return int(murmur2(key) & 0x7FFFFFFF) % PARTITIONS
