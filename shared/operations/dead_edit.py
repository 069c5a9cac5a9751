"""What `kello dead edit` does: other content for a letter, kept beside it once the service can read it."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import typer

from shared.messaging import dead_letter_store, replay
from shared.messaging.dead_letters import Raw, edited
from shared.messaging.service import Service
from shared.operations.installation import Installation
from shared.operations.letters import Wanted, chosen, letters_of
from shared.operations.output import Failed

STRUCTURED = b"application/cloudevents+json"


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different: payload and key where they are given, and headers by name."""

    payload: bytes | None = None
    key: bytes | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)


async def edited_letter(
    here: Installation, service: Service[Any, Any], letter_id: str, change: Change, by: str, *, do_it: bool
) -> dict[str, Any]:
    """Keeps the edit where `do_it`. Raises Failed where the service could not read what comes out of it."""
    (found,) = chosen(await letters_of(here, service.name), Wanted((letter_id,)))
    if found.end is not None:
        raise Failed(f"{found.letter.id}: {replay.Ended(found.end)}")
    before = found.replayable.record
    after = _changed(before, change)
    received = replay.read(service, after, found.letter)
    if received is None:
        raise Failed(f"{service.name} decides on no such type: drop the letter")
    if received.fault is not None:
        raise Failed(f"it would still be poison ({received.fault.code}): {received.fault.reason}")
    number = None
    if do_it:
        async with here.database(service.name) as connection:
            try:
                number = await dead_letter_store.edit(connection, found.letter.id, after, by)
            except asyncpg.UniqueViolationError:
                raise Failed("somebody else has edited it just now: kello dead show") from None
    return {
        "id": found.letter.id,
        "done": do_it,
        "edit": number,
        "by": by,
        "value_before": shown_bytes(before.value),
        "value_after": shown_bytes(after.value),
        "key_after": shown_bytes(after.key),
    }


def _changed(record: Raw, change: Change) -> Raw:
    return edited(
        record,
        record.key if change.key is None else change.key,
        record.value if change.payload is None else _with_payload(record, change.payload),
        [*((name, content) for name, content in record.headers if name not in change.headers), *change.headers.items()],
    )


def _with_payload(record: Raw, payload: bytes) -> bytes:
    """The value with another payload: in structured content mode, it is a part of the value."""
    media_type = dict(record.headers).get("content-type") or b""
    if not media_type.startswith(STRUCTURED):
        return payload
    event = shown_bytes(record.value)
    if not isinstance(event, dict):
        raise Failed("its envelope cannot be read: give it the headers of binary content mode, content-type among them")
    return orjson.dumps(
        {**{name: each for name, each in event.items() if name != "data_base64"}, "data": orjson.loads(payload)}
    )


def read_payload(file: Path) -> bytes:
    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return orjson.dumps(orjson.loads(text))
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"{file} is no JSON: {error}") from None


def headers_of(pairs: Sequence[str]) -> dict[str, bytes]:
    if wrong := [pair for pair in pairs if not pair.partition("=")[0] or "=" not in pair]:
        raise typer.BadParameter(f"{wrong[0]!r} is not NAME=VALUE")
    return {name: content.encode() for name, _, content in (pair.partition("=") for pair in pairs)}


def shown_bytes(content: bytes | None) -> Any:
    """As JSON where it is that, else as text."""
    if content is None:
        return None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode("utf-8", "backslashreplace")
