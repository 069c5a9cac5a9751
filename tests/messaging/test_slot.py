"""The slot between reading and saving: what is read joins the batch that waits, in order and within a bound."""

import asyncio
from uuid import UUID, uuid4

from aiokafka import ConsumerRecord

from shared.messaging.offsets import Advance, Partition
from shared.messaging.received import Batch, Received
from shared.messaging.slot import Slot

SALES = Partition("sales.events", 3)
PROFILES = Partition("customer.profiles", 3)
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


async def is_waiting(task: "asyncio.Task[None]") -> bool:
    """Whether it still waits after everything that can go on has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)
    return not task.done()


async def test_what_is_read_while_a_batch_waits_joins_it_in_order() -> None:
    slot = Slot(10)
    for each in (batch(SALES, 0, 2), batch(PROFILES, 5, 6), batch(SALES, 2, 4)):
        await slot.put(each)
    found = await slot.get()
    assert offsets(found) == [
        *[("sales.events", 0), ("sales.events", 1), ("customer.profiles", 5)],
        *[("sales.events", 2), ("sales.events", 3)],
    ]
    assert {place: advance.next_offset for place, advance in found.advances.items()} == {SALES: 4, PROFILES: 6}


async def test_a_batch_that_would_grow_beyond_the_bound_waits_until_the_one_before_is_taken() -> None:
    slot = Slot(3)
    await slot.put(batch(SALES, 0, 2))
    second = asyncio.create_task(slot.put(batch(SALES, 2, 4)))
    assert await is_waiting(second)
    assert len(await slot.get()) == 2
    await second
    assert len(await slot.get()) == 2


async def test_a_batch_that_alone_exceeds_the_bound_is_taken_whole() -> None:
    slot = Slot(1)
    await slot.put(batch(SALES, 0, 5))
    assert len(await slot.get()) == 5


async def test_what_was_read_under_another_claim_never_joins() -> None:
    slot = Slot(10)
    await slot.put(batch(SALES, 0, 2))
    other = asyncio.create_task(slot.put(batch(SALES, 0, 3, owner=uuid4())))
    assert await is_waiting(other)
    assert (await slot.get()).advances[SALES].owner == OURS
    await other
    assert (await slot.get()).advances[SALES].owner != OURS


async def test_a_slot_is_empty_only_when_its_batch_is_saved() -> None:
    slot = Slot(10)
    await slot.put(batch(SALES, 0, 2))
    empty = asyncio.create_task(slot.is_empty())
    await slot.get()
    assert await is_waiting(empty)
    await slot.done()
    await empty
