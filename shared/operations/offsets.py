"""`kello offsets`: how far each partition has had its effect, and an operator's word on where it goes on."""

from typing import Annotated, Any

import typer

from shared.messaging import offsets
from shared.messaging.offsets import Partition
from shared.operations.installation import Installation, Range, ServiceName, installation
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
    partition: Annotated[int | None, typer.Argument(min=0, help="All of them, without it.", show_default=False)] = None,
    next_offset: Annotated[
        int | None, typer.Argument(min=0, metavar="[OFFSET]", help="Where to go on; where Kafka begins, without it.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Go on elsewhere in a topic that was recreated or truncated on purpose.

    What lies between is not read. What is read a second time has no second effect as long as the inbox knows it. A
    process that runs is fenced and goes on there.

    kello offsets reset billing sales.events 3 0 --yes
    """
    moves = run(_reset(installation(), service, topic, partition, next_offset, do_it=yes))
    shown = table("topic", "partition #", "from #", "to #", rows=(move.values() for move in moves))
    said = f"{service} goes on there" if yes else f"would move {service}: add --yes"
    answer({"service": service, "moves": moves, "done": yes}, shown, said, as_json=as_json)


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


async def _reset(
    here: Installation, service: str, topic: str, partition: int | None, next_offset: int | None, *, do_it: bool
) -> list[dict[str, Any]]:
    """Gives where each partition stood and where it goes on. Raises Failed where it was never read, or not so far."""
    async with here.database(service) as connection, connection.transaction():
        stands = await offsets.all_stands(connection, service)
        places = sorted(p for p in stands if p.topic == topic and partition in (None, p.partition))
        if not places:
            raise Failed(f"{service} never read {topic}, partition {partition}: kello offsets show {service}")
        ranges = await here.ranges([topic])
        moves = []
        for place in places:
            to = _where(place, ranges.get(place), next_offset)
            moves.append({**place._asdict(), "from": stands[place].next_offset, "to": to})
            if do_it:
                await offsets.reset(connection, service, place, to)
        return moves


def _where(place: Partition, there: Range | None, wanted: int | None) -> int:
    if there is not None and wanted is None:
        return there.begin
    if there is None or wanted is None or not there.begin <= wanted <= there.end:
        raise Failed(f"{place.topic}, partition {place.partition}, holds {there or 'nothing'}, and not {wanted}")
    return wanted
