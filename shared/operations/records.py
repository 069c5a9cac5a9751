"""A record as an operator sees it: its envelope and payload where they can be read, and why not where they cannot."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import orjson
from aiokafka import ConsumerRecord
from rich.text import Text

from shared.messaging.dead_letters import read_back
from shared.schemas import envelope, registry
from shared.schemas.envelope import Unreadable, moment_of

RawRecord: TypeAlias = "ConsumerRecord[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class Seen:
    """One record of a logical topic. `fault` says why it cannot be read, or why it is a dead letter."""

    topic: str
    partition: int
    offset: int
    at: datetime
    key: str
    type: str | None = None
    id: str | None = None
    source: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    payload: Any = None
    fault: str | None = None

    def lines(self) -> Text:
        """For a person: where, what and whose, then the payload."""
        shown = Text(f"{self.at:%H:%M:%S.%f}"[:12] + f"  {self.topic}/{self.partition} @{self.offset}  ", style="dim")
        shown.append(f"{self.type or 'a tombstone' if self.fault is None else self.type or '?'}", style="bold")
        shown.append(f"  {_plain(self.key)}\n", style="cyan")
        if self.fault is not None:
            shown.append(f"    {_plain(self.fault)}\n", style="red")
        shown.append(f"    {orjson.dumps(self.payload).decode()}")
        return shown


def seen(topic: str, record: RawRecord) -> Seen:
    """Never raises: what cannot be read is shown as far as it can be."""
    letter = read_back(record) if topic.endswith(".dead-letters") else None
    place = (topic, record.partition, record.offset, moment_of(record.timestamp), _text(record.key))
    told = _read(letter.record if letter is not None else record)
    if letter is not None:
        told["fault"] = f"{letter.fault.kind}, {letter.fault.code}: {letter.fault.reason} ({letter.id})"
    return Seen(*place, **told)


def _read(record: RawRecord) -> dict[str, Any]:
    if record.value is None:
        return {"payload": {name: _text(value) for name, value in record.headers}}
    try:
        head, value = envelope.read(record.headers, record.value)
    except Unreadable as error:
        return {"payload": _json_or_text(record.value), "fault": str(error)}
    told = {
        "type": head.type,
        "id": head.id,
        "source": head.source,
        "correlation_id": head.correlation_id,
        "causation_id": head.causation_id,
        "payload": _json_or_text(value),
    }
    try:
        registry.parse(head.type, value or b"")
    except Unreadable as error:
        told["fault"] = str(error)
    return told


def _json_or_text(value: bytes | None) -> Any:
    try:
        return orjson.loads(value or b"null")
    except orjson.JSONDecodeError:
        return _text(value)


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "backslashreplace")


def _plain(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
