"""Nothing leaves the house from here: what waits are timers alone."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from services.customer.domain.tickets import CLOSE_RESOLVED_TICKET, TicketClosing
from shared.messaging.settings import ServiceSettings
from shared.messaging.tasks import TaskKind


@asynccontextmanager
async def task_kinds(_settings: ServiceSettings) -> AsyncIterator[Sequence[TaskKind[Any]]]:
    """`close-resolved-ticket`: a kind without `perform` is a timer, whose outcome is `Due`."""
    yield (TaskKind(CLOSE_RESOLVED_TICKET, TicketClosing),)
