"""Dead letters: what cannot be handled, kept whole on `<service>.dead-letters`, with the reason.

A letter has the key, value and headers of the record as they came, and headers of ours that begin with `kello_dead_`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias, cast, get_args

import orjson
import structlog
from aiokafka import ConsumerRecord

from shared.messaging import metrics, outbox
from shared.messaging.decision import Ids
from shared.messaging.offsets import Partition
from shared.schemas.envelope import moment_of

Raw: TypeAlias = ConsumerRecord[bytes, bytes]

log = structlog.get_logger(__name__)

Kind = Literal["poison", "refused", "bug"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REASON_CHARACTERS_MAX = 1000
SAID_CHARACTERS_MAX = 255


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record cannot be handled.

    `poison`: it cannot be read or stored. `refused`: the domain says no to an event. `bug`: a decision of ours failed.
    `reason` says what to do, and holds no personal data.
    """

    kind: Kind
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter that was read back: the record as it came, where it came from, and why it is here.

    `group` is the service; `written_at` is when the letter was published. The record's topic is the logical one.
    """

    id: str
    fault: Fault
    group: str
    record: Raw
    written_at: datetime

    @property
    def place(self) -> Partition:
        return Partition(self.record.topic, self.record.partition)

    @property
    def came_at(self) -> datetime:
        """The timestamp that the record had."""
        return moment_of(self.record.timestamp)

    @property
    def key(self) -> str:
        return (self.record.key or b"").decode("utf-8", "backslashreplace")

    @property
    def type(self) -> str:
        """What the record says that it is, as far as anything can be read; `?` where it says nothing."""
        return _said(self.record, "type") or "?"

    @property
    def event_id(self) -> str:
        return _said(self.record, "id") or "?"


def letter(service: str, partition: Partition, record: Raw, fault: Fault) -> outbox.Record:
    """The dead letter of a record. Its id follows from group, topic, partition and offset: it is the same each time."""
    place = f"{partition.topic}/{partition.partition}/{record.offset}"
    letter_id = str(Ids(service, "dead-letter", place, moment_of(record.timestamp)).next())
    ours = {
        "kello_dead_id": letter_id,
        "kello_dead_kind": fault.kind,
        "kello_dead_code": fault.code,
        "kello_dead_reason": fault.reason[:REASON_CHARACTERS_MAX],
        "kello_dead_group": service,
        "kello_dead_topic": partition.topic,
        "kello_dead_partition": str(partition.partition),
        "kello_dead_offset": str(record.offset),
        "kello_dead_timestamp": str(record.timestamp),
    }
    headers = [*record.headers, *((name, text.encode("utf-8", "replace")) for name, text in ours.items())]
    return outbox.Record(letter_id, f"{service}.dead-letters", record.key, record.value, headers)


def read_back(record: Raw) -> Letter | None:
    """The letter that a record of a dead-letter topic is. None for what is none: anybody could have put it there.

    Ours are the headers after those that came: the last of each name counts, should a letter itself have died.
    """
    headers = list(record.headers)
    begin = max((n for n, (name, _) in enumerate(headers) if name == "kello_dead_id"), default=None)
    if begin is None:
        return None
    ours = {name: (content or b"").decode("utf-8", "replace") for name, content in headers[begin:]}
    try:
        came = as_it_came(
            record.key,
            record.value,
            headers[:begin],
            Partition(ours["kello_dead_topic"], int(ours["kello_dead_partition"])),
            int(ours["kello_dead_offset"]),
            int(ours["kello_dead_timestamp"]),
        )
        kind = ours["kello_dead_kind"]
        fault = Fault(cast("Kind", kind), ours["kello_dead_code"], ours["kello_dead_reason"])
        letter_id, group = ours["kello_dead_id"], ours["kello_dead_group"]
    except (KeyError, ValueError):
        return None
    return Letter(letter_id, fault, group, came, moment_of(record.timestamp)) if kind in KINDS else None


def as_it_came(
    key: bytes | None, value: bytes | None, headers: outbox.Headers, place: Partition, offset: int, timestamp: int
) -> Raw:
    """A record of a logical topic, as a consumer would have got it."""
    return ConsumerRecord(
        topic=place.topic,
        partition=place.partition,
        offset=offset,
        timestamp=timestamp,
        timestamp_type=0,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=len(key or b""),
        serialized_value_size=len(value or b""),
        headers=tuple(headers),
    )


def edited(record: Raw, key: bytes | None, value: bytes | None, headers: outbox.Headers) -> Raw:
    """The same record in the same place, with other content."""
    return replace(record, key=key, value=value, headers=tuple(headers))


def _said(record: Raw, attribute: str) -> str | None:
    """An attribute of the envelope in either content mode, of a record that may be anything."""
    headers: Sequence[tuple[str, bytes | None]] = record.headers
    content = dict(headers).get(f"ce_{attribute}")
    if content:
        return content.decode("utf-8", "backslashreplace")[:SAID_CHARACTERS_MAX]
    try:
        event = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        return None
    text = event.get(attribute) if isinstance(event, dict) and "specversion" in event else None
    return text[:SAID_CHARACTERS_MAX] if isinstance(text, str) else None


def tell(service: str, partition: Partition, offset: int, fault: Fault, correlation_id: str | None) -> None:
    """Counts a letter that was written, and says so; `correlation_id` is None where the record could not be read."""
    metrics.DEAD_LETTERS.labels(service, fault.kind).inc()
    log.warning(
        "dead_letter",
        kind=fault.kind,
        code=fault.code,
        topic=partition.topic,
        partition=partition.partition,
        offset=offset,
        correlation_id=correlation_id,
    )
