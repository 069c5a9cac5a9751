"""The outbox: what is to be published, saved in the transaction of the effects and deleted once Kafka has it.

Rows are written last, after the locks of the roots, so that ids and commits have the same order for each key.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

import ormsgpack

from shared.messaging.database import COMMAND_TIMEOUT_SECONDS, Tx
from shared.messaging.decision import Ids, Message
from shared.schemas.base import Payload
from shared.schemas.envelope import Envelope, headers

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]

VALUE_BYTES_MAX = 1024 * 1024


class Oversized(Exception):
    """What is to be published is larger than any topic takes: publish less, or a reference to it.

    A dead letter is never too large: its topic takes whatever record was taken, and its reason besides.
    """


class Record(NamedTuple):
    """A record to publish, with the columns of its row in the outbox.

    `topic` is logical; `headers` may hold nulls and bytes that are no text.
    """

    event_id: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: bytes

    @staticmethod
    def of(event_id: str, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> "Record":
        return Record(event_id, topic, key, value, ormsgpack.packb(list(headers)))


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
    return Record.of(event_id, payload.topic, payload.kafka_key.encode(), value, headers(envelope))


def unpacked(packed: bytes) -> list[tuple[str, bytes | None]]:
    """The headers of an outbox row, as aiokafka takes them: in tuples and nothing else."""
    return [(name, value) for name, value in ormsgpack.unpackb(packed)]


async def append(tx: Tx, records: Sequence[Record]) -> None:
    """Writes the rows in their order."""
    await tx.copy_records_to_table(
        "outbox", schema_name="messaging", columns=Record._fields, records=records, timeout=COMMAND_TIMEOUT_SECONDS
    )
