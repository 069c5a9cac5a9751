"""Records of Kafka and rows of an outbox as rows of a temporary table, with what of them is compared."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from aiokafka import ConsumerRecord

from shared.messaging.adoption import SEQUENCE_HEADER
from shared.messaging.outbox import Headers
from shared.schemas import envelope, registry
from shared.schemas.customer import CustomerProfile
from shared.schemas.envelope import Envelope, Unreadable

DEAD = "kello_dead_"
OUTBOX = -1
"""Stands for the partition of what is still in the outbox; its offset is the row's id."""
TEXT_MAX = 200
PERSONAL = frozenset({"name", "email", "phone", "iban", "payment_token"})
"""What no check compares, and no other database should hold."""


class Row(NamedTuple):
    """A record. What is unreadable in it is empty; `said` are the payload's numbers, flags, ids and short words.

    `type` is the CloudEvents type without its version: what is compared is the newest version.
    """

    topic: str
    partition: int
    at: int
    sequence: int | None
    source: str
    id: str
    type: str
    subject: str
    version: int | None
    key: str
    cause: str
    said: str
    digest: int


class Letter(NamedTuple):
    """A dead letter: where it lies, the record that it was made of, and why."""

    letter_partition: int
    letter_at: int
    letter_id: str
    sequence: int | None
    topic: str
    partition: int
    at: int
    kind: str
    code: str
    reason: str
    source: str
    id: str
    type: str
    digest: int


class Lying(NamedTuple):
    """A record as it lies on a topic, or would."""

    topic: str
    partition: int
    at: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def lying(topic: str, record: "ConsumerRecord[bytes, bytes]") -> Lying:
    return Lying(topic, record.partition, record.offset, record.key, record.value, record.headers)


def row_of(record: Lying) -> Row:
    """Never raises: what nobody can read is a row all the same."""
    headers = dict(record.headers)
    try:
        head, value = envelope.read(record.headers, record.value)
    except Unreadable:
        head, value = None, None
    payload = {} if head is None else _payload(head, record, value)
    version = payload.get("version")
    return Row(
        record.topic,
        record.partition,
        record.at,
        _number(headers.get(SEQUENCE_HEADER)),
        head.source if head else "",
        head.id if head else "",
        name_of(head.type) if head else "",
        (head.subject or "") if head else "",
        version if isinstance(version, int) and abs(version) < 2**63 else None,
        _text(record.key),
        (head.causation_id or "") if head else "",
        orjson.dumps(payload).decode(),
        _digest(record.key, record.value),
    )


def name_of(ce_type: str) -> str:
    """A CloudEvents type without its version: kello.sales.purchase-recorded."""
    return ce_type.rpartition(".v")[0]


def letter_of(record: Lying) -> Letter:
    """The headers that say where it comes from are the kit's own: a letter without them has an empty place."""
    headers = dict(record.headers)
    dead = {name.removeprefix(DEAD): _text(content) for name, content in headers.items() if name.startswith(DEAD)}
    came = row_of(record)
    return Letter(
        record.partition,
        record.at,
        dead.get("id", ""),
        came.sequence,
        dead.get("topic", ""),
        int(dead["partition"]) if dead.get("partition", "").isdigit() else OUTBOX,
        int(dead["offset"]) if dead.get("offset", "").isdigit() else -1,
        dead.get("kind", ""),
        dead.get("code", ""),
        dead.get("reason", ""),
        came.source,
        came.id,
        came.type,
        came.digest,
    )


def _payload(head: Envelope, record: Lying, value: bytes | None) -> dict[str, Any]:
    """What of a payload is compared. Of an older version, what its upcaster makes of it."""
    if value is None:
        return _erased(record)
    try:
        if registry.newest(head.type) != head.type:
            payload = registry.parse(head.type, value).model_dump(mode="json")
        else:
            payload = orjson.loads(value)
    except (Unreadable, orjson.JSONDecodeError):
        return {}
    if not isinstance(payload, dict):
        return {}
    if head.type == CustomerProfile.ce_type and b"\\u0000" not in value:
        return payload
    return dict(_facts(payload.items()))


def _facts(fields: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    for name, value in fields:
        if name in PERSONAL:
            continue
        if isinstance(value, str):
            if len(value) <= TEXT_MAX and "\x00" not in value:
                yield name, _same_id(value) if name.endswith("_id") else value
        elif isinstance(value, bool | int):
            yield name, value


def _same_id(text: str) -> str:
    """An id as PostgreSQL writes it: others may write UUIDs in capitals, or without dashes."""
    try:
        return str(UUID(text))
    except ValueError:
        return text


def _erased(record: Lying) -> dict[str, Any]:
    try:
        tombstone = registry.parse_tombstone(record.topic, record.key, record.headers)
    except Unreadable:
        return {}
    return {"customer_id": str(tombstone.customer_id), "version": tombstone.version}


def _digest(key: bytes | None, value: bytes | None) -> int:
    """64 bits of key and value: equal for what is said twice, and for a letter and its record."""
    parts = b"".join(b"-" if part is None else b"%d:%b" % (len(part), part) for part in (key, value))
    return int.from_bytes(blake2b(parts, digest_size=8).digest(), "big", signed=True)


def _number(content: bytes | None) -> int | None:
    return int(content) if content and content.isdigit() and len(content) < 19 else None


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace").replace("\x00", "\ufffd")
