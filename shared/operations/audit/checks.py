"""A promise, the SELECT that finds what breaks it, and what came of asking."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import asyncpg

from shared.operations.audit.view import View

NAMED_MAX = 20
"""So many of what offends are named; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Check:
    """What must hold, and a SELECT of one text column, `offending`: ids and places of what breaks it.

    It reads the service's own tables and the temporary ones (tables.sql). `at_rest`: holds only when there is nothing
    left to do.
    """

    name: str
    promise: str
    select: str
    at_rest: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise, and what breaks it: ids and places, as many as are named; `more` counts those that are not."""

    promise: str
    offending: Sequence[str]
    more: int = 0
    service: str = ""
    name: str = ""

    @property
    def holds(self) -> bool:
        return not self.offending


async def findings(view: View, checks: Iterable[Check]) -> list[Finding]:
    """What a view says to each check. One that cannot be made breaks its promise, and does not hold up the others."""
    return [await _asked(view, each) for each in checks]


async def _asked(view: View, check: Check) -> Finding:
    service = view.service.name
    try:
        async with view.connection.transaction():  # a savepoint: what fails leaves the snapshot as it was
            rows = await view.connection.fetch(
                f"""
                SELECT coalesce(offending, 'what has no id') AS offending, count(*) OVER () AS found
                FROM ({check.select}) AS broken (offending) LIMIT $1
                """,  # noqa: S608 - the literal of a check
                NAMED_MAX,
            )
    except asyncpg.PostgresError as error:
        return Finding(check.promise, [f"it cannot be checked: {type(error).__name__}"], 0, service, check.name)
    named = sorted(row["offending"] for row in rows)
    return Finding(check.promise, named, (rows[0]["found"] - len(rows)) if rows else 0, service, check.name)
