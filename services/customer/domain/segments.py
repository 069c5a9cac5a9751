"""Segments: rules as data over what is known of a customer, and the events of entering and leaving.

A rule is a tree of conditions. Membership is decided anew with every message that changes what a rule may ask for:
status, tags, points, payments. After a rule has changed (its version says so) each customer is decided by the new one
with the next such message.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from services.customer.domain.customer import Customer, Tag
from services.customer.domain.history import PaidTotal
from services.customer.domain.loyalty import LoyaltyAccount
from shared.messaging.decision import Decision, Entity
from shared.schemas.customer import SegmentEntered, SegmentExited
from shared.schemas.immutable import immutable


@immutable(frozen=True, slots=True)
class IsActive:
    """The customer was not deactivated."""


@immutable(frozen=True, slots=True)
class IsTagged:
    tag: str


@immutable(frozen=True, slots=True)
class HasPoints:
    """At least so many loyalty points."""

    points: int


@immutable(frozen=True, slots=True)
class HasPaid:
    """At least so much in one currency, in its minor units. Currencies are never added."""

    amount: int
    currency: str


@immutable(frozen=True, slots=True)
class Not:
    rule: "Rule"


@immutable(frozen=True, slots=True)
class All:
    rules: "tuple[Rule, ...]"


@immutable(frozen=True, slots=True)
class Any:
    rules: "tuple[Rule, ...]"


Rule: TypeAlias = IsActive | IsTagged | HasPoints | HasPaid | Not | All | Any


@immutable(frozen=True, slots=True)
class Segment:
    code: str
    version: int
    """Counts the changes of the rule."""
    rule: Rule


VIP: Final = Segment(
    code="vip",
    version=1,
    rule=All(
        (
            IsActive(),
            Not(IsTagged("blocked")),
            Any((HasPaid(100_000, "EUR"), HasPaid(100_000, "USD"), HasPaid(100_000, "CHF"), HasPoints(1_500))),
        )
    ),
)
SEGMENTS: Final = (VIP,)


@immutable(frozen=True, slots=True)
class Facts:
    """What a rule may ask of a customer."""

    is_active: bool
    tags: frozenset[str]
    points: int
    paid: Mapping[str, int]
    """Minor units by currency."""

    def after(self, changes: Iterable[Entity]) -> "Facts":
        """The facts once a decision's changes hold."""
        facts = self
        for row in changes:
            match row:
                case Customer():
                    facts = replace(facts, is_active=row.status == "active")
                case Tag(untagged_at=None):
                    facts = replace(facts, tags=facts.tags | {row.tag})
                case Tag():
                    facts = replace(facts, tags=facts.tags - {row.tag})
                case LoyaltyAccount():
                    facts = replace(facts, points=row.points)
                case PaidTotal():
                    facts = replace(facts, paid={**facts.paid, row.currency: row.amount})
                case _:
                    pass
        return facts


@immutable(frozen=True, slots=True)
class Membership:
    """Whether a customer is in a segment. `version` counts the events of segment/{customer_id}/{segment}."""

    customer_id: UUID
    segment: str
    is_member: bool
    rule_version: int
    version: int
    changed_at: datetime

    @property
    def key(self) -> tuple[UUID, str]:
        return self.customer_id, self.segment

    @property
    def root(self) -> UUID:
        return self.customer_id


def fits(rule: Rule, facts: Facts) -> bool:  # noqa: PLR0911 - one return per kind of condition
    """Whether a customer of whom these facts are known fits a rule."""
    match rule:
        case IsActive():
            return facts.is_active
        case IsTagged(tag):
            return tag in facts.tags
        case HasPoints(points):
            return facts.points >= points
        case HasPaid(amount, currency):
            return facts.paid.get(currency, 0) >= amount
        case Not(inner):
            return not fits(inner, facts)
        case All(rules):
            return all(fits(each, facts) for each in rules)
        case Any(rules):
            return any(fits(each, facts) for each in rules)


def moves(
    customer_id: UUID,
    facts: Facts,
    known: Mapping[str, Membership],
    now: datetime,
    segments: Iterable[Segment] = SEGMENTS,
) -> Decision:
    """Who enters or leaves which segment, given what holds now and what held before."""
    rows: list[Membership] = []
    events: list[SegmentEntered | SegmentExited] = []
    for segment in segments:
        before = known.get(segment.code)
        is_member = fits(segment.rule, facts)
        if is_member == (before is not None and before.is_member):
            continue
        row = Membership(
            customer_id,
            segment.code,
            is_member,
            segment.version,
            before.version + 1 if before is not None else 1,
            now,
        )
        rows.append(row)
        event = SegmentEntered if is_member else SegmentExited
        events.append(
            event(version=row.version, customer_id=customer_id, segment=segment.code, rule_version=segment.version)
        )
    return Decision(rows, events)
