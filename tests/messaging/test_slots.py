"""The slots between reading and saving: what is read joins what waits, in order and within a bound; who saves what."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from aiokafka import ConsumerRecord

from shared.messaging.offsets import Advance, Partition
from shared.messaging.received import Batch, Received
from shared.messaging.slots import Slots, Taken

SALES = Partition("sales.events", 3)
PROFILES = Partition("customer.profiles", 3)
OTHERS = Partition("sales.events", 4)
OURS = uuid4()


def batch(partition: Partition, first: int, end: int, owner: UUID = OURS) -> Batch:
    """The records of a partition from one offset to before another."""
    received = [
        Received(partition, ConsumerRecord(partition.topic, partition.partition, n, n, 0, b"", b"", 0, 0, 0, ()))
        for n in range(first, end)
    ]
    return Batch(received, {partition: Advance(owner, end, end - 1)})


def offsets(found: Batch) -> list[tuple[str, int]]:
    return [(each.partition.topic, each.record.offset) for each in found.received]


async def is_waiting(task: "asyncio.Task[Any]") -> bool:
    """Whether it still waits after everything that can go on has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)
    return not task.done()


async def test_what_is_read_while_a_batch_waits_joins_it_in_order() -> None:
    slots = Slots(1, 10)
    for each in (batch(SALES, 0, 2), batch(PROFILES, 5, 6), batch(SALES, 2, 4)):
        await slots.put(0, each)
    found = (await slots.take()).batch
    assert offsets(found) == [
        *[("sales.events", 0), ("sales.events", 1), ("customer.profiles", 5)],
        *[("sales.events", 2), ("sales.events", 3)],
    ]
    assert {place: advance.next_offset for place, advance in found.advances.items()} == {SALES: 4, PROFILES: 6}


async def test_a_batch_that_would_grow_beyond_the_bound_waits_until_the_one_before_is_taken() -> None:
    slots = Slots(1, 3)
    await slots.put(0, batch(SALES, 0, 2))
    second = asyncio.create_task(slots.put(0, batch(SALES, 2, 4)))
    assert await is_waiting(second)
    first = await slots.take()
    assert len(first.batch) == 2
    await second
    await slots.done(first)
    assert len((await slots.take()).batch) == 2


async def test_a_batch_that_alone_exceeds_the_bound_is_taken_whole() -> None:
    slots = Slots(1, 1)
    await slots.put(0, batch(SALES, 0, 5))
    assert len((await slots.take()).batch) == 5


async def test_what_was_read_under_another_claim_never_joins() -> None:
    slots = Slots(1, 10)
    await slots.put(0, batch(SALES, 0, 2))
    other = asyncio.create_task(slots.put(0, batch(SALES, 0, 3, owner=uuid4())))
    assert await is_waiting(other)
    first = await slots.take()
    assert first.batch.advances[SALES].owner == OURS
    await other
    await slots.done(first)
    assert (await slots.take()).batch.advances[SALES].owner != OURS


async def test_slots_are_empty_only_when_their_batches_are_saved() -> None:
    slots = Slots(2, 10)
    await slots.put(1, batch(SALES, 0, 2))
    empty = asyncio.create_task(slots.are_empty())
    taken = await slots.take()
    assert await is_waiting(empty)
    await slots.done(taken)
    await empty


async def test_little_is_saved_by_one_saver_together() -> None:
    slots = Slots(2, 100)
    await slots.put(1, batch(SALES, 0, 2))
    await slots.put(0, batch(OTHERS, 7, 9))
    first = await slots.take()
    assert offsets(first.batch) == [("sales.events", 0), ("sales.events", 1), ("sales.events", 7), ("sales.events", 8)]
    await slots.put(0, batch(OTHERS, 9, 10))
    await slots.put(1, batch(SALES, 2, 4))
    second = asyncio.create_task(slots.take())
    assert await is_waiting(second)
    await slots.done(first)
    assert len((await second).batch) == 3


async def test_much_is_saved_side_by_side() -> None:
    slots = Slots(2, 100)
    await slots.put(0, batch(OTHERS, 0, 80))
    await slots.put(1, batch(SALES, 0, 60))
    assert places_of(await slots.take()) == {OTHERS}
    assert places_of(await slots.take()) == {SALES}


async def test_a_slot_s_batches_are_never_saved_side_by_side() -> None:
    slots = Slots(2, 100)
    await slots.put(0, batch(SALES, 0, 80))
    first = await slots.take()
    await slots.put(0, batch(SALES, 80, 160))
    second = asyncio.create_task(slots.take())
    assert await is_waiting(second)
    await slots.done(first)
    assert (await second).batch.advances[SALES].next_offset == 160


def places_of(taken: Taken) -> set[Partition]:
    return set(taken.batch.advances)
