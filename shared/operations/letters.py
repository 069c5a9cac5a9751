"""Dead letters as Kafka has them, and what operators did about them: read, chosen, and seen among their neighbours."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.messaging import dead_letter_store, offsets
from shared.messaging.dead_letter_store import Edit, End
from shared.messaging.dead_letters import Letter, Raw, read_back
from shared.messaging.offsets import Partition, Stands
from shared.messaging.replay import Replayable
from shared.messaging.service import Service
from shared.messaging.topics import partition_of
from shared.operations.installation import Installation, Range
from shared.operations.output import Failed
from shared.operations.reading import records
from shared.schemas.envelope import Unreadable, moment_of
from shared.schemas.envelope import read as read_envelope
from shared.schemas.registry import newest

LOOKED_THROUGH_MAX = 500_000
"""So many records are looked through for what else was said under a key."""

State = Literal["open", "edited", "replayed", "dropped"]


@dataclass(frozen=True, slots=True)
class Found:
    """A letter with what was done about it: its edits, the newest last, and its end."""

    letter: Letter
    edits: Sequence[Edit] = ()
    end: End | None = None

    @property
    def state(self) -> State:
        if self.end is not None:
            return self.end.outcome
        return "edited" if self.edits else "open"

    @property
    def replayable(self) -> Replayable:
        return Replayable(self.letter, self.edits[-1] if self.edits else None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant. What is None or empty says nothing; `ids` may be the beginnings of ids."""

    ids: Sequence[str] = ()
    kind: str | None = None
    code: str | None = None
    type: str | None = None
    key: str | None = None

    def __contains__(self, letter: Letter) -> bool:
        named = (self.kind, self.code, self.type, self.key)
        said = (letter.fault.kind, letter.fault.code, letter.type, letter.key)
        return all(name is None or name == word for name, word in zip(named, said, strict=True)) and (
            not self.ids or any(letter.id.startswith(each) for each in self.ids)
        )


EVERYTHING = Wanted()


async def letters_of(here: Installation, service: str) -> list[Found]:
    """All dead letters of a service that Kafka still has, in the order in which they should be replayed.

    Raises Failed where the service has no topic of dead letters.
    """
    topic = f"{service}.dead-letters"
    letters: dict[str, Letter] = {}
    async with here.consumer() as consumer:
        stretches = await here.ranges_seen_by(consumer, [topic])
        if not stretches:
            raise Failed(f"Kafka has no topic {here.physical(topic)}: kello topics plan")
        async for _, batch in records(here, consumer, stretches):
            for record in batch:
                letter = read_back(record)
                if letter is not None and letter.group == service:
                    letters.setdefault(letter.id, letter)  # a crash may repeat one on the wire
    async with here.database(service) as connection:
        ends = await dead_letter_store.ends_of(connection, letters)
        edits = await dead_letter_store.edits_of(connection, letters)
    return [Found(each, edits.get(each.id, ()), ends.get(each.id)) for each in in_order(letters.values())]


def chosen(found: Iterable[Found], wanted: Wanted) -> list[Found]:
    """Those that are meant. Raises Failed where an id means none, or more than one."""
    found = list(found)
    for letter_id in wanted.ids:
        meant = [each for each in found if each.letter.id.startswith(letter_id)]
        if len(meant) != 1:
            raise Failed(f"{len(meant) or 'no'} dead letters have an id that begins with {letter_id}: kello dead list")
    return [each for each in found if each.letter in wanted]


def in_order(letters: Iterable[Letter]) -> list[Letter]:
    """By time, and within a partition by offset, whatever the clocks of their senders said."""
    latest: dict[Partition, int] = {}
    ranked = []
    for letter in sorted(letters, key=lambda each: (each.place, each.record.offset)):
        latest[letter.place] = max(latest.get(letter.place, 0), letter.record.timestamp)
        ranked.append((latest[letter.place], letter.place, letter.record.offset, letter))
    return [letter for *_, letter in sorted(ranked, key=lambda each: each[:3])]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Something else that was said under a letter's key and that the service has handled since."""

    type: str
    id: str
    topic: str
    partition: int
    offset: int
    time: datetime


@dataclass(slots=True)
class Neighbours:
    """What was handled since, by the letter's id; not `is_complete`: there was too much to look through."""

    since: dict[str, list[Neighbour]] = field(default_factory=dict)
    is_complete: bool = True


async def handled_since(
    here: Installation, service: Service[Any, Any], letters: Sequence[Letter], dead: Collection[tuple[Partition, int]]
) -> Neighbours:
    """What the service has handled under the letters' keys after them, but for what is `dead`."""
    async with here.database(service.name) as connection:
        stands = await offsets.all_stands(connection, service.name)
    looked = Neighbours({letter.id: [] for letter in letters})
    by_key: dict[bytes, list[Letter]] = {}
    for letter in letters:
        if letter.record.key is not None:
            by_key.setdefault(letter.record.key, []).append(letter)
    count = 0
    async with here.consumer() as consumer:
        stretches = await _stretches(here, consumer, service, by_key, stands)
        async for place, batch in records(here, consumer, stretches):
            count += len(batch)
            for record in batch:
                if record.key in by_key and (place, record.offset) not in dead:
                    _note(looked, service, by_key[record.key], place, record)
            if count > LOOKED_THROUGH_MAX:
                looked.is_complete = False
                break
    return looked


def _note(
    looked: Neighbours, service: Service[Any, Any], letters: Sequence[Letter], place: Partition, record: Raw
) -> None:
    try:
        head, _ = read_envelope(record.headers, record.value)
    except Unreadable:
        return
    if not service.handlers.of_type(newest(head.type)):
        return
    for letter in letters:
        is_same_place = place == letter.place
        if record.offset > letter.record.offset if is_same_place else record.timestamp >= letter.record.timestamp:
            looked.since[letter.id].append(
                Neighbour(head.type, head.id, *place, record.offset, moment_of(record.timestamp))
            )


async def _stretches(
    here: Installation,
    consumer: AIOKafkaConsumer,
    service: Service[Any, Any],
    by_key: Mapping[bytes, Sequence[Letter]],
    stands: Stands,
) -> dict[Partition, Range]:
    """Where records of these keys may stand behind the letters, up to what has been handled."""
    ranges = await here.ranges_seen_by(consumer, service.consumes)
    counts = {topic: sum(place.topic == topic for place in ranges) for topic in service.consumes}
    begins: dict[Partition, int] = {}
    times: dict[Partition, int] = {}
    for key, letters in by_key.items():
        for letter in letters:
            begins[letter.place] = min(begins.get(letter.place, letter.record.offset), letter.record.offset)
            for topic, partitions in counts.items():
                if partitions and topic != letter.place.topic:
                    place = Partition(topic, partition_of(key, 0, partitions))
                    times[place] = min(times.get(place, letter.record.timestamp), letter.record.timestamp)
    for place, begin in (await offsets_at(here, consumer, times)).items():
        begins[place] = min(begins.get(place, begin), begin)
    return {
        place: Range(max(begin, ranges[place].begin), min(ranges[place].end, stands[place].next_offset))
        for place, begin in begins.items()
        if place in ranges and place in stands
    }


async def offsets_at(
    here: Installation, consumer: AIOKafkaConsumer, times: Mapping[Partition, int]
) -> dict[Partition, int]:
    """The first offset at or after a time (ms) in each partition; a partition that ends before it is missing."""
    if not times:
        return {}
    places = {TopicPartition(here.physical(p.topic), p.partition): p for p in times}
    found = await consumer.offsets_for_times({place: times[p] for place, p in places.items()})
    return {places[place]: at.offset for place, at in found.items() if at is not None}
