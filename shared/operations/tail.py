"""`kello tail`: topics decoded, as they come or as they were."""

import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import orjson
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.operations.installation import Installation, installation
from shared.operations.output import NO, USAGE, Failed, console, run
from shared.operations.records import Seen, seen
from shared.schemas.base import Payload
from shared.schemas.envelope import Unreadable, moment

DURATION = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)\Z")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FETCH_MILLISECONDS = 300
FETCH_RECORDS = 500

Matches = Callable[[Seen], bool]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records, from where on; `count` 0 means all."""

    topics: Sequence[str]
    begin: str
    follow: bool
    count: int
    matches: Matches


def _names_of_topics(incomplete: str) -> list[str]:
    """For the shell's completion."""
    topics = {model.topic for model in Payload.contracts.values()}
    letters = {f"{topic.partition('.')[0]}.dead-letters" for topic in topics if topic.endswith(".commands")}
    return sorted(topic for topic in topics | letters if topic.startswith(incomplete))


def tail(
    topics: Annotated[
        list[str],
        typer.Argument(metavar="TOPIC...", help="By their names in topics.yaml.", autocompletion=_names_of_topics),
    ],
    begin: Annotated[
        str,
        typer.Option("--from", help="begin, end, a time such as 2026-01-31T12:00:00Z, or so long ago: 15m, 2h, 1d."),
    ] = "end",
    key: Annotated[str | None, typer.Option(help="Only records of this key.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only types that contain this.")] = None,
    correlation: Annotated[str | None, typer.Option(help="Only records of this correlation id.")] = None,
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0: go on until Ctrl-C.")] = 0,
    follow: Annotated[bool, typer.Option(help="Wait for more; without it end where the topics ended.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """Watch topics, decoded: envelope and payload, dead letters with their reason, and what breaks its contract.

    Reading has no effect on anybody. Exit code 1 where --no-follow found nothing.

    kello tail billing.events billing.dead-letters --from 15m --no-follow
    """

    def matches(record: Seen) -> bool:
        return (
            (key is None or record.key == key)
            and (type_ is None or type_ in (record.type or ""))
            and (correlation is None or record.correlation_id == correlation)
        )

    wanted = Wanted(topics, begin, follow, count, matches)
    if not run(_tail(installation(), wanted, as_json=as_json)):
        raise typer.Exit(NO)


async def records_of(here: Installation, wanted: Wanted) -> AsyncIterator[Seen]:
    """The records as they come; those that are there already by their time, as far as one fetch holds them."""
    async with here.consumer() as consumer:
        places = await _places(here, wanted.topics)
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await _seek(consumer, places, wanted.begin)
        count = 0
        while wanted.follow or await _is_before(consumer, ends):
            fetched = await consumer.getmany(timeout_ms=FETCH_MILLISECONDS, max_records=FETCH_RECORDS)
            records = [seen(here.logical(place.topic), each) for place, batch in fetched.items() for each in batch]
            for record in sorted(records, key=lambda each: each.at):
                if wanted.matches(record):
                    yield record
                    count += 1
                    if count == wanted.count:
                        return


async def _tail(here: Installation, wanted: Wanted, *, as_json: bool) -> bool:
    out, found = console(), wanted.follow
    async for record in records_of(here, wanted):
        found = True
        if as_json:
            sys.stdout.write(orjson.dumps(asdict(record)).decode() + "\n")
            sys.stdout.flush()
        else:
            out.print(record.lines(), soft_wrap=True)
    return found


async def _places(here: Installation, topics: Sequence[str]) -> list[TopicPartition]:
    places = await here.places_of(topics)
    missing = {here.physical(topic) for topic in topics} - {place.topic for place in places}
    if missing:
        raise Failed(f"there is no topic {', '.join(sorted(missing))}: kello topics check")
    return places


async def _seek(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], begin: str) -> None:
    if begin == "begin":
        await consumer.seek_to_beginning(*places)
    elif begin == "end":
        await consumer.seek_to_end(*places)
    else:
        since = int(_moment(begin).timestamp() * 1000)
        ends = await consumer.end_offsets(places)
        for place, found in (await consumer.offsets_for_times(dict.fromkeys(places, since))).items():
            consumer.seek(place, found.offset if found is not None else ends[place])


def _moment(text: str) -> datetime:
    if (ago := DURATION.match(text)) is not None:
        return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * SECONDS[ago[2]])
    try:
        return moment(text)
    except Unreadable:
        raise Failed(f"--from is begin, end, a time such as 2026-01-31T12:00:00Z, or 15m: not {text}", USAGE) from None


async def _is_before(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    return any([await consumer.position(place) < end for place, end in ends.items()])
