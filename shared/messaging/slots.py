"""The place between reading and saving: batches that wait for a saver, and grow while they wait."""

import asyncio
from dataclasses import dataclass
from itertools import islice

from shared.messaging.received import Batch

WORTH_ITS_OWN_SAVER = 4
"""One part in so many of the largest batch: less than that waits until nothing is being saved."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a saver has in hand, and the slots that nobody else is given anything of until `done`."""

    batch: Batch
    slots: frozenset[int]


class Slots:
    """A slot for each share of the partitions. Each holds at most one batch, of at most `records_max` records where it
    was put together from several.

    While the savers are busy, what is read joins the batch that waits. Few records are saved soon, all together by one
    saver, and many at once, side by side: small transactions beside each other are in each other's way.
    """

    def __init__(self, count: int, records_max: int) -> None:
        self.count = count
        self._records_max = records_max
        self._waiting: dict[int, Batch] = {}
        """By slot; the one that has waited longest comes first."""
        self._busy: set[int] = set()
        self._change = asyncio.Condition()

    async def put(self, slot: int, batch: Batch) -> None:
        """Waits while the batch that lies there can take no more."""
        async with self._change:
            await self._change.wait_for(lambda: self._takes(slot, batch))
            before = self._waiting.get(slot)
            self._waiting[slot] = batch if before is None else before.followed_by(batch)
            self._change.notify_all()

    async def take(self) -> Taken:
        """The next batch that may be saved. A slot's batches are saved one after the other; `done` ends each."""
        async with self._change:
            slots = await self._change.wait_for(self._next)
            batch = self._waiting.pop(slots[0])
            for slot in slots[1:]:
                batch = batch.followed_by(self._waiting.pop(slot))
            self._busy.update(slots)
            self._change.notify_all()
            return Taken(batch, frozenset(slots))

    async def done(self, taken: Taken) -> None:
        async with self._change:
            self._busy -= taken.slots
            self._change.notify_all()

    async def are_empty(self) -> None:
        """Until nothing lies here and nothing is being saved."""
        async with self._change:
            await self._change.wait_for(lambda: not self._waiting and not self._busy)

    def _takes(self, slot: int, batch: Batch) -> bool:
        waiting = self._waiting.get(slot)
        if waiting is None:
            return True
        return len(waiting) + len(batch) <= self._records_max and waiting.can_be_followed_by(batch)

    def _next(self) -> list[int]:
        """The slots to take from now: while nothing is being saved, as many as make one batch; else one that is full
        enough to be worth a saver of its own."""
        if self._busy:
            enough = self._records_max / WORTH_ITS_OWN_SAVER
            worth = (n for n, batch in self._waiting.items() if n not in self._busy and len(batch) >= enough)
            return list(islice(worth, 1))
        slots: list[int] = []
        room = self._records_max
        for slot, batch in self._waiting.items():
            room -= len(batch)
            if slots and room < 0:
                break
            slots.append(slot)
        return slots
