"""One line of a story: something that was published, put aside or is waiting, and what it says of its cause.

Nothing of a payload is told: a story can be shown to anybody who may see ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Literal

from shared.messaging.outbox import Headers
from shared.messaging.tasks import CAUSE_CHARACTERS_MAX
from shared.schemas import envelope
from shared.schemas.envelope import Unreadable

STRUCTURED = "application/cloudevents+json"
DEAD = "kello_dead_"

Kind = Literal["record", "waiting", "letter", "task", "outcome"]


@dataclass(frozen=True, slots=True)
class Fact:
    """`id` is what others name as their cause. `at` is when it was published, or when a task is due.

    `waiting` is not published yet. `outcome` stands for a task that ended: nobody keeps those, but what followed from
    one names it as its cause.
    """

    kind: Kind
    id: str
    what: str
    at: datetime | None = None
    where: str = ""
    about: str = ""
    key: str = ""
    source: str = ""
    correlation: str = ""
    cause: str = ""
    more: str = ""


def fact_of(
    kind: Literal["record", "waiting"], where: str, at: datetime, key: bytes | None, value: bytes | None, said: Headers
) -> Fact:
    """A record, or the dead letter of one. What is unreadable in it is empty."""
    headers = _attributes(said, value)
    id_ = headers.get("ce_id", "")
    record = Fact(
        kind,
        id_ or where,
        headers.get("ce_type", ""),
        at=at,
        where=where,
        about=headers.get("ce_subject", ""),
        key=_text(key),
        source=headers.get("ce_source", ""),
        correlation=headers.get("ce_correlationid") or id_,
        cause=headers.get("ce_causationid", ""),
    )
    dead = {name.removeprefix(DEAD): text for name, text in headers.items() if name.startswith(DEAD)}
    if "id" not in dead:
        return record
    why = f"{dead.get('kind', '')} {dead.get('code', '')}: {dead.get('reason', '')}"
    return replace(
        record, kind="letter", id=dead["id"], what=f"put aside by {dead.get('group', '')}", cause=id_, more=why
    )


def outcome_behind(fact: Fact) -> Fact | None:
    """The task that the fact names as its cause (`<kind>/<key>/<cause>/<attempts>.<asked>`), or None: it was none."""
    kind, _, rest = fact.cause.partition("/")
    rest, _, turn = rest.rpartition("/")
    key, _, its_cause = rest.rpartition("/")
    attempts, _, asked = turn.partition(".")
    if not (key and its_cause and attempts.isdigit() and asked.isdigit()):
        return None
    more = f"attempts: {attempts}" + (f", asked: {asked}" if asked != "0" else "")
    return Fact(
        "outcome",
        fact.cause,
        f"task {kind}",
        about=key,
        source=f"task/{kind}",
        correlation=fact.correlation,
        cause=its_cause,
        more=more,
    )


def name_in_outcomes(fact: Fact) -> str:
    """How the outcome of a task names its cause: a long id by its hash."""
    if len(fact.id) <= CAUSE_CHARACTERS_MAX:
        return fact.id
    return blake2b(f"{fact.source}\0{fact.id}".encode(), digest_size=16).hexdigest()


def _attributes(said: Headers, value: bytes | None) -> Mapping[str, str]:
    """The headers as text; of a record in structured mode, what they would be."""
    texts = {name: _text(content) for name, content in said}
    if not texts.get("content-type", "").startswith(STRUCTURED):
        return texts
    try:
        head, _ = envelope.read(said, value)
    except Unreadable:
        return texts
    return {**texts, **{name: _text(content) for name, content in envelope.headers(head)}}


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")


def published_at(timestamp: int) -> datetime:
    """When the broker wrote it."""
    return datetime.fromtimestamp(timestamp / 1000, UTC)
