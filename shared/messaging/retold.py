"""How a task ended, told from what was published of it: for a restore, when nobody remembers what its performer said.

Each service says so in its `restore.py`:

    async def retold(kind: TaskKind[Any], task: Any, call: TaskCall, events: Sequence[Payload]) -> Retold

`events` are what the decision on the outcome published; none where it published nothing and something later shows
that the task has ended all the same. A provider may be asked, never told to do anything.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from shared.messaging.tasks import TaskCall, TaskKind
from shared.schemas.base import Payload


class NotRetold(Exception):
    """Neither events nor provider tell how the task ended, or they contradict each other. Says what to do."""


@dataclass(frozen=True, slots=True)
class Retold:
    """The result that the decision got. `lost` names what nobody can tell any more and no event depends on."""

    result: Any
    lost: str | None = None


Retell: TypeAlias = Callable[[TaskKind[Any], Any, TaskCall, Sequence[Payload]], Awaitable[Retold]]
