"""`kello status`, `kello lag` and `kello top`: one look at an installation, or one after the other."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from shared.operations.installation import Installation, installation, names_of_services
from shared.operations.output import NO, Json, ago, answer, console, run, table
from shared.operations.problems import Problem, problems
from shared.operations.survey import ServiceState, Survey, survey

Services = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SERVICE]...",
        help="Some services; all by default.",
        show_default=False,
        autocompletion=names_of_services,
    ),
]


def status(services: Services = None, as_json: Json = False) -> None:
    """Each service on one screen: processes, lag, outbox, tasks, dead letters, versions; and what needs an operator.

    Exit code 1 where something does.

    kello status
    """
    here = installation()
    found = run(survey(here, services or ()))
    needed = problems(found, here.dead_run_max)
    document = {
        "at": found.at,
        "services": [_document(state) for state in found.services],
        "problems": [asdict(problem) for problem in needed],
    }
    answer(document, _services_table(found), "", _tasks_table(found), "", _problems_shown(needed), as_json=as_json)
    if needed:
        raise typer.Exit(NO)


def lag(
    services: Services = None,
    all_partitions: Annotated[bool, typer.Option("--all", help="Partitions without lag, too.")] = False,
    as_json: Json = False,
) -> None:
    """How many records of each partition have not had their effect, and since when the oldest waits.

    From PostgreSQL, where the offsets are that count; kafka-consumer-groups shows the same up to a second later.

    kello lag billing
    """
    found = run(survey(installation(), services or ()))
    rows = [
        {"service": state.service, **asdict(each)}
        for state in found.services
        for each in state.lags
        if all_partitions or each.records or each.dead_run
    ]
    columns = ("service", "topic", "partition #", "next #", "end #", "lag #", "waits", "dead in a row #")
    shown = table(
        *columns,
        rows=([*list(row.values())[:6], ago(row["waiting_seconds"]), row["dead_run"]] for row in rows),
    )
    answer(rows, shown if rows else "nothing lags", as_json=as_json)


def top(
    services: Services = None,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    count: Annotated[int, typer.Option(min=0, help="Looks until it ends; 0: until Ctrl-C.")] = 0,
) -> None:
    """Status and rates, again and again: records taken in and published a second.

    kello top --every 1
    """
    run(_top(installation(), services or (), every, count))


async def _top(here: Installation, services: Sequence[str], every: float, count: int) -> None:
    before: Survey | None = None
    looks, out = 0, console()
    with Live(Text("looking"), console=out, auto_refresh=False) if out.is_terminal else nullcontext() as live:
        while not count or looks < count:
            found = await survey(here, services)
            screen = _screen(found, before, problems(found, here.dead_run_max))
            if live is None:
                out.print(screen)
            else:
                live.update(screen, refresh=True)
            before, looks = found, looks + 1
            if not count or looks < count:
                await asyncio.sleep(every)


def _screen(found: Survey, before: Survey | None, needed: Sequence[Problem]) -> RenderableType:
    rates = _rates(found, before)
    rows = [(state.service, *rates.get(state.service, ("-", "-")), *_short(state)) for state in found.services]
    columns = ("service", "taken/s #", "published/s #", "lag #", "waits", "outbox #", "due #", "unknown #", "letters #")
    return Group(f"{found.at:%H:%M:%S}Z", table(*columns, rows=rows), "", _problems_shown(needed))


def _rates(found: Survey, before: Survey | None) -> dict[str, tuple[str, str]]:
    if before is None:
        return {}
    seconds = (found.at - before.at).total_seconds()
    earlier = {state.service: state for state in before.services}
    return {
        state.service: (
            f"{(state.taken - earlier[state.service].taken) / seconds:,.0f}",
            f"{(state.published - earlier[state.service].published) / seconds:,.0f}",
        )
        for state in found.services
        if state.inside is not None and earlier[state.service].inside is not None
    }


def _short(state: ServiceState) -> tuple[object, ...]:
    inside = state.inside
    if inside is None:
        return ("no answer", "-", "-", "-", "-", state.letters)
    due, unknown = sum(tasks.due for tasks in inside.tasks), sum(tasks.unknown for tasks in inside.tasks)
    return (state.lag_records, ago(state.waiting_seconds), inside.outbox_rows, due, unknown, state.letters)


def _services_table(found: Survey) -> RenderableType:
    columns = (
        "service",
        "processes #",
        "partitions #",
        "lag #",
        "waits",
        "last record",
        "outbox #",
        "its age",
        "blocked #",
        "relay",
        "dead letters #",
        "versions",
    )
    return table(*columns, rows=(_row(state) for state in found.services))


def _row(state: ServiceState) -> tuple[object, ...]:
    inside = state.inside
    if inside is None:
        return (state.service, state.processes, *("-" for _ in range(8)), state.letters, "no answer")
    return (
        state.service,
        state.processes,
        len(inside.stands),
        state.lag_records,
        ago(state.waiting_seconds),
        inside.last_record_at,
        inside.outbox_rows,
        ago(inside.outbox_age_seconds),
        inside.outbox_blocked,
        "held" if inside.has_relay else "nobody",
        state.letters,
        ", ".join(f"{component} {number}" for component, number in sorted(inside.versions.items())),
    )


def _tasks_table(found: Survey) -> RenderableType:
    rows = [
        (state.service, each.kind, each.later, each.due, each.late, each.started, each.unknown)
        for state in found.services
        if state.inside is not None
        for each in state.inside.tasks
    ]
    columns = ("service", "task", "has time #", "due #", "late #", "started #", "unknown #")
    return table(*columns, rows=rows) if rows else "no tasks"


def _problems_shown(needed: Sequence[Problem]) -> RenderableType:
    if not needed:
        return Text("nothing needs an operator", style="green")
    rows = ((Text(each.service, style="red"), each.what, Text(each.command, style="bold")) for each in needed)
    return table("needs an operator", "what", "next", rows=rows)


def _document(state: ServiceState) -> dict[str, Any]:
    inside = state.inside
    told: dict[str, Any] = {
        "service": state.service,
        "error": state.error,
        "processes": state.processes,
        "lag_records": state.lag_records,
        "waiting_seconds": state.waiting_seconds,
        "published_records": state.published,
    }
    if inside is None:
        return told
    return told | {
        "partitions": len(inside.stands),
        "last_record_at": inside.last_record_at,
        "pause": inside.pause,
        "outbox_rows": inside.outbox_rows,
        "outbox_age_seconds": inside.outbox_age_seconds,
        "outbox_blocked_keys": inside.outbox_blocked,
        "has_relay": inside.has_relay,
        "dead_letters": state.letters,
        "tasks": [asdict(tasks) for tasks in inside.tasks],
        "versions": inside.versions,
        "pending_migrations": inside.pending,
    }
