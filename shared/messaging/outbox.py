"""The outbox: what is to be published, saved in the transaction of the effects and deleted once Kafka has it.

Rows are written last, after the locks of the roots, so that ids and commits have the same order for each key. What a
decision says under one key is one row: it is published together, and costs PostgreSQL half as much.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import ormsgpack

from shared.messaging.database import COMMAND_TIMEOUT_SECONDS, Tx
from shared.messaging.decision import Ids, Message
from shared.schemas.base import Payload
from shared.schemas.envelope import Envelope, headers

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]

VALUE_BYTES_MAX = 1024 * 1024
ROW_BYTES_MAX = 128 * 1024
"""What several records of one row may come to, so that always some rows fit into what is sent at once."""


class Oversized(Exception):
    """What is to be published is larger than any topic takes: publish less, or a reference to it.

    A dead letter is never too large: its topic takes whatever record was taken, and its reason besides.
    """


class Record(NamedTuple):
    """A record to publish. `topic` is logical; `headers` may hold nulls and bytes that are no text."""

    event_id: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


class Content(NamedTuple):
    """One record of a row: what is published under the row's key."""

    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def record_of(payload: Payload, source: str, cause: Message[object], now: datetime, ids: Ids) -> Record:
    """An event that follows from `cause`, in CloudEvents binary mode."""
    event_id = str(ids.next())
    envelope = Envelope(
        id=event_id,
        source=source,
        type=payload.ce_type,
        time=now,
        subject=payload.subject,
        correlation_id=cause.correlation_id,
        causation_id=cause.id,
        traceparent=cause.traceparent,
    )
    value = payload.to_json()
    if len(value) > VALUE_BYTES_MAX:
        raise Oversized(f"a {payload.ce_type} has {len(value)} bytes and may have {VALUE_BYTES_MAX}")
    return Record(event_id, payload.topic, payload.kafka_key.encode(), value, headers(envelope))


def contents(packed: bytes) -> list[Content]:
    """The records of a row, in their order; headers as aiokafka takes them: in tuples and nothing else."""
    return [Content(value, [(name, text) for name, text in pairs]) for value, pairs in ormsgpack.unpackb(packed)]


def header(of: Headers, name: str) -> str:
    """One of the headers as text, whatever bytes it has; empty where there is none."""
    return (dict(of).get(name) or b"").decode("utf-8", "backslashreplace")


async def append(tx: Tx, records: Sequence[Record]) -> None:
    """Writes the rows in their order."""
    await tx.copy_records_to_table(
        "outbox",
        schema_name="messaging",
        columns=("topic", "key", "records"),
        records=_rows(records),
        timeout=COMMAND_TIMEOUT_SECONDS,
    )


def _rows(records: Iterable[Record]) -> Iterator[tuple[str, bytes | None, bytes]]:
    """Topic, key and packed contents, in order: what follows on each other under one key is one row."""
    for (topic, key), run in groupby(records, key=itemgetter(1, 2)):
        for packed in _packed([(record.value, record.headers) for record in run], len(key or b"")):
            yield topic, key, packed


def _packed(together: list[tuple[bytes | None, Headers]], key_bytes: int) -> Iterator[bytes]:
    """One row, or several where it would be too large to be sent together with others: each record bears the key."""
    packed = ormsgpack.packb(together)
    half = len(together) // 2
    if half and len(packed) + key_bytes * len(together) > ROW_BYTES_MAX:
        yield from _packed(together[:half], key_bytes)
        yield from _packed(together[half:], key_bytes)
    else:
        yield packed
