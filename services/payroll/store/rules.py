"""Rules and legal entities in PostgreSQL: data that operators keep."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import TypeAlias
from zoneinfo import ZoneInfo

from services.payroll.domain.rules import Bracket, Contribution, Rules
from services.payroll.domain.run import LegalEntity
from shared.messaging.database import Tx

Place: TypeAlias = tuple[date, str, str]
"""Month (its first day), currency, country."""


async def legal_entities(tx: Tx) -> dict[str, LegalEntity]:
    """By code."""
    rows = await tx.fetch("SELECT code, zone FROM legal_entity")
    return {row["code"]: LegalEntity(row["code"], ZoneInfo(row["zone"])) for row in rows}


async def rules_of(tx: Tx, months: Sequence[date], currencies: Sequence[str]) -> dict[Place, Rules]:
    """The rules of every country that has some for a currency in a month. The two sequences are pairs."""
    brackets = await _brackets(tx, months, currencies)
    contributions = await _contributions(tx, months, currencies)
    minutes = await _working_times(tx, months)
    return {
        place: Rules(brackets[place], contributions.get(place, ()), minutes[place[0], place[2]])
        for place in brackets
        if (place[0], place[2]) in minutes
    }


async def _brackets(tx: Tx, months: Sequence[date], currencies: Sequence[str]) -> dict[Place, list[Bracket]]:
    rows = await tx.fetch(
        """
        SELECT w.month, r.currency, r.country, r.floor, r.basis_points
        FROM unnest($1::date[], $2::text[]) AS w (month, currency)
        JOIN tax_bracket AS r ON r.currency = w.currency AND r.valid_from = (
            SELECT max(n.valid_from) FROM tax_bracket AS n
            WHERE n.country = r.country AND n.currency = r.currency AND n.valid_from <= w.month
        )
        ORDER BY r.floor
        """,
        months,
        currencies,
    )
    found: defaultdict[Place, list[Bracket]] = defaultdict(list)
    for row in rows:
        found[row["month"], row["currency"], row["country"]].append(Bracket(row["floor"], row["basis_points"]))
    return found


async def _contributions(tx: Tx, months: Sequence[date], currencies: Sequence[str]) -> dict[Place, list[Contribution]]:
    rows = await tx.fetch(
        """
        SELECT w.month, r.currency, r.country, r.code, r.basis_points, r.ceiling
        FROM unnest($1::date[], $2::text[]) AS w (month, currency)
        JOIN social_contribution AS r ON r.currency = w.currency AND r.valid_from = (
            SELECT max(n.valid_from) FROM social_contribution AS n
            WHERE n.country = r.country AND n.currency = r.currency AND n.valid_from <= w.month
        )
        ORDER BY r.code
        """,
        months,
        currencies,
    )
    found: defaultdict[Place, list[Contribution]] = defaultdict(list)
    for row in rows:
        place = row["month"], row["currency"], row["country"]
        found[place].append(Contribution(row["code"], row["basis_points"], row["ceiling"]))
    return found


async def _working_times(tx: Tx, months: Sequence[date]) -> dict[tuple[date, str], int]:
    rows = await tx.fetch(
        """
        SELECT DISTINCT ON (w.month, r.country) w.month, r.country, r.minutes_per_month
        FROM unnest($1::date[]) AS w (month)
        JOIN working_time AS r ON r.valid_from <= w.month
        ORDER BY w.month, r.country, r.valid_from DESC
        """,
        months,
    )
    return {(row["month"], row["country"]): row["minutes_per_month"] for row in rows}
