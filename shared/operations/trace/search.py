"""What belongs to a story: records of every topic, rows of outboxes, tasks."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer

from shared.messaging.offsets import Partition
from shared.messaging.outbox import contents
from shared.operations.installation import Connection, Installation, Range, service_named
from shared.operations.reading import records
from shared.operations.trace.facts import STRUCTURED, Fact, fact_of, outcome_behind, published_at

CORRELATIONS_MAX = 50
"""So many correlation ids are followed at most."""
OUTBOX_ROWS = 1_000

Belongs = Callable[[Fact], bool]


@dataclass(frozen=True, slots=True)
class Story:
    """The facts of a story. `times` counts those that lie on Kafka more than once; `more`: not all were kept."""

    facts: list[Fact]
    times: dict[Fact, int]
    more: bool


async def story_of(here: Installation, id_: str, *, since: datetime | None, limit: int) -> Story:
    """The story of an id: at most `limit` facts, none that was published before `since`."""
    async with here.consumer() as consumer:
        search = _Search(here, consumer, limit)
        await search.begin(since)
        await search.look([id_], lambda fact: _is_named(fact, id_))
        correlations = {id_}
        if not any(id_ in (fact.correlation, fact.key) for fact in search.facts):
            correlations |= {fact.correlation for fact in search.facts[:CORRELATIONS_MAX]}
            await search.look(correlations, lambda fact: fact.correlation in correlations)
        causes = _causes_elsewhere(search.facts)
        if causes:
            await search.look(causes, lambda fact: fact.id in causes)
        for service in here.services:
            async with here.database(service) as connection, connection.transaction(readonly=True):
                await search.look_in_database(connection, service, id_, correlations)
    return Story(search.facts, search.times, search.is_cut)


class _Search:
    """Looks through the log, as often as need be; keeps what belongs, each fact once."""

    def __init__(self, here: Installation, consumer: AIOKafkaConsumer, limit: int) -> None:
        self._here = here
        self._consumer = consumer
        self._limit = limit
        self._stretches: dict[Partition, Range] = {}
        self._found: dict[tuple[str, str, str], Fact] = {}
        self._places: dict[tuple[str, str, str], set[str]] = {}
        self.is_cut = False

    @property
    def facts(self) -> list[Fact]:
        return list(self._found.values())

    @property
    def times(self) -> dict[Fact, int]:
        return {self._found[name]: len(places) for name, places in self._places.items() if len(places) > 1}

    async def begin(self, since: datetime | None) -> None:
        """Every topic that the services read or write, up to its end as it is now."""
        topics: set[str] = set()
        for service in map(service_named, self._here.services):
            topics |= {*service.consumes, *service.publishes, f"{service.name}.dead-letters"}
        places = await self._here.places_of(topics)
        self._consumer.assign(places)  # so that it learns of all topics at once
        self._stretches = await self._here.ranges_seen_by(self._consumer, topics)
        if since is not None:
            moments = dict.fromkeys(places, int(since.timestamp() * 1000))
            for place, found in (await self._consumer.offsets_for_times(moments)).items():
                partition = Partition(self._here.logical(place.topic), place.partition)
                end = self._stretches[partition].end
                self._stretches[partition] = Range(end if found is None else found.offset, end)

    async def look(self, words: Collection[str], belongs: Belongs) -> None:
        """Adds what belongs. `words` are such that one of them stands in the key or a header of whatever does."""
        wanted = [word.encode() for word in words]
        async for place, batch in records(self._here, self._consumer, self._stretches):
            for record in batch:
                if _mentions(record.key, record.headers, wanted):
                    where = f"{place.topic}/{place.partition}/{record.offset}"
                    at = published_at(record.timestamp)
                    fact = fact_of("record", where, at, record.key, record.value, record.headers)
                    if belongs(fact):
                        self._add(fact)

    async def look_in_database(
        self, connection: Connection, service: str, id_: str, correlations: Collection[str]
    ) -> None:
        """What is still to be published, and still to be done."""
        outbox = connection.cursor(
            "SELECT topic, key, records, created_at FROM messaging.outbox ORDER BY id", prefetch=OUTBOX_ROWS
        )
        async for row in outbox:
            where = f"{service}'s outbox, for {row['topic']}"
            for each in contents(row["records"]):
                fact = fact_of("waiting", where, row["created_at"], row["key"], each.value, each.headers)
                if (_is_named(fact, id_) or fact.correlation in correlations) and not self._is_published(fact):
                    self._add(fact)
        tasks = connection.cursor(
            """
            SELECT kind, key, root, state, due_at, attempts, last_reason, cause_id, correlation_id FROM messaging.task
            WHERE root = $1 OR correlation_id = ANY ($2::text[]) OR starts_with(key, $1)
            ORDER BY due_at
            """,
            id_,
            list(correlations),
        )
        async for row in tasks:
            tried = f", attempts: {row['attempts']}" if row["attempts"] else ""
            reason = f": {row['last_reason']}" if row["last_reason"] else ""
            self._add(
                Fact(
                    "task",
                    f"{row['kind']}/{row['key']}",
                    f"task {row['kind']}",
                    at=row["due_at"],
                    where=f"{service}'s tasks",
                    about=row["key"],
                    key=row["root"],
                    source=f"task/{row['kind']}",
                    correlation=row["correlation_id"],
                    cause=row["cause_id"],
                    more=f"{row['state']}{tried}{reason}",
                )
            )

    def _is_published(self, fact: Fact) -> bool:
        return ("record", fact.source, fact.id) in self._found

    def _add(self, fact: Fact) -> None:
        name = (fact.kind, fact.source, fact.id)
        if name not in self._found and len(self._found) >= self._limit:
            self.is_cut = True
            return
        self._found.setdefault(name, fact)
        self._places.setdefault(name, set()).add(fact.where)


def _is_named(fact: Fact, id_: str) -> bool:
    """Whether the id is what correlates it, whom it is about, itself, or the thing that it is about."""
    return id_ in (fact.correlation, fact.key, fact.id) or id_ in fact.about.split("/")


def _mentions(key: bytes | None, headers: Iterable[tuple[str, bytes | None]], words: Collection[bytes]) -> bool:
    """A cheap look before a record is read. What is in structured mode must be read to be known."""
    contents = [key or b"", *(content or b"" for _, content in headers)]
    return any(
        content.startswith(STRUCTURED.encode()) or any(word in content for word in words) for content in contents
    )


def _causes_elsewhere(facts: Collection[Fact]) -> set[str]:
    """Ids of causes that are told under another key: of facts, of the tasks that led to them, and the first of all."""
    outcomes = {fact.cause: outcome for fact in facts if (outcome := outcome_behind(fact)) is not None}
    causes = {fact.cause for fact in (*facts, *outcomes.values())} - outcomes.keys()
    return (causes | {fact.correlation for fact in facts}) - {fact.id for fact in facts} - {""}
