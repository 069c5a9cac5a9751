"""Records as they come from Kafka, read: a message to decide on, or the fault that makes it a dead letter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from aiokafka import ConsumerRecord

from shared.messaging.dead_letters import Fault
from shared.messaging.decision import Message
from shared.messaging.handlers import Handlers
from shared.messaging.inbox import Identity, value_hash
from shared.messaging.offsets import Advance, Partition
from shared.schemas import envelope, registry
from shared.schemas.base import Command, Payload
from shared.schemas.envelope import Envelope, Unreadable

log = structlog.get_logger(__name__)

KEY_CHARACTERS_MAX = 200
BEYOND_READING = "the record could not be read at all: send it again as a plain CloudEvent in binary content mode"


@dataclass(slots=True, eq=False)
class Received:
    """One record that matters to us: a message, or the fault that makes it a dead letter.

    `unread` names a command whose payload could not be read, so that its sender gets an answer all the same.
    """

    partition: Partition
    record: "ConsumerRecord[bytes, bytes]"
    message: Message[Any] | None = None
    fault: Fault | None = None
    value_hash: int = 0
    unread: Message[Any] | None = None

    @property
    def command(self) -> Message[Any] | None:
        """The command that this is, or was meant to be; None for an event, or where nobody could be answered."""
        if self.message is not None and isinstance(self.message.payload, Command):
            return self.message
        return self.unread

    @property
    def story(self) -> str | None:
        """The correlation id, as far as the record says one; for the log."""
        known = self.message or self.unread
        if known is not None:
            return known.correlation_id
        said = dict(self.record.headers)
        told = said.get("ce_correlationid") or said.get("ce_id")
        return told[: envelope.TEXT_MAX].decode("utf-8", "replace") if told else None

    @property
    def identity(self) -> Identity:
        assert self.message is not None  # noqa: S101 - only messages have one
        return Identity(self.message.source, self.message.id)


@dataclass(slots=True, eq=False)
class Batch:
    """What was read in one go: the records that matter, and how far each partition has been read."""

    received: Sequence[Received]
    advances: Mapping[Partition, Advance]

    def __len__(self) -> int:
        return len(self.received)

    def can_be_followed_by(self, other: "Batch") -> bool:
        """Whether both were read under the same claims, so that they can be saved as one."""
        theirs = other.advances
        return all(
            advance.owner == theirs[partition].owner
            for partition, advance in self.advances.items()
            if partition in theirs
        )

    def followed_by(self, other: "Batch") -> "Batch":
        """One batch of both; `other` was read after this one."""
        return Batch([*self.received, *other.received], {**self.advances, **other.advances})

    def halves(self) -> "tuple[Batch, Batch]":
        """The same records in two batches, to be saved one after the other."""
        first, second = self.received[: len(self) // 2], self.received[len(self) // 2 :]
        reached: dict[Partition, Advance] = {}
        for each in first:
            reached[each.partition] = replace(
                self.advances[each.partition],
                next_offset=each.record.offset + 1,
                last_timestamp=each.record.timestamp,
            )
        return Batch(first, reached), Batch(second, self.advances)

    def until(self, partition: Partition, offset: int, timestamp: int) -> "Batch":
        """The batch without what follows `offset` in one partition."""
        kept = [each for each in self.received if each.partition != partition or each.record.offset <= offset]
        reached = replace(self.advances[partition], next_offset=offset + 1, last_timestamp=timestamp)
        return Batch(kept, {**self.advances, partition: reached})

    def with_faults(self, faults: Mapping[int, Fault]) -> "Batch":
        """The same batch, in which some messages, named by `id()`, are dead letters from the start."""
        return Batch(
            [
                Received(each.partition, each.record, None, faults[id(each)], 0, each.command)
                if id(each) in faults
                else each
                for each in self.received
            ],
            self.advances,
        )


class Reader:
    """Reads the records of a consumer: what is of no interest to its decisions is passed over without being parsed."""

    def __init__(self, handlers: Handlers[Any]) -> None:
        self._handlers = handlers

    def read(self, partition: Partition, record: "ConsumerRecord[bytes, bytes]") -> Received | None:
        """A message, a fault, or None: a known type that nobody here decides upon. Never raises."""
        try:
            return self._read(partition, record)
        except Unreadable as error:
            return Received(partition, record, None, Fault("poison", error.code, error.message))
        except Exception as error:  # noqa: BLE001 - whatever breaks the reading costs one letter, and stops nobody
            log.warning("record_unreadable", error=type(error).__name__, topic=partition.topic, offset=record.offset)
            return Received(partition, record, None, Fault("poison", type(error).__name__, BEYOND_READING))

    def _read(self, partition: Partition, record: "ConsumerRecord[bytes, bytes]") -> Received | None:
        head, value = envelope.read(record.headers, record.value)
        model = registry.model_of(head.type)
        if model.topic != partition.topic:
            raise Unreadable("wrong-topic", f"{head.type} belongs on the topic {model.topic}: publish it there")
        if not self._handlers.of_type(registry.newest(head.type)):
            return None
        try:
            if value is None:
                payload: Payload = registry.parse_tombstone(partition.topic, record.key, record.headers)
            else:
                payload = registry.parse(head.type, value)
            key = _checked_key(record, payload)
        except Unreadable as error:
            fault = Fault("poison", error.code, error.message)
            return Received(partition, record, None, fault, 0, _unread(model, partition, record, head))
        message = _message(partition, record, head, payload, key)
        return Received(partition, record, message, None, value_hash(head.type, value or b""))


def _checked_key(record: "ConsumerRecord[bytes, bytes]", payload: Payload) -> str:
    if record.key is None:
        raise Unreadable("no-key", f"the record has no key: set it to the text of {payload.key_field}")
    key = payload.kafka_key
    if record.key != key.encode():
        raise Unreadable("wrong-key", f"the record's key must be the text of {payload.key_field}")
    return key


def _unread(
    model: type[Payload], partition: Partition, record: "ConsumerRecord[bytes, bytes]", head: Envelope
) -> Message[None] | None:
    """The command that an unreadable payload was meant to be; None for an event, or where nobody could be answered."""
    try:
        key = (record.key or b"").decode()
    except UnicodeDecodeError:
        return None
    if not issubclass(model, Command) or not 0 < len(key) <= KEY_CHARACTERS_MAX or "\x00" in key:
        return None
    return _message(partition, record, head, None, key)


def _message(
    partition: Partition, record: "ConsumerRecord[bytes, bytes]", head: Envelope, payload: Any, key: str
) -> Message[Any]:
    return Message(
        payload=payload,
        id=head.id,
        source=head.source,
        type=payload.ce_type if payload is not None else head.type,
        time=head.time,
        key=key,
        topic=partition.topic,
        partition=partition.partition,
        offset=record.offset,
        correlation_id=head.correlation_id or head.id,
        traceparent=head.traceparent,
    )
