"""Nothing leaves the house from customer, so no outcome has to be told: its timers came due, and that is all."""

from collections.abc import Sequence
from typing import Any

from shared.messaging.retold import NotRetold, Retold
from shared.messaging.tasks import TaskCall, TaskKind
from shared.schemas.base import Payload


async def retold(_kind: TaskKind[Any], _task: Any, call: TaskCall, _events: Sequence[Payload]) -> Retold:
    raise NotRetold(f"customer performs no tasks, and cannot tell how {call.kind} {call.key} ended")
