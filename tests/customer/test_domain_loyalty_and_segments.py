"""Arithmetic: points are the sum of their history, and membership is what a full recomputation says."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.customer.domain.history import PaidTotal, paid_more
from services.customer.domain.loyalty import (
    BALANCE_MAX,
    LoyaltyAccount,
    LoyaltyEntry,
    LoyaltyRule,
    announce,
    earn,
    points_for,
)
from services.customer.domain.segments import (
    SEGMENTS,
    VIP,
    All,
    Any,
    Facts,
    HasPaid,
    HasPoints,
    IsActive,
    IsTagged,
    Membership,
    Not,
    Rule,
    Segment,
    fits,
    moves,
)
from shared.messaging.decision import NOTHING
from shared.schemas.base import Event
from shared.schemas.customer import LoyaltyPointsEarned, SegmentEntered
from shared.schemas.money import AMOUNT_MAX, exponent
from tests.customer import words

CUSTOMER = UUID(int=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
CURRENCIES = st.sampled_from(["EUR", "JPY", "KWD", "USD", "CHF"])
AMOUNTS = st.integers(1, 200_000) | st.integers(1, AMOUNT_MAX)
PAYMENTS = st.lists(st.tuples(AMOUNTS, CURRENCIES), max_size=30)


@given(AMOUNTS, CURRENCIES)
def test_points_are_the_full_major_units(amount: int, currency: str) -> None:
    unit = 10 ** exponent(currency)
    assert points_for(amount, currency) * unit <= amount < (points_for(amount, currency) + 1) * unit


@given(AMOUNTS, CURRENCIES, st.integers(1, 10), st.integers(1, 50))
def test_a_rule_gives_its_points_for_each_of_its_units(amount: int, currency: str, points: int, units: int) -> None:
    rule = LoyaltyRule(version=2, points=points, major_units=units)
    assert points_for(amount, currency, rule) == amount // (units * 10 ** exponent(currency)) * points


@given(PAYMENTS)
def test_the_balance_is_the_sum_of_its_history_and_versions_count_from_one(payments: list[tuple[int, str]]) -> None:
    account: LoyaltyAccount | None = None
    history: dict[UUID, LoyaltyEntry] = {}
    events: list[LoyaltyPointsEarned] = []
    for number, (amount, currency) in enumerate(payments):
        payment = words.payment(CUSTOMER, amount, currency, payment_id=UUID(int=number))
        for _ in range(2):
            known = history.get(payment.payment_id)
            decision = earn(account, known, payment, START + timedelta(hours=number), is_registered=True)
            for row in decision.changes:
                if isinstance(row, LoyaltyAccount):
                    account = row
                elif isinstance(row, LoyaltyEntry):
                    history[row.payment_id] = row
            events += [event for event in decision.events if isinstance(event, LoyaltyPointsEarned)]
    balance = account.points if account is not None else 0
    expected = 0
    for amount, currency in payments:
        expected = min(BALANCE_MAX, expected + points_for(amount, currency))
    assert balance == sum(entry.points for entry in history.values()) == expected
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    assert all(later.balance == before.balance + later.points for before, later in pairwise(events))


@given(PAYMENTS)
def test_points_that_waited_come_to_what_they_would_have_been_at_once(payments: list[tuple[int, str]]) -> None:
    told = [words.payment(CUSTOMER, amount, currency) for amount, currency in payments]
    at_once: LoyaltyAccount | None = None
    waiting: list[LoyaltyEntry] = []
    for hour, payment in enumerate(told):
        at = START + timedelta(hours=hour)
        for row in earn(at_once, None, payment, at, is_registered=True).changes:
            at_once = row if isinstance(row, LoyaltyAccount) else at_once
        later = earn(None, None, payment, at, is_registered=False)
        assert later.events == ()
        waiting += [row for row in later.changes if isinstance(row, LoyaltyEntry)]
    accounts = [row for row in announce(None, reversed(waiting)).changes if isinstance(row, LoyaltyAccount)]
    assert accounts == ([at_once] if at_once is not None else [])


def test_nobody_has_more_points_than_can_be_told() -> None:
    full = LoyaltyAccount(CUSTOMER, BALANCE_MAX - 3, 7)
    last = earn(full, None, words.payment(CUSTOMER, 1000), START, is_registered=True)
    assert [(event.points, event.balance) for event in last.events if isinstance(event, LoyaltyPointsEarned)] == [
        (3, BALANCE_MAX)
    ]
    over = LoyaltyAccount(CUSTOMER, BALANCE_MAX, 8)
    assert earn(over, None, words.payment(CUSTOMER, 1000), START, is_registered=True) is NOTHING


FACTS = st.builds(
    Facts,
    is_active=st.booleans(),
    tags=st.frozensets(st.sampled_from(["blocked", "loud"])),
    points=st.integers(0, 3000),
    paid=st.dictionaries(CURRENCIES, st.integers(0, 200_000)),
)
CONDITIONS: st.SearchStrategy[Rule] = st.one_of(
    st.builds(IsActive),
    st.builds(IsTagged, st.sampled_from(["blocked", "loud"])),
    st.builds(HasPoints, st.integers(0, 3000)),
    st.builds(HasPaid, st.integers(0, 200_000), CURRENCIES),
)
RULES = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Any, st.lists(inner, max_size=3).map(tuple)),
    ),
)


@given(RULES, FACTS)
def test_rules_are_logic(rule: Rule, facts: Facts) -> None:
    assert fits(Not(rule), facts) is not fits(rule, facts)
    assert fits(All((rule, Not(rule))), facts) is False
    assert fits(Any((rule, Not(rule))), facts) is True
    assert fits(Not(All((rule, IsActive()))), facts) is fits(Any((Not(rule), Not(IsActive()))), facts)


@given(st.lists(FACTS, max_size=12), RULES)
def test_membership_follows_the_rule_and_its_events_alternate(history: list[Facts], rule: Rule) -> None:
    segment = Segment("some", 4, rule)
    known: dict[str, Membership] = {}
    events: list[Event] = []
    for hour, facts in enumerate(history):
        decision = moves(CUSTOMER, facts, known, START + timedelta(hours=hour), [segment])
        known |= {row.segment: row for row in decision.changes if isinstance(row, Membership)}
        events += decision.events
        assert (known["some"].is_member if "some" in known else False) is fits(rule, facts)
    assert [isinstance(event, SegmentEntered) for event in events] == [turn % 2 == 0 for turn in range(len(events))]
    assert [event.version for event in events] == list(range(1, len(events) + 1))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 80_000), CURRENCIES),
        st.sampled_from(["block", "unblock"]),
    ),
    max_size=25,
)


@given(STEPS)
def test_membership_kept_step_by_step_equals_a_full_recomputation(steps: list[tuple[int, str] | str]) -> None:
    facts = Facts(is_active=True, tags=frozenset(), points=0, paid={})
    known: dict[str, Membership] = {}
    account: LoyaltyAccount | None = None
    totals: dict[str, PaidTotal] = {}
    for step in steps:
        if isinstance(step, tuple):
            payment = words.payment(CUSTOMER, *step)
            totals[payment.currency] = paid_more(totals.get(payment.currency), payment)
            decision = earn(account, None, payment, START, is_registered=True)
            account = next((row for row in decision.changes if isinstance(row, LoyaltyAccount)), account)
            facts = facts.after([totals[payment.currency], *decision.changes])
        else:
            tags = facts.tags | {"blocked"} if step == "block" else facts.tags - {"blocked"}
            facts = Facts(facts.is_active, tags, facts.points, facts.paid)
        decided = moves(CUSTOMER, facts, known, START)
        known |= {row.segment: row for row in decided.changes if isinstance(row, Membership)}
    assert ("vip" in known and known["vip"].is_member) is fits(VIP.rule, _recomputed(steps))


def _recomputed(steps: list[tuple[int, str] | str]) -> Facts:
    """From the whole history at once, without what was kept."""
    payments = [step for step in steps if isinstance(step, tuple)]
    blocks = [step for step in steps if isinstance(step, str)]
    return Facts(
        is_active=True,
        tags=frozenset({"blocked"} if blocks and blocks[-1] == "block" else ()),
        points=sum(points_for(amount, currency) for amount, currency in payments),
        paid={currency: sum(amount for amount, each in payments if each == currency) for _, currency in payments},
    )


def test_every_segment_has_its_own_code() -> None:
    assert len({segment.code for segment in SEGMENTS}) == len(SEGMENTS)
