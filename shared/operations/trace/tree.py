"""A story by causation: what led to what. Roots are what has no cause, or one that is not part of the story."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shared.operations.trace.facts import Fact, name_in_outcomes, outcome_of

BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Line:
    """A fact, and what it led to, in the order of time."""

    fact: Fact
    led_to: list["Line"] = field(default_factory=list)

    @property
    def began(self) -> datetime:
        """Its own moment; of a task that ended, that of the first thing that came of it."""
        if self.fact.at is not None:
            return self.fact.at
        return min((each.began for each in self.led_to), default=BEFORE_ALL)


def tree_of(facts: Sequence[Fact]) -> list[Line]:
    """The roots, in the order of time."""
    lines = {fact.id: Line(fact) for fact in (*facts, *_outcomes(facts)) if fact.kind != "letter"}
    lines |= {f"letter/{fact.id}": Line(fact) for fact in facts if fact.kind == "letter"}
    parents = {name_in_outcomes(line.fact): line for line in lines.values()} | lines
    roots: list[Line] = []
    for line in lines.values():
        parent = parents.get(line.fact.cause)
        (roots if parent is None or parent is line else parent.led_to).append(line)
    for line in lines.values():
        line.led_to.sort(key=lambda each: each.began)
    return sorted(roots, key=lambda each: each.began)


def _outcomes(facts: Sequence[Fact]) -> list[Fact]:
    """The tasks that ended and led to some of the facts."""
    ended = {fact.cause: outcome for fact in facts if (outcome := outcome_of(fact.cause)) is not None}
    return list(ended.values())
