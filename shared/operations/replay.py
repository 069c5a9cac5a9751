"""`kello replay`: a copy of others' data made again from Kafka, beside the live one."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.text import Text

from shared.messaging.offsets import Partition
from shared.messaging.service import Service
from shared.messaging.shadow import Difference
from shared.operations.installation import ServiceName, installation, service_named
from shared.operations.output import NO, Json, Yes, answer, run, table
from shared.operations.rebuilding import Bounds, Report, Wish, replayed

OFFSET = re.compile(r"(?P<topic>[a-z][a-z.-]*)/(?P<partition>[0-9]{1,6})=(?P<offset>[0-9]{1,18})\Z")


def replay(
    service: ServiceName,
    projection: Annotated[str | None, typer.Argument(help="Its name; without it, those that there are.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only records from this time on (RFC 3339).")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only records before this time.")] = None,
    first: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="TOPIC/PARTITION=OFFSET", help="Only this partition, from this offset on."),
    ] = None,
    last: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="TOPIC/PARTITION=OFFSET", help="Only this partition, up to before this offset."),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="With --yes: rows that Kafka tells nothing of are removed.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="So many differences are told in full.")] = 20,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make a copy of others' data again from Kafka, beside the live one, and compare; with --yes, write what differs.

    Only projection decisions run, on tables beside: no reaction, no event, no task, no mail and no payment. The
    service runs on. Where not all is replayed, or Kafka no longer has the beginning of a topic, the rebuild begins
    with the live copy, else with nothing. Dead letters count as the live copy has them: not at all, or as they were
    replayed. Rows that are only in the live copy stay, unless --remove says otherwise; columns of the service's own
    stay in any case. What reactions would have done with a row that is written is not done. Exit code 1 where there
    are differences that were not written.

    kello replay billing customers
    """
    chosen = service_named(service)
    if projection is None:
        _list(chosen, as_json=as_json)
        return
    if projection not in chosen.projections:
        known = ", ".join(sorted(chosen.projections)) or "none"
        raise typer.BadParameter(f"{service} has the projections {known}, and no {projection}")
    bounds = Bounds(_time(since), _time(until), _offsets(first), _offsets(last))
    report = run(replayed(installation(), chosen, projection, bounds, Wish(yes, remove, limit)))
    answer({**asdict(report), "differing": report.differing}, *_shown(report), as_json=as_json)
    if report.differing and report.swapped_rows is None:
        raise typer.Exit(NO)


def _list(service: Service[Any, Any], *, as_json: bool) -> None:
    rows = [
        {
            "projection": name,
            "tables": [copy.table for copy in projection.copies],
            "topics": sorted(projection.topics),
            "types": sorted(model.ce_type for model in projection.types),
        }
        for name, projection in service.projections.items()
    ]
    cells = [[row["projection"], ", ".join(row["tables"]), ", ".join(row["topics"])] for row in rows]
    answer(rows, table("projection", "tables", "topics", rows=cells), as_json=as_json)


def _shown(report: Report) -> Iterator[Any]:
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(report.left_out.items()))
    yield Text(
        f"{report.service} {report.projection}: began with {report.began_with} ({report.because}); "
        f"{report.records} records read, {report.decided} messages decided on in {report.seconds:g} s"
        + (f"; left out: {left_out}" if left_out else "")
    )
    columns = ("table", "same#", "changed#", "only live#", "only rebuilt#", "settled#")
    yield table(*columns, rows=[list(asdict(each).values()) for each in report.tables])
    for difference in report.differences:
        yield Text(_line(difference), overflow="fold")
    if (told := len(report.differences)) < report.differing:
        yield Text(f"and {report.differing - told} more: --limit {report.differing}")
    if report.swapped_rows is not None:
        left = f"; {report.left} rows that are only live were left: --remove" if report.left else ""
        yield Text(f"{report.swapped_rows} rows were written{left}")
    else:
        yield Text("what differs can be written: add --yes" if report.differing else "no difference")


def _line(difference: Difference) -> str:
    """One row: its table, its key, and what differs."""
    key = "/".join(str(part) for part in difference.key.values())
    live, rebuilt = difference.live, difference.rebuilt
    if live is None or rebuilt is None:
        where = "only rebuilt" if live is None else "only live"
        return f"{difference.table} {key}: {where} {_json(live or rebuilt)}"
    changes = ", ".join(f"{name} {_json(live[name])} -> {_json(rebuilt[name])}" for name in live)
    return f"{difference.table} {key}: {changes}"


def _json(content: Any) -> str:
    return orjson.dumps(content).decode()


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time such as 2026-01-31T12:00:00Z") from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _offsets(texts: Sequence[str] | None) -> dict[Partition, int]:
    found = {}
    for text in texts or ():
        matched = OFFSET.match(text)
        if not matched:
            raise typer.BadParameter(f"{text!r} is not TOPIC/PARTITION=OFFSET, such as sales.events/3=1200")
        found[Partition(matched["topic"], int(matched["partition"]))] = int(matched["offset"])
    return found
