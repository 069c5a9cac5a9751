"""Dead letters: what cannot be handled, kept whole on `<service>.dead-letters`, with the reason.

A letter has the key, value and headers of the record as they came, and headers of ours that begin with `kello_dead_`.
"""

from dataclasses import dataclass
from typing import Literal

from aiokafka import ConsumerRecord

from shared.messaging import outbox
from shared.messaging.decision import Ids
from shared.messaging.offsets import Partition
from shared.schemas.envelope import moment_of

Kind = Literal["poison", "refused", "bug"]
REASON_CHARACTERS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record cannot be handled.

    `poison`: it cannot be read or stored. `refused`: the domain says no to an event. `bug`: a decision of ours failed.
    `reason` says what to do, and holds no personal data.
    """

    kind: Kind
    code: str
    reason: str


def letter(service: str, partition: Partition, record: "ConsumerRecord[bytes, bytes]", fault: Fault) -> outbox.Record:
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
    return outbox.Record.of(letter_id, f"{service}.dead-letters", record.key, record.value, headers)
