"""Loyalty: points from payments, by a rule that is data. The history is the truth, the balance its sum."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.messaging.decision import NOTHING, Decision
from shared.schemas.billing import PaymentReceived
from shared.schemas.customer import LoyaltyCause, LoyaltyPointsEarned
from shared.schemas.immutable import immutable
from shared.schemas.money import exponent

BALANCE_MAX = 10**15
"""More points than that nobody collects (LoyaltyPointsEarned)."""


@immutable(frozen=True, slots=True)
class LoyaltyRule:
    """`points` for each full `major_units` of a payment, whatever its currency."""

    version: int
    points: int
    major_units: int


RULE: Final = LoyaltyRule(version=1, points=1, major_units=1)


@immutable(frozen=True, slots=True)
class LoyaltyEntry:
    """Points that one payment earned. Never changed, but for this: without a version they wait for a registration.

    `version` is that of the event which told of them; it counts the events of loyalty/{customer_id}.
    """

    payment_id: UUID
    customer_id: UUID
    points: int
    rule_version: int
    earned_at: datetime
    version: int | None

    @property
    def key(self) -> UUID:
        return self.payment_id

    @property
    def root(self) -> UUID:
        return self.customer_id


@immutable(frozen=True, slots=True)
class LoyaltyAccount:
    """A customer's balance: the sum of the entries that have a version, and how many those are."""

    customer_id: UUID
    points: int
    version: int

    @property
    def key(self) -> UUID:
        return self.customer_id

    @property
    def root(self) -> UUID:
        return self.customer_id


def points_for(amount: int, currency: str, rule: LoyaltyRule = RULE) -> int:
    """Points for an amount in minor units: only full units count, by the currency's own exponent."""
    unit: int = 10 ** exponent(currency)
    return amount // (rule.major_units * unit) * rule.points


def earn(
    account: LoyaltyAccount | None,
    known: LoyaltyEntry | None,
    payment: PaymentReceived,
    at: datetime,
    *,
    is_registered: bool,
) -> Decision:
    """What a payment earns: once, whatever is published twice, and nothing for less than a full unit."""
    points = points_for(payment.amount, payment.currency)
    if known is not None or points == 0:
        return NOTHING
    entry = LoyaltyEntry(payment.payment_id, payment.customer_id, points, RULE.version, at, version=None)
    return announce(account, [entry]) if is_registered else Decision((entry,))


def announce(account: LoyaltyAccount | None, waiting: Iterable[LoyaltyEntry]) -> Decision:
    """Entries that have not been told of yet join the balance, in the order in which they were earned."""
    entries: list[LoyaltyEntry] = []
    events: list[LoyaltyPointsEarned] = []
    for entry in sorted(waiting, key=lambda each: (each.earned_at, each.payment_id)):
        before = account or LoyaltyAccount(entry.customer_id, 0, 0)
        points = min(entry.points, BALANCE_MAX - before.points)
        if points == 0:
            continue
        account = LoyaltyAccount(entry.customer_id, before.points + points, before.version + 1)
        entries.append(
            LoyaltyEntry(
                entry.payment_id, entry.customer_id, points, entry.rule_version, entry.earned_at, account.version
            )
        )
        events.append(_earned(entries[-1], account))
    return Decision((*entries, account), events) if account is not None and entries else NOTHING


def _earned(entry: LoyaltyEntry, account: LoyaltyAccount) -> LoyaltyPointsEarned:
    return LoyaltyPointsEarned(
        version=account.version,
        customer_id=entry.customer_id,
        points=entry.points,
        balance=account.points,
        cause=LoyaltyCause(kind="payment", id=str(entry.payment_id)),
    )
