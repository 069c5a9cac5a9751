"""What is withheld, and what an hour is worth: data by country, currency and date, and the arithmetic on them."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from shared.schemas.immutable import immutable
from shared.schemas.money import BASIS_POINTS, rate_of, share_of

INCOME_TAX = "income-tax"


@immutable(frozen=True, slots=True)
class Bracket:
    """From `floor` minor units a month on, up to the next bracket, this is taken of each unit (basis points)."""

    floor: int
    basis_points: int


@immutable(frozen=True, slots=True)
class Contribution:
    """A social contribution of the employee: a rate of the gross, up to a ceiling (minor units a month)."""

    code: str
    basis_points: int
    ceiling: int | None


@immutable(frozen=True, slots=True)
class Rules:
    """What holds in a country for salaries of a currency in a month. Brackets are ordered, the first from 0."""

    brackets: Sequence[Bracket]
    contributions: Sequence[Contribution]
    minutes_per_month: int
    """A month's normal working time: what the monthly salary pays for."""

    def withheld(self, gross: int) -> list[tuple[str, int]]:
        """The social contributions and the tax on a gross amount, those that are not 0, by code."""
        contributions = [(each.code, contribution(gross, each)) for each in self.contributions]
        return [(code, amount) for code, amount in (*contributions, (INCOME_TAX, self.income_tax(gross))) if amount]

    def income_tax(self, gross: int) -> int:
        return income_tax(gross, self.brackets)

    def overtime_pay(self, monthly: int, minutes: int, rate_basis_points: int) -> int:
        """What overtime is worth: minutes x salary per minute x rate, rounded half-even once, at the end."""
        return share_of(monthly * minutes, rate_basis_points, self.minutes_per_month * BASIS_POINTS)


def income_tax(gross: int, brackets: Iterable[Bracket]) -> int:
    """The progressive tax: each bracket's rate on the part that lies in it, summed exactly and rounded half-even once.

    With 10 % up to 100.00 and 20 % from there, the tax on 200.00 is 30.00.
    """
    ordered = sorted(brackets, key=lambda bracket: bracket.floor)
    parts = [
        (min(gross, upper.floor) - lower.floor) * lower.basis_points
        for lower, upper in pairwise(ordered)
        if gross > lower.floor
    ]
    if ordered and gross > ordered[-1].floor:
        parts.append((gross - ordered[-1].floor) * ordered[-1].basis_points)
    return share_of(sum(parts), 1, BASIS_POINTS)


def contribution(gross: int, rate: Contribution) -> int:
    """A social contribution, rounded half-even."""
    base = gross if rate.ceiling is None else min(gross, rate.ceiling)
    return rate_of(base, rate.basis_points)
