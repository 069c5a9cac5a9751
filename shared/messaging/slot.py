"""The place between reading and saving: one batch that waits for its saver, and grows while it waits."""

import asyncio

from shared.messaging.received import Batch


class Slot:
    """Holds at most one batch, of at most `records_max` records where it was put together from several.

    While the saver is busy, what is read joins the batch that waits: few records are saved soon, many at once.
    """

    def __init__(self, records_max: int) -> None:
        self._records_max = records_max
        self._batch: Batch | None = None
        self._is_saving = False
        self._change = asyncio.Condition()

    async def put(self, batch: Batch) -> None:
        """Waits while the batch that lies here can take no more."""
        async with self._change:
            await self._change.wait_for(lambda: self._takes(batch))
            self._batch = batch if self._batch is None else self._batch.followed_by(batch)
            self._change.notify_all()

    async def get(self) -> Batch:
        """The batch, for the one saver; `done` says that it is saved."""
        async with self._change:
            await self._change.wait_for(lambda: self._batch is not None)
            batch, self._batch = self._batch, None
            assert batch is not None  # noqa: S101 - waited for
            self._is_saving = True
            self._change.notify_all()
            return batch

    async def done(self) -> None:
        async with self._change:
            self._is_saving = False
            self._change.notify_all()

    async def is_empty(self) -> None:
        """Until nothing lies here and nothing is being saved."""
        async with self._change:
            await self._change.wait_for(lambda: self._batch is None and not self._is_saving)

    def _takes(self, batch: Batch) -> bool:
        waiting = self._batch
        if waiting is None:
            return True
        return len(waiting) + len(batch) <= self._records_max and waiting.can_be_followed_by(batch)
