"""`kello dead`: what could not be handled. Seen, grouped, mended, replayed, dropped.

A letter stays on <service>.dead-letters as it came. What operators do about it is kept in the service's database, with
who and when.
"""

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.text import Text

from shared.messaging import replay
from shared.messaging.dead_letters import Letter
from shared.messaging.replay import Replayer
from shared.messaging.service import Service
from shared.operations import effects
from shared.operations.dead_edit import Change, edited_letter, headers_of, read_payload, shown_bytes
from shared.operations.dead_replay import Outcome, replayed
from shared.operations.installation import Installation, ServiceName, installation, service_named
from shared.operations.letters import Found, Wanted, chosen, handled_since, letters_of
from shared.operations.output import NO, Failed, Json, Yes, answer, run, table

NAMED_MAX = 10
"""So many of the later events of a key are named; the rest is counted."""

app = typer.Typer(no_args_is_help=True, help="What could not be handled: seen, mended, replayed or dropped.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Ids of letters, or how they begin.")]
Kind = Annotated[str | None, typer.Option(help="poison, refused or bug.")]
Code = Annotated[str | None, typer.Option(help="The code of the reason: breaks-contract, for one.")]
Type = Annotated[str | None, typer.Option("--type", help="The CloudEvents type, as the record says.")]
Key = Annotated[str | None, typer.Option(help="The Kafka key.")]
By = Annotated[str, typer.Option(envvar="KELLO_OPERATOR", help="Who does it; by default the user's name.")]


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one reason and type."""

    kind: str
    code: str
    type: str
    topic: str
    reason: str
    letters: int
    oldest: datetime
    newest: datetime
    first_id: str


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"


@app.command("list")
def list_letters(
    service: ServiceName,
    kind: Kind = None,
    code: Code = None,
    ce_type: Type = None,
    key: Key = None,
    ended: Annotated[bool, typer.Option("--ended", help="Those that were replayed or dropped, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 100,
    as_json: Json = False,
) -> None:
    """The dead letters of a service that wait for somebody, the oldest first.

    kello dead list billing --kind refused
    """
    found = chosen(run(letters_of(installation(), service)), Wanted((), kind, code, ce_type, key))
    shown = [each for each in found if ended or each.end is None]
    rows = [_summary(each) for each in shown[-limit:]]
    columns = ("id", "kind", "code", "type", "key", "topic", "partition", "offset", "came_at", "state")
    answer(
        rows,
        table(*columns, rows=[[row[name] for name in columns] for row in rows]),
        f"{len(shown)} of {len(found)} letters" + (f", the newest {limit}" if len(shown) > limit else ""),
        as_json=as_json,
    )


@app.command()
def groups(service: ServiceName, as_json: Json = False) -> None:
    """The letters that wait, grouped by reason and type, the largest group first.

    kello dead groups billing
    """
    found = [each.letter for each in run(letters_of(installation(), service)) if each.end is None]
    rows = sorted(_groups(found), key=lambda group: -group.letters)
    columns = ("letters#", "kind", "code", "type", "topic", "oldest", "newest", "first id", "reason")
    cells = [(g.letters, g.kind, g.code, g.type, g.topic, g.oldest, g.newest, g.first_id, g.reason) for g in rows]
    answer(rows, table(*columns, rows=cells), as_json=as_json)


@app.command()
def show(service: ServiceName, letter_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """One letter: the record as it came, why it is dead, what was done about it, and what came after it.

    kello dead show billing 0197f0
    """
    document = run(_shown(installation(), service_named(service), letter_id))
    lines = [f"{name}: {_text(content)}" for name, content in document.items() if content not in (None, [], {})]
    answer(document, _lines(lines), as_json=as_json)


@app.command("replay")
def replay_letters(
    service: ServiceName,
    ids: Ids = None,
    kind: Kind = None,
    code: Code = None,
    ce_type: Type = None,
    key: Key = None,
    all_letters: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell, even with --yes.")] = False,
    although_answered: Annotated[
        bool, typer.Option("--although-answered", help="Commands, too, that were answered with CommandRejected.")
    ] = False,
    by: By = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Decide on letters again, as they came or as they were edited, with today's code and upcasters.

    It runs the service's own load, decide and save on its database; nothing goes back to a topic. Without --yes, or
    with --dry-run, all of it is rolled back, and the rows, events and tasks that would come out are told, each letter
    by itself. Of one key a letter waits behind one before it that stays dead. Events under the same key that were
    handled since are named first. Exit code 1 where a letter is not replayed.

    kello dead replay billing 0197f0 --dry-run
    """
    if not (ids or all_letters or any((kind, code, ce_type, key))):
        raise typer.BadParameter("which letters? Name ids, --kind, --code, --type or --key, or say --all")
    wanted = Wanted(tuple(ids or ()), kind, code, ce_type, key)
    is_rehearsal = dry_run or not yes
    outcomes = run(
        replayed(
            installation(),
            service_named(service),
            wanted,
            by or _user(),
            is_rehearsal=is_rehearsal,
            although_answered=although_answered,
        )
    )
    document = {"service": service, "done": not is_rehearsal, "letters": outcomes}
    shown = [line for outcome in outcomes for line in _outcome_lines(outcome, is_rehearsal=is_rehearsal)]
    if is_rehearsal:
        shown.append("nothing was changed: add --yes")
    answer(document, _lines(shown), as_json=as_json)
    if any(outcome.why is not None for outcome in outcomes):
        raise typer.Exit(NO)


@app.command()
def drop(
    service: ServiceName,
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of letters, or how they begin.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with who and when.")],
    by: By = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give letters up. They stay on Kafka and are never replayed; a command that nobody answered is rejected now.

    kello dead drop billing 0197f0 --reason "a test of the shop's" --yes
    """
    dropped = run(_dropped(installation(), service_named(service), ids, reason, by or _user(), do_it=yes))
    document = {"service": service, "done": yes, "letters": dropped}
    lines = [
        f"{each['id']} {'dropped' if yes else 'would be dropped'}: {each['kind']} {each['code']}, {each['type']}"
        + (", and its sender was answered" if each["answered"] else "")
        for each in dropped
    ]
    answer(document, _lines(lines if yes else [*lines, "nothing was changed: add --yes"]), as_json=as_json)


@app.command()
def edit(
    service: ServiceName,
    letter_id: Annotated[str, typer.Argument(metavar="ID")],
    payload: Annotated[
        Path | None, typer.Option(help="A JSON file that replaces the payload; - is standard input.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Replaces the Kafka key.")] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Replaces a header, or adds it.")
    ] = None,
    by: By = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Mend a letter. What is to be replayed is kept beside it, and must be what the service can read.

    The letter itself stays as it came. Who edited it, when, and a hash of what came out are kept; the content is
    forgotten after 30 days, as the letter is.

    kello dead edit billing 0197f0 --payload mended.json --yes
    """
    if payload is None and key is None and not header:
        raise typer.BadParameter("what is to be edited? Name --payload, --key or --header")
    change = Change(
        read_payload(payload) if payload is not None else None,
        None if key is None else key.encode(),
        headers_of(header or []),
    )
    document = run(edited_letter(installation(), service_named(service), letter_id, change, by or _user(), do_it=yes))
    lines = [f"{name}: {_text(each)}" for name, each in document.items()]
    answer(document, _lines(lines if yes else [*lines, "nothing was changed: add --yes"]), as_json=as_json)


def _groups(letters: Sequence[Letter]) -> list[Group]:
    found: dict[tuple[str, str, str, str, str], list[Letter]] = {}
    for letter in letters:
        fault = letter.fault
        found.setdefault((fault.kind, fault.code, letter.type, letter.place.topic, fault.reason), []).append(letter)
    return [
        Group(
            *words,
            len(members),
            min(each.came_at for each in members),
            max(each.came_at for each in members),
            members[0].id,
        )
        for words, members in found.items()
    ]


def _summary(found: Found) -> dict[str, Any]:
    letter, end = found.letter, found.end
    return {
        "id": letter.id,
        "kind": letter.fault.kind,
        "code": letter.fault.code,
        "reason": letter.fault.reason,
        "type": letter.type,
        "event_id": letter.event_id,
        "key": letter.key,
        "topic": letter.place.topic,
        "partition": letter.place.partition,
        "offset": letter.record.offset,
        "came_at": letter.came_at,
        "written_at": letter.written_at,
        "state": found.state,
        "ended_by": None if end is None else end.by,
        "ended_at": None if end is None else end.at,
        "ended_because": None if end is None else end.reason,
    }


async def _shown(here: Installation, service: Service[Any, Any], letter_id: str) -> dict[str, Any]:
    every = await letters_of(here, service.name)
    (found,) = chosen(every, Wanted((letter_id,)))
    letter = found.letter
    dead = {(each.letter.place, each.letter.record.offset) for each in every if each.state != "replayed"}
    neighbours = await handled_since(here, service, [letter], dead)
    since = neighbours.since[letter.id]
    return {
        **_summary(found),
        "was_answered": replay.was_answered(service, letter),
        "headers": {name: shown_bytes(content) for name, content in letter.record.headers},
        "value": shown_bytes(letter.record.value),
        "edits": [
            {"number": e.number, "by": e.by, "at": e.at, "sha256": e.sha256, "value": shown_bytes(e.value)}
            for e in found.edits
        ],
        "other_letters_of_the_key": [
            each.letter.id for each in every if each.letter.key == letter.key and each.letter.id != letter.id
        ],
        "handled_since": since[:NAMED_MAX],
        "handled_since_count": len(since),
        "handled_since_is_all": neighbours.is_complete,
    }


async def _dropped(
    here: Installation, service: Service[Any, Any], ids: Sequence[str], reason: str, by: str, *, do_it: bool
) -> list[dict[str, Any]]:
    found = chosen(await letters_of(here, service.name), Wanted(tuple(ids)))
    for each in found:
        if each.end is not None:
            raise Failed(f"{each.letter.id}: {replay.Ended(each.end)}")
    dropped = []
    async with here.pool(service.name) as pool:
        replayer = Replayer(service, pool, by)
        for each in found:
            try:
                answered = await replayer.drop(each.letter, reason) if do_it else False
            except replay.NotReplayed as refused:
                raise Failed(f"{each.letter.id}: {refused}") from None
            dropped.append({**_summary(each), "answered": answered})
    return dropped


def _lines(lines: Sequence[str]) -> Text:
    """Lines that are no markup: what is shown was written by others."""
    return Text("\n".join(lines), overflow="fold")


def _text(content: Any) -> str:
    return content if isinstance(content, str) else orjson.dumps(content, default=str).decode()


def _outcome_lines(outcome: Outcome, *, is_rehearsal: bool) -> list[str]:
    """What was handled since comes first: whoever replays should know it."""
    lines = [f"{outcome.id} {outcome.type}, key {outcome.key}" + (f", edit {outcome.edit}" if outcome.edit else "")]
    if outcome.handled_since_count:
        more = "" if outcome.handled_since_is_all else " or more"
        lines.append(f"  since then {outcome.handled_since_count}{more} of its key were handled:")
        lines += [f"    {e.time:%Y-%m-%d %H:%M:%S} {e.type} {e.id}" for e in outcome.handled_since]
    if outcome.earlier_letters:
        lines.append(f"  earlier letters of its key wait, too: {', '.join(outcome.earlier_letters)}")
    if outcome.why is not None:
        return [*lines, f"  not replayed: {outcome.why}"]
    assert outcome.effect is not None  # noqa: S101 - there is one where nothing stands against it
    return [*lines, *effects.lines(outcome.effect), "  would be replayed" if is_rehearsal else "  replayed"]
