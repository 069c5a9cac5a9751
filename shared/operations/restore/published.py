"""What a service has published since its backup: the steps that every other system took for true."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from shared.messaging import dead_letters, outbox
from shared.messaging.adoption import SEQUENCE_HEADER, Acknowledged, event_id_of, row_id_of
from shared.messaging.dead_letters import Letter, Raw
from shared.messaging.decision import Ids
from shared.messaging.offsets import Partition
from shared.operations.output import Failed
from shared.schemas import envelope
from shared.schemas.envelope import Unreadable


@dataclass(frozen=True, slots=True)
class Told:
    """A record of ours on Kafka. `sequence` is the id that its row had in the outbox: the order of decisions."""

    sequence: int
    topic: str
    event_id: str
    type: str
    cause_id: str
    time: datetime
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    def says(self, record: outbox.Record) -> bool:
        """Whether a record that was decided anew is this one, to the byte."""
        is_same = (record.topic, record.key, record.value) == (self.topic, self.key, self.value)
        return is_same and list(record.headers) == self.headers


@dataclass(frozen=True, slots=True)
class Step:
    """One decision that was published: the id of its cause, its moment (business time), and its records in order."""

    cause_id: str
    now: datetime
    records: Sequence[Told]

    @property
    def sequence(self) -> int:
        return self.records[0].sequence

    @property
    def keys(self) -> set[str]:
        return {told.key.decode() for told in self.records if told.key is not None}

    def __str__(self) -> str:
        return (
            f"{self.records[0].type} {self.records[0].event_id} of {self.records[0].topic}, caused by {self.cause_id}"
        )


@dataclass(slots=True)
class Published:
    """Everything that Kafka has of the service and this database knows nothing of; and what it waits to publish."""

    service: str
    outbox_rows: Mapping[int, Collection[str]]
    """Event ids of what the backup had not published yet, by row."""
    told: dict[str, Told] = field(default_factory=dict)
    letters: dict[tuple[Partition, int], str] = field(default_factory=dict)
    """The records that became dead letters, by their place, with the letter's id."""
    reached: dict[Partition, Acknowledged] = field(default_factory=dict)
    sent_rows: set[int] = field(default_factory=set)
    """Rows of the backup's outbox that were published after it."""
    last_of_key: dict[tuple[str, bytes | None], int] = field(default_factory=dict)
    last_timestamp: int = 0
    """When Kafka got the last of them, in milliseconds."""
    _answers_to_poison: set[str] = field(default_factory=set)
    _answers_to_drops: dict[str, str] = field(default_factory=dict)
    _sequences: set[int] = field(default_factory=set)

    def add(self, partition: Partition, records: Iterable[Raw], acknowledged_id: int) -> None:
        """Records of one of our partitions, beyond what the backup knows as acknowledged."""
        ids: list[int] = []
        last = -1
        for record in records:
            last = record.offset
            sequence = row_id_of(record, self.service)
            if sequence is None:
                continue
            ids.append(sequence)
            if sequence > acknowledged_id:
                self._add(partition.topic, record, sequence)
        if last >= 0:
            before = self.reached.get(partition)
            highest = max([*ids, acknowledged_id, *(before.ids if before else ())])
            self.reached[partition] = Acknowledged([highest], partition.topic, partition.partition, last)

    def _add(self, topic: str, record: Raw, sequence: int) -> None:
        letter = dead_letters.read_back(record) if topic == f"{self.service}.dead-letters" else None
        event_id = event_id_of(record.headers)
        waiting = self.outbox_rows.get(sequence)
        if waiting is not None:
            if event_id not in waiting:
                raise Failed(
                    f"row {sequence} of the outbox says {', '.join(waiting)} and Kafka has {event_id} under its "
                    "number: this database was written to since it came back. Bring the backup back once more, with "
                    f"{self.service} stopped, and restore then"
                )
            self.sent_rows.add(sequence)
            return
        self._sequences.add(sequence)
        self.last_timestamp = max(self.last_timestamp, record.timestamp)
        self.last_of_key[topic, record.key] = max(self.last_of_key.get((topic, record.key), 0), sequence)
        if letter is not None:
            self.letters[letter.place, letter.record.offset] = letter.id
            self.note_answer(letter, is_new=True)
        elif event_id not in self.told:
            self.told[event_id] = _told(topic, record, sequence, event_id)

    def note_answer(self, letter: Letter, *, is_new: bool) -> None:
        """A command that is poison, or was dropped, is answered under an id that follows from its place: such an answer
        has no decision. Where the letter was not written with it, somebody has dropped the letter."""
        try:
            head, _ = envelope.read(letter.record.headers, letter.record.value)
        except Unreadable:
            return
        place = f"{letter.place.topic}/{letter.place.partition}/{letter.record.offset}"
        answer = str(Ids(self.service, "poison", place, head.time).next())
        self._answers_to_poison.add(answer)
        if not is_new or letter.fault.kind != "poison":
            self._answers_to_drops[answer] = letter.id

    @property
    def dropped(self) -> list[str]:
        """The letters that somebody dropped since the backup, as far as their senders were told."""
        return [letter_id for answer, letter_id in self._answers_to_drops.items() if answer in self.told]

    @property
    def is_empty(self) -> bool:
        return not self._sequences

    @property
    def highest(self) -> int:
        return max(self._sequences, default=0)

    def transactions(self) -> list[list[Step]]:
        """The steps of each transaction, all in the order in which they were decided."""
        by_step: defaultdict[tuple[datetime, str], list[Told]] = defaultdict(list)
        for told in sorted(self.told.values(), key=lambda each: each.sequence):
            if told.event_id not in self._answers_to_poison:
                by_step[told.time, told.cause_id].append(told)
        steps = [Step(cause_id, now, records) for (now, cause_id), records in by_step.items()]
        begins: dict[datetime, int] = {}
        for step in steps:
            begins.setdefault(step.now, step.sequence)
        steps.sort(key=lambda step: (begins[step.now], step.now, step.sequence))
        return [list(together) for _, together in groupby(steps, key=lambda step: step.now)]

    def has_later(self, record: outbox.Record, sequence: int | None) -> bool:
        """Whether Kafka has something of a record's key from after that sequence. A key is published in its order: what
        was decided before and is not there was taken away by compaction, or was never decided."""
        return sequence is not None and self.last_of_key.get((record.topic, record.key), 0) > sequence


def _told(topic: str, record: Raw, sequence: int, event_id: str) -> Told:
    return Told(
        sequence,
        topic,
        event_id,
        _text(record, "ce_type"),
        _text(record, "ce_causationid"),
        envelope.moment(_text(record, "ce_time")),
        record.key,
        record.value,
        [(name, value) for name, value in record.headers if name != SEQUENCE_HEADER],
    )


def _text(record: Raw, header: str) -> str:
    return (dict(record.headers).get(header) or b"").decode()


def by_type(told: Collection[Told]) -> dict[str, int]:
    """How many records of each type."""
    types = sorted(each.type for each in told)
    return {name: len(list(group)) for name, group in groupby(types)}
