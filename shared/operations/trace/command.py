"""`kello trace`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.text import Text
from rich.tree import Tree

from shared.operations import output
from shared.operations.installation import installation
from shared.operations.output import Json
from shared.operations.trace.facts import Fact
from shared.operations.trace.search import Story, story_of
from shared.operations.trace.tree import Line, tree_of

Id = Annotated[
    str, typer.Argument(metavar="ID", help="A correlation id, a customer, an employee, a run, an event or a thing.")
]
Hours = Annotated[float | None, typer.Option("--hours", min=0.01, help="Only what was published in the last hours.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many facts are told at most.")]

STYLES = {"letter": "red", "task": "yellow", "waiting": "yellow", "outcome": "cyan", "record": ""}


def trace_command(id_: Id, hours: Hours = None, limit: Limit = 500, as_json: Json = False) -> None:
    """Tell the story of an id through all services: what led to what, when, and what is still to come.

    Nothing of what records say is shown, only what they are about. Reads all topics, or the last --hours of them. Exit
    code 1 where nothing is known of it.

    kello trace 0198c5f2-6e00-7c4b-9d6e-2f1a5b3c4d5e
    """
    since = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
    story = output.run(story_of(installation(), id_, since=since, limit=limit))
    roots = tree_of(story.facts)
    document = {"id": id_, "more": story.more, "story": [_document(line, story) for line in roots]}
    output.answer(document, *_shown(id_, roots, story), as_json=as_json)
    if not roots:
        raise typer.Exit(output.NO)


def _document(line: Line, story: Story) -> dict[str, Any]:
    fact = line.fact
    return {
        "kind": fact.kind,
        "id": fact.id,
        "what": fact.what,
        "about": fact.about,
        "at": fact.at,
        "where": fact.where,
        "key": fact.key,
        "source": fact.source,
        "correlation": fact.correlation,
        "cause": fact.cause,
        "more": fact.more,
        "times": story.times.get(fact, 1),
        "led_to": [_document(each, story) for each in line.led_to],
    }


def _shown(id_: str, roots: Sequence[Line], story: Story) -> list[Tree | Text]:
    if not roots:
        return [Text(f"nothing is known of {id_}")]
    tree = Tree(Text(id_, "bold"), guide_style="dim")
    for root in roots:
        _grow(tree, root, None, story.times)
    more = [Text(f"there is more: these are the first {len(story.facts)} facts; see --limit")] if story.more else []
    return [tree, *more]


def _grow(tree: Tree, line: Line, after: datetime | None, times: Mapping[Fact, int]) -> None:
    branch = tree.add(_told(line.fact, after, times.get(line.fact, 1)))
    for each in line.led_to:
        _grow(branch, each, line.fact.at or after, times)


def _told(fact: Fact, after: datetime | None, times: int) -> Text:
    """When, what and about what; then where it lies, and what else there is to say."""
    told = Text(f"{_moment(fact, after)}{fact.what}", STYLES[fact.kind])
    told.append(f" {fact.about}" if fact.about else "")
    told.append(f"  {fact.where}" if fact.where else "", "dim")
    told.append(f" ×{times}" if times > 1 else "", "dim")  # noqa: RUF001 - a multiplication sign is meant
    told.append(f"  {fact.more}" if fact.more else "", "red" if fact.kind == "letter" else "dim")
    return told


def _moment(fact: Fact, after: datetime | None) -> str:
    if fact.at is None:
        return ""
    moment = fact.at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    if fact.kind in ("task", "waiting"):
        return f"{'due' if fact.kind == 'task' else 'since'} {moment}  "
    return f"{moment}  " if after is None else f"{moment} +{(fact.at - after).total_seconds():.3f} s  "
