"""The CloudEvents 1.0 envelope of a Kafka record: written in binary content mode, read in binary and structured mode.

Kafka protocol binding, 3.2 and 3.3: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

import base64
import binascii
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from shared.schemas.immutable import immutable

TEXT_MAX = 255
"""Characters in an id, a source, a type, a subject."""

_STRUCTURED = "application/cloudevents+json"
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-|\Z)")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)

_TIMESTAMP_MAX = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp() * 1000)

Headers = Iterable[tuple[str, bytes | None]]


class Unreadable(Exception):
    """The record is poison: whoever sent it has to send it again, rightly.

    `code` is stable and for programs; `message` says what to do and holds no personal data.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@immutable(frozen=True, slots=True)
class Envelope:
    """What a record says about itself. (source, id) identifies the event; `time` is the moment of the fact, in UTC.

    `correlation_id` names the first cause of all and is the record's own id where there was none before;
    `causation_id` is the id of the record that led to this one.
    """

    id: str
    source: str
    type: str
    time: datetime
    subject: str | None = None
    correlation_id: str = ""
    causation_id: str | None = None
    traceparent: str | None = None


def headers(envelope: Envelope) -> list[tuple[str, bytes]]:
    """The record headers of binary content mode; the value is the JSON payload alone."""
    pairs = [
        ("ce_specversion", b"1.0"),
        ("ce_id", envelope.id.encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_type", envelope.type.encode()),
        ("ce_time", rfc3339(envelope.time).encode()),
        ("content-type", b"application/json"),
        ("ce_correlationid", (envelope.correlation_id or envelope.id).encode()),
    ]
    if envelope.subject is not None:
        pairs.append(("ce_subject", envelope.subject.encode()))
    if envelope.causation_id is not None:
        pairs.append(("ce_causationid", envelope.causation_id.encode()))
    if envelope.traceparent is not None:
        pairs.append(("traceparent", envelope.traceparent.encode()))
    return pairs


def read(record_headers: Headers, value: bytes | None) -> tuple[Envelope, bytes | None]:
    """The envelope and the JSON payload of a record; None for the payload where it has none, as a tombstone.

    Of a header that comes twice the last one counts, as for Kafka's own `lastHeader`. A header that is not needed may
    be null, binary or malformed: it is taken as absent. Raises Unreadable.
    """
    found = dict(record_headers)
    content_type = _optional(found.get("content-type"))
    if content_type is not None:
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type == _STRUCTURED:
            return _read_structured(value or b"", found)
        _check_json(media_type)
    _check_specversion(_required(found, "ce_specversion"))
    id_ = _required(found, "ce_id")
    envelope = Envelope(
        id_,
        _required(found, "ce_source"),
        _required(found, "ce_type"),
        moment(_required(found, "ce_time")),
        _optional(found.get("ce_subject")),
        _optional(found.get("ce_correlationid")) or id_,
        _optional(found.get("ce_causationid")),
        _trace(_optional(found.get("traceparent"))),
    )
    return envelope, value


def moment_of(timestamp: int) -> datetime:
    """The moment of a record's timestamp in milliseconds, kept within 1970 to 2200: a producer may say anything."""
    return datetime.fromtimestamp(min(max(timestamp, 0), _TIMESTAMP_MAX) / 1000, UTC)


@lru_cache(maxsize=1024)
def rfc3339(time: datetime) -> str:
    """The moment as CloudEvents writes it: 2026-01-31T12:00:00Z, with microseconds where there are any."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """An RFC 3339 date-time in UTC, 1900 to 2200. Raises Unreadable."""
    if _RFC3339.match(text):
        try:
            time = datetime.fromisoformat(text.upper())
            if time.tzinfo is not UTC:
                time = time.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        else:
            if 1900 <= time.year <= 2200:
                return time
    raise Unreadable(
        "malformed-ce_time", "ce_time must be an RFC 3339 time of 1900 to 2200, such as 2026-01-31T12:00:00Z"
    )


def _required(found: dict[str, bytes | None], name: str) -> str:
    content = found.get(name)
    if not content:
        raise Unreadable(f"missing-{name}", f"add the header {name} (CloudEvents 1.0, Kafka binary content mode)")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Unreadable(f"malformed-{name}", f"the header {name} must be UTF-8") from None
    return _bounded(text, name)


def _bounded(text: str, name: str) -> str:
    if len(text) > TEXT_MAX or "\x00" in text:
        raise Unreadable(f"malformed-{name}", f"{name} must be at most {TEXT_MAX} characters without NUL")
    return text


def _optional(content: bytes | None) -> str | None:
    if not content or len(content) > 4 * TEXT_MAX:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if len(text) > TEXT_MAX or "\x00" in text else text


def _trace(text: str | None) -> str | None:
    """W3C Trace Context, 3.2: a malformed traceparent is dropped, and never an error."""
    return text if text and _TRACEPARENT.match(text) else None


def _check_specversion(text: str) -> None:
    if text != "1.0":
        raise Unreadable("unknown-specversion", "ce_specversion must be 1.0")


def _check_json(media_type: str) -> None:
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Unreadable(
            "content-type-not-json", f"the content type must be application/json, or {_STRUCTURED} for structured mode"
        )


def _read_structured(value: bytes, found: dict[str, bytes | None]) -> tuple[Envelope, bytes | None]:
    """The whole event is the value (JSON event format, 3): attributes beside `data` or `data_base64`."""
    event = _json_object(value)
    _check_specversion(_attribute(event, "specversion"))
    media_type = event.get("datacontenttype")
    if isinstance(media_type, str):
        _check_json(media_type.partition(";")[0].strip().lower())
    id_ = _attribute(event, "id")
    envelope = Envelope(
        id_,
        _attribute(event, "source"),
        _attribute(event, "type"),
        moment(_attribute(event, "time")),
        _extension(event, "subject"),
        _extension(event, "correlationid") or id_,
        _extension(event, "causationid"),
        _trace(_extension(event, "traceparent") or _optional(found.get("traceparent"))),
    )
    return envelope, _data(event)


def _json_object(value: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        event = None
    if not isinstance(event, dict):
        raise Unreadable("malformed-envelope", "the value must be a JSON object, as structured content mode has it")
    return event


def _attribute(event: dict[str, Any], name: str) -> str:
    text = event.get(name)
    if not text:
        raise Unreadable(f"missing-ce_{name}", f"add the attribute {name} (CloudEvents 1.0, structured content mode)")
    if not isinstance(text, str):
        raise Unreadable(f"malformed-ce_{name}", f"the attribute {name} must be a string")
    return _bounded(text, f"ce_{name}")


def _extension(event: dict[str, Any], name: str) -> str | None:
    text = event.get(name)
    return text if isinstance(text, str) and text and len(text) <= TEXT_MAX and "\x00" not in text else None


def _data(event: dict[str, Any]) -> bytes | None:
    if "data_base64" in event:
        try:
            return base64.b64decode(event["data_base64"], validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise Unreadable("malformed-data_base64", "data_base64 must be a string in base64") from None
    data = event.get("data")
    return None if data is None else orjson.dumps(data)
