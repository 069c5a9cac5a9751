"""Kafka clients of our own end in bounded time, and nothing of their end reaches anybody."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def stop(client: AIOKafkaConsumer | AIOKafkaProducer, seconds: float) -> None:
    """Stops a client, in a task of its own: one that had hardly begun leaks the cancellation of its inner tasks."""
    stopping = asyncio.create_task(client.stop())
    done, late = await asyncio.wait({stopping}, timeout=seconds)
    for each in late:
        each.cancel()
    for each in done:
        if not each.cancelled():
            each.exception()  # asked for, so that nobody logs it as forgotten
