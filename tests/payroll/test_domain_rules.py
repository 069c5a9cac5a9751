"""Brackets and contributions: progressive, monotone, without a jump, and exact to the unit."""

from hypothesis import given
from hypothesis import strategies as st

from services.payroll.domain.rules import Bracket, Contribution, Rules, contribution, income_tax
from shared.schemas.money import AMOUNT_MAX
from tests.payroll.files import BRACKETS, INSURED, RULES

amounts = st.integers(0, AMOUNT_MAX)


@st.composite
def tables(draw: st.DrawFn) -> list[Bracket]:
    """A progressive table: each bracket takes at least what the one below it takes."""
    floors = sorted(draw(st.sets(st.integers(1, 10**9), max_size=6)))
    rates = sorted(draw(st.lists(st.integers(0, 10_000), min_size=len(floors) + 1, max_size=len(floors) + 1)))
    return [Bracket(floor, rate) for floor, rate in zip([0, *floors], rates, strict=True)]


def test_the_tax_on_200_is_exactly_30() -> None:
    assert income_tax(200_00, BRACKETS) == 30_00
    assert income_tax(100_00, BRACKETS) == 10_00
    assert income_tax(300_00, BRACKETS) == 60_00
    assert income_tax(0, BRACKETS) == 0


def test_each_bracket_takes_of_its_own_part_only() -> None:
    assert [income_tax(gross, BRACKETS) for gross in (99_99, 100_00, 100_10, 200_10)] == [10_00, 10_00, 10_02, 30_03]


def test_half_a_unit_goes_to_the_even_neighbour() -> None:
    assert [income_tax(gross, [Bracket(0, 5000)]) for gross in (1, 3, 5)] == [0, 2, 2]


@given(tables(), amounts, st.integers(0, 10**6))
def test_more_gross_never_means_less_tax_nor_less_left(table: list[Bracket], gross: int, more: int) -> None:
    before, after = income_tax(gross, table), income_tax(gross + more, table)
    assert before <= after <= before + more + 1


@given(tables(), amounts)
def test_one_more_unit_never_makes_the_tax_jump(table: list[Bracket], gross: int) -> None:
    assert 0 <= income_tax(gross + 1, table) - income_tax(gross, table) <= 1


@given(tables(), amounts)
def test_the_tax_lies_between_nothing_and_the_highest_rate(table: list[Bracket], gross: int) -> None:
    tax = income_tax(gross, table)
    assert 0 <= tax <= gross
    assert abs(tax * 10_000) <= gross * table[-1].basis_points + 5_000


@given(tables(), amounts)
def test_the_order_of_the_rows_does_not_matter(table: list[Bracket], gross: int) -> None:
    assert income_tax(gross, reversed(table)) == income_tax(gross, table)


def test_a_contribution_ends_at_its_ceiling() -> None:
    capped = Contribution("pension-insurance", 1025, 6_450_00)
    assert contribution(6_450_00, capped) == contribution(9_000_00, capped) == 661_12
    assert contribution(9_000_00, Contribution("health", 1000, None)) == 900_00


def test_what_is_withheld_names_each_part_and_leaves_out_what_is_nothing() -> None:
    assert INSURED.withheld(200_00) == [("pension-insurance", 20_50), ("health", 7_74), ("income-tax", 30_00)]
    assert RULES.withheld(0) == []


def test_overtime_is_worth_its_share_of_a_month() -> None:
    hour_at_150 = Rules(BRACKETS, (), 160 * 60).overtime_pay(3_200_00, 60, 15_000)
    assert hour_at_150 == 30_00
    assert Rules(BRACKETS, (), 160 * 60).overtime_pay(3_200_00, 60, 13_750) == 27_50


@given(st.integers(1, AMOUNT_MAX), st.integers(1, 1440), st.integers(10_000, 40_000))
def test_overtime_is_rounded_once(monthly: int, minutes: int, rate: int) -> None:
    exact_numerator, denominator = monthly * minutes * rate, RULES.minutes_per_month * 10_000
    assert abs(RULES.overtime_pay(monthly, minutes, rate) * denominator - exact_numerator) * 2 <= denominator
