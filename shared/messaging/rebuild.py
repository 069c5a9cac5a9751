"""A projection made again: what its messages say, decided by the projection decisions alone, on tables beside.

No reaction runs, nothing is published or scheduled, and no other table is written: a rebuild mails nobody and pays
nobody. It is as the consumer is: an event that was published twice counts once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from shared.messaging.database import is_the_data
from shared.messaging.decision import Ids, Message, Refused
from shared.messaging.projections import Projection
from shared.messaging.received import Received
from shared.messaging.service import Service
from shared.messaging.shadow import Connection, Shadow
from shared.messaging.working_set import WorkingSet

log = structlog.get_logger(__name__)

BATCH_MESSAGES_MAX = 500


@dataclass(slots=True)
class Counts:
    """Of the messages of a rebuild: how many were decided on, and how many not, by the reason."""

    decided: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


class Rebuild:
    """Runs messages of one projection on the session whose search path leads to its twins."""

    def __init__(
        self, service: Service[Any, Any], projection: Projection, shadow: Shadow, connection: Connection
    ) -> None:
        self._service = service
        self._types = frozenset(model.ce_type for model in projection.types)
        self._shadow = shadow
        self._connection = connection
        self.counts = Counts()

    def concerns(self, received: Received) -> bool:
        """Whether the projection is made of such messages."""
        return received.message is not None and received.message.type in self._types

    async def apply(self, received: Sequence[Received]) -> None:
        """The effects of messages, in their order; each batch in one transaction, or in the caller's."""
        for start in range(0, len(received), BATCH_MESSAGES_MAX):
            await self._apply_batch(received[start : start + BATCH_MESSAGES_MAX])

    async def _apply_batch(self, received: Sequence[Received]) -> None:
        first: dict[tuple[str, str], Received] = {}
        for each in received:
            first.setdefault((each.identity.source, each.identity.id), each)
        async with self._connection.transaction():
            fresh = await self._shadow.remember(list(first), [each.value_hash for each in first.values()])
            messages = [each.message for identity, each in first.items() if identity in fresh and each.message]
            for _ in range(len(received) - len(messages)):
                self.counts.leave_out("published twice")
            if messages:
                await self._carry_out(messages)

    async def _carry_out(self, messages: Sequence[Message[Any]]) -> None:
        """Saves them together; where something cannot be stored, by halves, and leaves out what fails alone."""
        try:
            async with self._connection.transaction():
                state = await self._service.load(self._connection, messages)
                decided = [message for message in messages if self._is_decided(state, message)]
                await self._service.save(self._connection, state)
        except Exception as error:
            if not is_the_data(error):
                raise
            if len(messages) == 1:
                self.counts.leave_out("not storable")
                return
            await self._carry_out(messages[: len(messages) // 2])
            await self._carry_out(messages[len(messages) // 2 :])
        else:
            self.counts.decided += len(decided)

    def _is_decided(self, state: WorkingSet, message: Message[Any]) -> bool:
        decide = self._service.handlers.projection_of(message.type)
        assert decide is not None  # noqa: S101 - `concerns` lets no other message in
        ids = Ids(self._service.name, message.source, message.id, message.time)
        try:
            # a projection uses no time but the message's; what else it might return is not carried out
            for row in decide(state, message, message.time, ids).changes:
                state.put(row)
        except Refused:
            state.undo()
            self.counts.leave_out("refused")
            return False
        except Exception as error:
            state.undo()
            log.exception("projection_failed", type=message.type, id=message.id)
            self.counts.leave_out(f"bug: {type(error).__name__}")
            return False
        state.keep()
        return True
