"""Money: exact to the unit, for every amount that there may be."""

from fractions import Fraction

import pycountry
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.schemas.money import (
    AMOUNT_MAX,
    Money,
    decimal_text,
    exponent,
    rate_of,
    rate_within,
    share_of,
    split,
)

amounts = st.integers(-AMOUNT_MAX, AMOUNT_MAX)
rates = st.integers(0, 10_000)
weights = st.lists(st.integers(0, 10**12), min_size=1, max_size=50).filter(any)


@given(amounts, st.integers(-(10**6), 10**6), st.integers(1, 10**6))
def test_a_share_is_rounded_half_to_even(amount: int, numerator: int, denominator: int) -> None:
    assert share_of(amount, numerator, denominator) == round(Fraction(amount * numerator, denominator))


@pytest.mark.parametrize(
    ("amount", "rate", "tax"),
    [(25, 1000, 2), (35, 1000, 4), (-25, 1000, -2), (26, 1000, 3), (10_000, 2000, 2000), (0, 2000, 0), (1, 10_000, 1)],
)
def test_tax_takes_half_a_unit_to_the_even_neighbour(amount: int, rate: int, tax: int) -> None:
    assert rate_of(amount, rate) == tax


@given(st.integers(0, AMOUNT_MAX), rates)
def test_the_tax_in_a_gross_amount_is_the_tax_on_its_net_within_a_unit(gross: int, rate: int) -> None:
    tax = rate_within(gross, rate)
    assert 0 <= tax <= gross
    assert abs(rate_of(gross - tax, rate) - tax) <= 1


def test_a_share_needs_a_positive_denominator() -> None:
    with pytest.raises(ValueError, match="positive denominator"):
        share_of(1, 1, 0)


@given(amounts, weights)
def test_a_split_sums_to_the_whole_and_each_part_is_within_a_unit_of_its_share(amount: int, parts: list[int]) -> None:
    found = split(amount, parts)
    assert sum(found) == amount
    for part, weight in zip(found, parts, strict=True):
        assert abs(part - Fraction(amount * weight, sum(parts))) < 1
        assert part * amount >= 0


@given(amounts, weights)
def test_a_split_gives_equal_weights_the_same_to_the_unit(amount: int, parts: list[int]) -> None:
    by_weight: dict[int, set[int]] = {}
    for part, weight in zip(split(amount, parts), parts, strict=True):
        by_weight.setdefault(weight, set()).add(part)
    assert all(max(found) - min(found) <= 1 for found in by_weight.values())


def test_the_first_of_equals_gets_the_odd_unit() -> None:
    assert split(100, [1, 1, 1]) == [34, 33, 33]
    assert split(-100, [1, 1, 1]) == [-34, -33, -33]
    assert split(5, [0, 1]) == [0, 5]


@pytest.mark.parametrize("wrong", [[], [0], [0, 0], [1, -1], [2, -1]])
def test_a_split_by_nothing_is_refused(wrong: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        split(10, wrong)


def test_exponents_are_those_of_iso_4217() -> None:
    assert [exponent(code) for code in ("EUR", "JPY", "KWD", "CLF", "RSD", "MGA", "BGN")] == [2, 0, 3, 4, 2, 2, 2]


def test_every_current_currency_with_a_minor_unit_is_known() -> None:
    uncountable = {*"XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX".split()}  # noqa: SIM905 - reads as a list
    for currency in pycountry.currencies:
        if currency.alpha_3 not in uncountable:
            assert Money(amount=1, currency=currency.alpha_3).currency == currency.alpha_3


@pytest.mark.parametrize("code", ["XXX", "XAU", "eur", "EURO", "EU", "ABC", "€", ""])
def test_an_unknown_currency_is_refused(code: str) -> None:
    with pytest.raises(ValidationError):
        Money(amount=1, currency=code)


@pytest.mark.parametrize("amount", [10**15 + 1, -(10**15) - 1, 10**30, 1.0, 1.5, "1", True, None, float("nan")])
def test_an_amount_beyond_its_bound_or_not_whole_is_refused(amount: object) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate({"amount": amount, "currency": "EUR"})


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123450, "EUR", "1234.50"),
        (-5, "EUR", "-0.05"),
        (0, "EUR", "0.00"),
        (-7, "JPY", "-7"),
        (1, "KWD", "0.001"),
        (10**15, "CLF", "100000000000.0000"),
    ],
)
def test_an_amount_is_written_in_major_units(amount: int, currency: str, text: str) -> None:
    assert decimal_text(amount, currency) == text
