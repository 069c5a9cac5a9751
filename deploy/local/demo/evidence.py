"""What is there to be checked: every record on Kafka, every database, and what the world outside says it did.

A check is a named function over the evidence that returns what offends: ids and places, never personal data. The same
checks follow the scripted month, an audit and a run with faults.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import Any, NamedTuple, TypeAlias

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from deploy.local.demo.people import Person
from deploy.local.demo.producer import Place, Sent
from deploy.local.demo.world import Watch
from shared.schemas.base import Payload

PAGE = 10_000
DEAD = "kello_dead_"


class Identity(NamedTuple):
    """What makes an event itself, however often it lies on a topic."""

    source: str
    id: str


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it lies on Kafka; headers that are absent or unreadable are empty."""

    place: Place
    key: bytes | None
    value: bytes | None
    type: str
    id: str
    source: str
    subject: str
    causation: str
    dead: Mapping[str, str]
    """The headers of a dead letter that say where it comes from and why, without their prefix."""

    @property
    def identity(self) -> Identity:
        return Identity(self.source, self.id)

    @property
    def payload(self) -> dict[str, Any]:
        """The value; only of records that our own services wrote, or that were taken in."""
        found: dict[str, Any] = orjson.loads(self.value or b"{}")
        return found


@dataclass(slots=True)
class Evidence:
    """All there is. `sent` is what the script's own producer noted, `people` are those of whom no log may speak."""

    watch: Watch
    records: dict[str, list[Record]]
    captures: list[dict[str, Any]]
    mails: list[dict[str, Any]]
    texts: list[dict[str, Any]]
    sent: Sent | None = None
    people: Sequence[Person] = ()
    _dead: dict[str, set[Place]] = field(default_factory=dict)

    async def rows(self, service: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
        return await self.watch.rows(service, sql, *arguments)

    def events(self, *models: type[Payload]) -> Iterator[Record]:
        """The records of these types on their topics, each event once, in order within a partition."""
        for topic in sorted({model.topic for model in models}):
            types = {model.ce_type for model in models}
            seen: set[Identity] = set()
            for record in self.records[topic]:
                if record.type in types and record.identity not in seen:
                    seen.add(record.identity)
                    yield record

    def taken_in(self, group: str, *models: type[Payload]) -> Iterator[Record]:
        """Those of them that the group did not put aside."""
        dead = self.put_aside(group)
        return (record for record in self.events(*models) if record.place not in dead)

    def put_aside(self, group: str) -> set[Place]:
        """The records of which a consumer group made dead letters."""
        if group not in self._dead:
            self._dead[group] = {original(letter) for letter in self.records[f"{group}.dead-letters"]}
        return self._dead[group]


CheckFunction: TypeAlias = Callable[[Evidence], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Check:
    """A promise, in the words of its docstring, and the function that finds what breaks it."""

    promise: str
    find: CheckFunction


CHECKS: list[Check] = []
"""Every check that was imported."""


def check(function: CheckFunction) -> CheckFunction:
    """Registers a check."""
    CHECKS.append(Check((function.__doc__ or function.__name__).partition("\n")[0].rstrip("."), function))
    return function


def original(letter: Record) -> Place:
    """Where the record of a dead letter lies."""
    return Place(letter.dead["topic"], int(letter.dead["partition"]), int(letter.dead["offset"]))


async def gather(watch: Watch, sent: Sent | None = None, people: Sequence[Person] = ()) -> Evidence:
    """Everything, as it is now."""
    world = watch.world
    async with httpx.AsyncClient(timeout=60) as client:
        captures = await _pages(client, f"{world.gateway}/admin/captures", "captures")
        mails = await _pages(client, f"{world.mailbox}/admin/mails", "mails")
        texts = await _pages(client, f"{world.sms}/admin/messages", "messages")
    return Evidence(watch, await _records(watch), captures, mails, texts, sent, people)


async def _records(watch: Watch) -> dict[str, list[Record]]:
    """Every topic of the plan from its beginning to its end."""
    prefix, found = watch.world.prefix, {topic: list[Record]() for topic in watch.places}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=watch.world.kafka, auto_offset_reset="earliest", fetch_max_bytes=16 << 20
    )
    await consumer.start()
    try:
        places = [place for topic in watch.places.values() for place in topic]
        consumer.assign(places)
        ends = {place: end for place, end in (await consumer.end_offsets(places)).items() if end}
        while behind := [place for place, end in ends.items() if await consumer.position(place) < end]:
            for place, records in (await consumer.getmany(*behind, timeout_ms=200)).items():
                topic = place.topic.removeprefix(prefix)
                found[topic] += [_record(topic, record) for record in records]
    finally:
        await consumer.stop()
    return found


def _record(topic: str, record: "ConsumerRecord[bytes, bytes]") -> Record:
    texts = {name: (content or b"").decode("utf-8", "replace") for name, content in record.headers}
    dead = {name.removeprefix(DEAD): text for name, text in texts.items() if name.startswith(DEAD)}
    return Record(
        Place(topic, record.partition, record.offset),
        record.key,
        record.value,
        intern(texts.get("ce_type", "")),
        texts.get("ce_id", ""),
        intern(texts.get("ce_source", "")),
        texts.get("ce_subject", ""),
        texts.get("ce_causationid", ""),
        dead,
    )


async def _pages(client: httpx.AsyncClient, url: str, name: str) -> list[dict[str, Any]]:
    """All pages of a list that a sandbox shows."""
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        response = await client.get(url, params={"after": after, "limit": PAGE})
        response.raise_for_status()
        body = response.json()
        found += body[name]
        after = body["next"]
    return found
