"""What the cluster says of topics."""

import asyncio
from collections.abc import Collection, Sequence

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

CALL_SECONDS = 10.0


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
