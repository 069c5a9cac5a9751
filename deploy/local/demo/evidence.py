"""What an audit cannot ask about: what the world outside says it did, what was put aside, and what stands in the logs.

A check is a named function over the evidence that returns what offends: ids and places, never personal data.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from deploy.local.demo.people import Person
from deploy.local.demo.producer import Place, Sent
from deploy.local.demo.world import Watch

PAGE = 10_000
DEAD = "kello_dead_"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `dead` are the headers that say where it comes from and why, without their prefix."""

    place: Place
    dead: Mapping[str, str]

    @property
    def original(self) -> Place:
        """Where the record lies of which it was made."""
        return Place(self.dead["topic"], int(self.dead["partition"]), int(self.dead["offset"]))


@dataclass(slots=True)
class Evidence:
    """All there is. `sent` is what the script's own producer noted, `people` are those of whom no log may speak."""

    watch: Watch
    letters: dict[str, list[Letter]]
    """By service."""
    captures: list[dict[str, Any]]
    mails: list[dict[str, Any]]
    texts: list[dict[str, Any]]
    sent: Sent
    people: Sequence[Person]

    async def rows(self, service: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
        return await self.watch.rows(service, sql, *arguments)


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


async def gather(watch: Watch, sent: Sent, people: Sequence[Person]) -> Evidence:
    """Everything, as it is now."""
    world = watch.world
    async with httpx.AsyncClient(timeout=60) as client:
        captures = await _pages(client, f"{world.gateway}/admin/captures", "captures")
        mails = await _pages(client, f"{world.mailbox}/admin/mails", "mails")
        texts = await _pages(client, f"{world.sms}/admin/messages", "messages")
    letters = {service: await _letters(watch, f"{service}.dead-letters") for service in world.databases}
    return Evidence(watch, letters, captures, mails, texts, sent, people)


async def _letters(watch: Watch, topic: str) -> list[Letter]:
    """A topic from its beginning to its end."""
    found: list[Letter] = []
    consumer = AIOKafkaConsumer(bootstrap_servers=watch.world.kafka, auto_offset_reset="earliest", fetch_max_wait_ms=20)
    await consumer.start()
    try:
        consumer.assign(list(watch.places[topic]))
        ends = {place: end for place, end in (await consumer.end_offsets(watch.places[topic])).items() if end}
        while behind := [place for place, end in ends.items() if await consumer.position(place) < end]:
            for records in (await consumer.getmany(*behind, timeout_ms=200)).values():
                found += [_letter(topic, record) for record in records]
    finally:
        await consumer.stop()
    return found


def _letter(topic: str, record: "ConsumerRecord[bytes, bytes]") -> Letter:
    texts = {name: (content or b"").decode("utf-8", "replace") for name, content in record.headers}
    dead = {name.removeprefix(DEAD): text for name, text in texts.items() if name.startswith(DEAD)}
    return Letter(Place(topic, record.partition, record.offset), dead)


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
