"""`kello topics`: the plan of topics against a cluster. Nothing is ever deleted, and no partition count changed."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError
from rich.console import RenderableType
from rich.text import Text

from shared.operations import cluster, wire
from shared.operations.cluster import Difference
from shared.operations.installation import Installation, installation
from shared.operations.output import NO, USAGE, Failed, Json, Yes, answer, run, table
from shared.operations.topic_plan import Topic, acls_for, plan_in
from shared.operations.wire import RESOURCES, Acl

app = typer.Typer(
    no_args_is_help=True, help="Topics, retention, compaction and ACLs, as deploy/topics.yaml plans them."
)

File = Annotated[
    Path | None,
    typer.Option("--file", help="The plan; KELLO_TOPICS names it by default.", exists=True, show_default=False),
]

NO_AUTHORIZER = "the brokers have no authorizer: everybody may do everything, and ACLs mean nothing there"


@dataclass(frozen=True, slots=True)
class Gap:
    """What lies between the plan and the cluster."""

    missing: dict[str, Topic]
    settings: list[Difference]
    partitions: list[Difference]
    acls_missing: list[Acl]
    acls_beyond: list[Acl]
    unplanned: list[str]
    has_authorizer: bool
    topics: dict[str, Topic] = field(repr=False)

    @property
    def is_mendable(self) -> bool:
        """Whether `apply` has something to do."""
        return bool(self.missing or self.settings or self.acls_missing)

    @property
    def is_none(self) -> bool:
        return not self.is_mendable and not self.partitions

    def lines(self) -> Iterator[tuple[str, str]]:
        """What `apply` does, what only a person can, and what is there beyond the plan."""
        for name, topic in self.missing.items():
            yield "create", f"{name} with {topic.partitions} partitions, {_kept(topic)}"
        for each in self.settings:
            yield "set", str(each)
        for acl in self.acls_missing:
            yield "allow", str(acl)
        for each in self.partitions:
            yield "by hand", f"{each}: keys would move and lose their order; a new topic and a migration, or a new plan"
        for acl in self.acls_beyond:
            yield "unplanned", str(acl)
        for name in self.unplanned:
            yield "unplanned", f"topic {name}"

    def document(self) -> dict[str, Any]:
        return {
            "create": sorted(self.missing),
            "set": self.settings,
            "allow": [str(acl) for acl in self.acls_missing],
            "by_hand": self.partitions,
            "unplanned": [*map(str, self.acls_beyond), *self.unplanned],
            "has_authorizer": self.has_authorizer,
        }


@app.command()
def plan(file: File = None, as_json: Json = False) -> None:
    """What `apply` would do: topics to create, settings to change, ACLs to add; and what only a person can decide.

    kello topics plan --file deploy/topics.yaml
    """
    gap = run(_gap(installation(), file))
    answer(gap.document(), *_shown(gap), as_json=as_json)


@app.command()
def check(file: File = None, as_json: Json = False) -> None:
    """Whether the cluster is as planned. Exit code 1 where it is not.

    kello topics check
    """
    gap = run(_gap(installation(), file))
    answer(gap.document(), *_shown(gap), as_json=as_json)
    if not gap.is_none:
        raise typer.Exit(NO)


@app.command()
def apply(file: File = None, yes: Yes = False, as_json: Json = False) -> None:
    """Create missing topics, give topics their planned settings, add missing ACLs. Deletes nothing.

    Exit code 1 where something is left that only a person can decide.

    kello topics apply --yes
    """
    gap = run(_apply(installation(), file, do_it=yes))
    said = "done" if yes else "add --yes to do it" if gap.is_mendable else "nothing to do"
    answer({**gap.document(), "done": yes}, *_shown(gap), said, as_json=as_json)
    if yes and gap.partitions:
        raise typer.Exit(NO)


async def _apply(here: Installation, file: Path | None, *, do_it: bool) -> Gap:
    gap = await _gap(here, file)
    if do_it and gap.is_mendable:
        async with here.admin() as admin:
            await cluster.create(admin, gap.missing)
            if gap.settings:
                await cluster.correct(admin, {each.topic: gap.topics[each.topic] for each in gap.settings})
            if gap.acls_missing:
                await wire.allow(admin, gap.acls_missing)
        await _seen(here, file)
    return gap


async def _seen(here: Installation, file: Path | None) -> None:
    """Until the brokers show what was done: a controller takes it before they know of it."""
    try:
        async with asyncio.timeout(cluster.VISIBLE_SECONDS):
            while (await _gap(here, file)).is_mendable:  # noqa: ASYNC110 - of the brokers
                await asyncio.sleep(cluster.POLL_SECONDS)
    except TimeoutError:
        raise Failed(
            f"the brokers do not show all of it after {cluster.VISIBLE_SECONDS} s: see what `kello topics check` says"
        ) from None


async def _gap(here: Installation, file: Path | None) -> Gap:
    planned = _planned(file or here.topics)
    wanted = {here.physical(topic.name): topic for topic in planned}
    async with here.admin() as admin:
        there = set(await admin.list_topics())
        found = await cluster.differences(admin, {name: topic for name, topic in wanted.items() if name in there})
        allowed = await wire.acls_of(admin)
    acls = acls_for(planned, here.topic_prefix) if allowed is not None else set()
    return Gap(
        missing={name: topic for name, topic in wanted.items() if name not in there},
        settings=[each for each in found if each.setting != "partitions"],
        partitions=[each for each in found if each.setting == "partitions"],
        acls_missing=_sorted(acls - (allowed or set())),
        acls_beyond=_sorted(acl for acl in (allowed or set()) - acls if acl.name in wanted),
        unplanned=sorted(name for name in there - set(wanted) if _looks_ours(here, name, planned)),
        has_authorizer=allowed is not None,
        topics=wanted,
    )


def _planned(file: Path | None) -> tuple[Topic, ...]:
    if file is None:
        raise Failed("name the plan by --file or KELLO_TOPICS: deploy/topics.yaml, for one", USAGE)
    try:
        return plan_in(file)
    except (OSError, yaml.YAMLError, ValidationError, AttributeError) as error:
        raise Failed(f"{file} is no plan of topics: {error}", USAGE) from None


def _looks_ours(here: Installation, name: str, planned: Sequence[Topic]) -> bool:
    """On a shared cluster only what bears a planned publisher's name can have been meant to be planned."""
    publishers = {topic.name.partition(".")[0] for topic in planned}
    publisher, dot, kind = here.logical(name).partition(".")
    return name.startswith(here.topic_prefix) and bool(dot) and publisher in publishers and "." not in kind


def _sorted(acls: Iterable[Acl]) -> list[Acl]:
    return sorted(acls, key=lambda acl: (RESOURCES.get(acl.resource, ""), acl.name, acl.principal, acl.operation))


def _kept(topic: Topic) -> str:
    if topic.compacted:
        return "compacted"
    return "kept for ever" if topic.retention is None else f"kept for {topic.retention.days} days"


def _shown(gap: Gap) -> Iterator[RenderableType]:
    lines = list(gap.lines())
    yield table("step", "what", rows=lines) if lines else Text("the cluster is as planned", style="green")
    if not gap.has_authorizer:
        yield NO_AUTHORIZER
