"""A story by causation: what led to what. Roots are what has no cause, or none that is part of the story.

Where what lies between is not told, as of a task that only led to other tasks, a fact stands under the first cause of
all, whose id is the correlation id.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shared.operations.trace.facts import Fact, name_in_outcomes, outcome_behind

BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Line:
    """A fact, and what it led to, in order. `began` is its moment; of a task that ended, that of what came of it."""

    fact: Fact
    began: datetime
    led_to: list["Line"] = field(default_factory=list)


def tree_of(facts: Sequence[Fact]) -> list[Line]:
    """The roots, in the order of time."""
    lines = {fact.id: Line(fact, fact.at or BEFORE_ALL) for fact in facts if fact.kind != "letter"}
    lines |= _outcomes(facts)
    lines |= {f"letter/{fact.id}": Line(fact, fact.at or BEFORE_ALL) for fact in facts if fact.kind == "letter"}
    parents = {name_in_outcomes(line.fact): line for line in lines.values()} | lines
    roots: list[Line] = []
    for line in sorted(lines.values(), key=lambda each: each.began):
        parent = parents.get(line.fact.cause) or lines.get(line.fact.correlation)
        (roots if parent is None or parent is line else parent.led_to).append(line)
    return roots


def _outcomes(facts: Sequence[Fact]) -> dict[str, Line]:
    """The tasks that ended and led to some of the facts, by the ids under which they ended."""
    ended: dict[str, Line] = {}
    for fact in sorted(facts, key=lambda each: each.at or BEFORE_ALL):
        outcome = outcome_behind(fact)
        if outcome is not None:
            ended.setdefault(outcome.id, Line(outcome, fact.at or BEFORE_ALL))
    return ended
