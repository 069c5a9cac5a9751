"""Something to be published, ready for the wire: by business time, with its headers made as any producer makes them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import TypeAlias
from uuid import UUID

from shared.schemas.base import Payload
from shared.schemas.envelope import Envelope, headers

WireHeaders: TypeAlias = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One record to publish at `at` (business time, which is its ce_time, too).

    `refused_by` names the consumer groups that must make a dead letter of it; `flaw` says what is wrong with it then.
    """

    at: datetime
    topic: str
    key: bytes | None
    value: bytes | None
    headers: WireHeaders
    id: str = ""
    refused_by: frozenset[str] = frozenset()
    flaw: str = ""

    @property
    def place(self) -> tuple[datetime, str]:
        """Sorts a script: what happens at one moment goes by id."""
        return self.at, self.id


def message(
    payload: Payload, at: datetime, source: str, rng: Random, *, refused_by: Iterable[str] = (), flaw: str = ""
) -> Message:
    """The message of a payload, with an id of its own."""
    id_ = str(new_id(at, rng))
    envelope = Envelope(id_, source, payload.ce_type, at, payload.subject)
    value = payload.model_dump_json(exclude_none=True).encode()
    key = payload.kafka_key.encode()
    return Message(at, payload.topic, key, value, tuple(headers(envelope)), id_, frozenset(refused_by), flaw)


def new_id(at: datetime, rng: Random) -> UUID:
    """A UUIDv7 (RFC 9562, 5.7) of a moment whose random bits come from the script's own dice."""
    milliseconds = int(at.timestamp() * 1000)
    bits = (milliseconds << 80) | (7 << 76) | (rng.getrandbits(12) << 64) | (2 << 62) | rng.getrandbits(62)
    return UUID(int=bits)
