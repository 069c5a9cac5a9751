"""Stretches of Kafka's log, read once, in order within each partition."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from time import monotonic

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.messaging.dead_letters import Raw
from shared.messaging.offsets import Partition
from shared.operations.installation import CALL_SECONDS, Installation, Range
from shared.operations.output import NOT_ANSWERING, Failed

READ_RECORDS = 2000
SILENT_SECONDS_MAX = 30.0


async def records(
    here: Installation, consumer: AIOKafkaConsumer, stretches: Mapping[Partition, Range]
) -> AsyncIterator[tuple[Partition, list[Raw]]]:
    """The records of some stretches, a part of one partition at a time.

    The offsets between need not be contiguous: a stretch ends when the log has been read up to its end. Raises Failed
    where Kafka has nothing more to say for too long.
    """
    places = {
        TopicPartition(here.physical(p.topic), p.partition): p for p, (begin, end) in stretches.items() if begin < end
    }
    consumer.assign(list(places))
    for place, partition in places.items():
        consumer.seek(place, stretches[partition].begin)
    heard = monotonic()
    while places:
        async with asyncio.timeout(CALL_SECONDS):
            fetched = await consumer.getmany(*places, timeout_ms=500, max_records=READ_RECORDS)
        for place, batch in fetched.items():
            end = stretches[places[place]].end
            if within := [record for record in batch if record.offset < end]:
                yield places[place], within
        for place in list(places):
            if await consumer.position(place) >= stretches[places[place]].end:
                consumer.pause(place)
                del places[place]
                heard = monotonic()
        heard = monotonic() if fetched else heard
        if monotonic() - heard > SILENT_SECONDS_MAX:
            raise Failed("Kafka gives no more records, though there should be some", NOT_ANSWERING)
