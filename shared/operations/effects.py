"""What comes of a dead letter's replay, as an operator sees it: rows before and after, events, tasks."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import orjson
from pydantic import BaseModel

from shared.messaging.decision import Cancel, Entity, Task
from shared.messaging.outbox import Record
from shared.messaging.replay import Effect


def document(effect: Effect) -> dict[str, Any]:
    """For --json: what was decided on, and `rows`, `events` and `tasks`."""
    message = effect.message
    return {
        "decided_on": None if message is None else message.type,
        "rows": [_row(before, after) for before, after in effect.changes],
        "events": [_event(record) for record in effect.records],
        "tasks": [_task(task) for task in effect.tasks],
    }


def lines(effect: dict[str, Any]) -> Iterator[str]:
    """The same for a person, a line each."""
    for row in effect["rows"]:
        yield f"  row    {row['row']} {row['key']} {'new' if row['is_new'] else 'changed'}: {_said(row['fields'])}"
    for event in effect["events"]:
        yield f"  event  {event['type']} on {event['topic']}, key {event['key']}: {_said(event['payload'])}"
    for task in effect["tasks"]:
        yield f"  task   {task['kind']} {task['key']} {task['does']}: {_said(task['payload'])}"
    if not any(effect[each] for each in ("rows", "events", "tasks")):
        yield "  nothing changes: what it says is known already"


def _row(before: Entity | None, after: Entity) -> dict[str, Any]:
    """A row with all its fields where it is new; else each field that changes, as [before, after]."""
    names = [each.name for each in fields(after)]  # type: ignore[arg-type] # every entity is a dataclass
    if before is None:
        content: dict[str, Any] = {name: getattr(after, name) for name in names}
    else:
        pairs = {name: [getattr(before, name), getattr(after, name)] for name in names}
        content = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    key: Any = after.key
    shown = "/".join(str(part) for part in key) if isinstance(key, tuple) else str(key)
    return {"row": type(after).__name__, "key": shown, "is_new": before is None, "fields": _plain(content)}


def _event(record: Record) -> dict[str, Any]:
    headers = {name: (content or b"").decode() for name, content in record.headers}
    return {
        "type": headers["ce_type"],
        "id": record.event_id,
        "topic": record.topic,
        "key": (record.key or b"").decode(),
        "subject": headers.get("ce_subject"),
        "payload": orjson.loads(record.value or b"null"),
    }


def _task(task: Task | Cancel) -> dict[str, Any]:
    if isinstance(task, Cancel):
        return {"kind": task.kind, "key": task.key, "does": "is taken back", "due_at": None, "payload": None}
    return {
        "kind": task.kind,
        "key": task.key,
        "does": "is scheduled",
        "due_at": task.due_at,
        "payload": task.payload.model_dump(mode="json"),
    }


def _plain(content: dict[str, Any]) -> Any:
    """A row's fields as JSON has them."""
    return orjson.loads(orjson.dumps(content, default=_one_plain, option=orjson.OPT_NON_STR_KEYS))


def _one_plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else str(value)  # asyncpg's UUID, for one


def _said(content: Any) -> str:
    return orjson.dumps(content, default=str).decode()
