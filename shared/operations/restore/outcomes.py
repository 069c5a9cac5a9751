"""The messages that tell of a task's end: made again from its row, and read back from what was published of them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from shared.messaging.database import Row
from shared.messaging.decision import Message
from shared.messaging.retold import Retold
from shared.messaging.task_store import Claimed, Settled
from shared.messaging.tasks import Ended, TaskKind, message_of
from shared.operations.restore.inputs import token_of
from shared.operations.restore.published import Step


def outcome_of(
    row: Row, kind: TaskKind[Any], retold: Retold, at: datetime, attempts: int, reconciliations: int
) -> Message[Any]:
    claimed = Claimed(
        row["kind"], row["key"], row["root"], row["payload"], False, attempts, reconciliations, uuid4(),
        row["cause_source"], row["cause_id"], row["correlation_id"], row["traceparent"], at,
    )  # fmt: skip
    settled = Settled(claimed.kind, claimed.key, claimed.lease, "done")
    return message_of(Ended(claimed, settled, kind.payload.model_validate_json(row["payload"]), retold.result))


def message_id(row: Row, attempts: int) -> tuple[str, str]:
    """Source and id of the message that tells of a task's end."""
    cause = token_of(row["cause_source"], row["cause_id"])
    return f"task/{row['kind']}", f"{row['kind']}/{row['key']}/{cause}/{attempts}.0"


def readings(kind: str, cause_id: str) -> list[tuple[str, str]]:
    """Every way to read the id of an outcome's message, `kind/key/cause/calls`, as key and cause: both may hold a /."""
    parts = cause_id.removeprefix(f"{kind}/").rpartition("/")[0].split("/")
    return [("/".join(parts[:n]), "/".join(parts[n:])) for n in range(1, len(parts))]


def beginnings(cause_id: str) -> Iterator[str]:
    parts = cause_id.split("/")
    for n in range(2, len(parts)):
        yield "/".join(parts[:n])


def claimed_at(step: Step) -> datetime:
    """When a call that ended was claimed: ids begin with the time of their cause."""
    return datetime.fromtimestamp((UUID(step.records[0].event_id).int >> 80) / 1000, UTC)
