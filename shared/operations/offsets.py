"""`kello offsets`: how far each partition has had its effect, and an operator's word on where it goes on."""

from typing import Annotated

import typer

from shared.messaging import offsets
from shared.messaging.offsets import Partition
from shared.operations.installation import Installation, ServiceName, installation
from shared.operations.output import Failed, Json, Yes, answer, run, table

app = typer.Typer(no_args_is_help=True, help="How far each partition has had its effect, and corrections to it.")


@app.command()
def show(service: ServiceName, as_json: Json = False) -> None:
    """Each partition's next offset, what Kafka has of it, and its dead letters in a row.

    kello offsets show billing
    """
    rows = run(_stands(installation(), service))
    shown = table(
        "topic", "partition #", "next #", "begin #", "end #", "dead in a row #", rows=[r.values() for r in rows]
    )
    answer(rows, shown, as_json=as_json)


@app.command()
def reset(
    service: ServiceName,
    topic: Annotated[str, typer.Argument(help="The topic by its name in topics.yaml: sales.events, for one.")],
    partition: Annotated[int, typer.Argument(min=0)],
    next_offset: Annotated[int, typer.Argument(min=0, metavar="OFFSET", help="Where to go on.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Go on elsewhere in a partition whose topic was recreated or truncated on purpose.

    What lies between is not read. What is read a second time has no second effect as long as the inbox knows it. A
    process that runs is fenced and goes on there.

    kello offsets reset billing sales.events 3 0 --yes
    """
    place = Partition(topic, partition)
    before = run(_reset(installation(), service, place, next_offset, do_it=yes))
    document = {"service": service, **place._asdict(), "before": before, "next_offset": next_offset, "done": yes}
    said = f"{service} goes on at {next_offset} in {topic}, partition {partition}; it was at {before}"
    wanted = f"would move {service} from {before} to {next_offset} in {topic}, partition {partition}: add --yes"
    answer(document, said if yes else wanted, as_json=as_json)


async def _stands(here: Installation, service: str) -> list[dict[str, object]]:
    async with here.database(service) as connection:
        stands = await offsets.all_stands(connection, service)
    ranges = await here.ranges(topic for topic, _ in stands)
    return [
        {
            "topic": place.topic,
            "partition": place.partition,
            "next_offset": stand.next_offset,
            "begin_offset": ranges[place].begin if place in ranges else None,
            "end_offset": ranges[place].end if place in ranges else None,
            "dead_run": stand.dead_run,
        }
        for place, stand in sorted(stands.items())
    ]


async def _reset(here: Installation, service: str, place: Partition, next_offset: int, *, do_it: bool) -> int:
    """Gives where it stood before. Raises Failed where it was never read, or where the topic does not reach so far."""
    async with here.database(service) as connection, connection.transaction():
        stands = await offsets.stands_of(connection, service, [place])
        if place not in stands:
            raise Failed(
                f"{service} never read {place.topic}, partition {place.partition}: see kello offsets show {service}"
            )
        there = (await here.ranges([place.topic])).get(place)
        if there is None or not there.begin <= next_offset <= there.end:
            raise Failed(
                f"{place.topic}, partition {place.partition}, holds {there or 'nothing'}, and not {next_offset}"
            )
        if do_it:
            await offsets.reset(connection, service, place, next_offset)
        return stands[place].next_offset
