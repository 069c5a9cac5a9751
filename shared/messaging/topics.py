"""What the cluster says of topics, and which partition a key belongs to."""

import asyncio
import struct
from collections.abc import Collection, Sequence
from functools import lru_cache

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

CALL_SECONDS = 10.0
KEYS_KEPT = 100_000


async def partitions_of(servers: Sequence[str], topics: Collection[str]) -> dict[str, list[TopicPartition]]:
    """The partitions of each topic that exists, by its name on the cluster."""
    admin = AIOKafkaAdminClient(bootstrap_servers=list(servers), request_timeout_ms=int(CALL_SECONDS * 1000))
    async with asyncio.timeout(2 * CALL_SECONDS):
        try:
            await admin.start()
            rows = await admin.describe_topics(sorted(topics)) if topics else []
        finally:
            await admin.close()
    return {
        row["topic"]: [TopicPartition(row["topic"], part["partition"]) for part in row["partitions"]]
        for row in rows
        if row["error_code"] == 0
    }


def partition_of(key: bytes | None, row_id: int, count: int) -> int:
    """Where Java clients and `kcat -X topic.partitioner=murmur2_random` put a key; without one, spread by row."""
    return row_id % count if key is None else (murmur2(key) & 0x7FFFFFFF) % count


@lru_cache(maxsize=KEYS_KEPT)
def murmur2(data: bytes) -> int:
    """MurmurHash2, 32 bits, with the seed of Kafka's clients. aiokafka's goes byte by byte, and takes twice as long."""
    words = len(data) >> 2
    hashed = 0x9747B28C ^ len(data)
    for word in struct.unpack_from(f"<{words}I", data):
        mixed = word * 0x5BD1E995 & 0xFFFFFFFF
        hashed = (hashed * 0x5BD1E995 & 0xFFFFFFFF) ^ ((mixed ^ mixed >> 24) * 0x5BD1E995 & 0xFFFFFFFF)
    if len(data) & 3:
        hashed = (hashed ^ int.from_bytes(data[words << 2 :], "little")) * 0x5BD1E995 & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    return hashed ^ hashed >> 15
