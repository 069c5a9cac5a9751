"""Every check over the evidence, and what came of each."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from deploy.local.demo import (
    checks_billing,
    checks_messages,
    checks_notify,
    checks_payroll,
    checks_privacy,
    checks_projections,
)
from deploy.local.demo.evidence import CHECKS, Check, Evidence

MODULES = (checks_messages, checks_billing, checks_payroll, checks_notify, checks_projections, checks_privacy)


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise, and what breaks it: ids and places."""

    promise: str
    offending: list[str]

    @property
    def holds(self) -> bool:
        return not self.offending


async def proof(evidence: Evidence, on_each: Callable[[str], None] = lambda _: None) -> list[Finding]:
    """All findings, in order. `on_each` hears of each promise before it is checked."""
    found: list[Finding] = []
    for each in sorted(CHECKS, key=_place):
        on_each(each.promise)
        found.append(Finding(each.promise, await _offending(each, evidence)))
    return found


def _place(one: Check) -> int:
    return [module.__name__ for module in MODULES].index(one.find.__module__)


async def _offending(each: Check, evidence: Evidence) -> list[str]:
    """What a check finds. One that cannot be made breaks its promise, and does not hold up the others."""
    try:
        return await each.find(evidence)
    except (LookupError, ValueError, TypeError, asyncpg.PostgresError) as error:
        trace = traceback.extract_tb(error.__traceback__)[-1]
        return [f"it cannot be checked: {type(error).__name__} in {trace.name}, line {trace.lineno}: {error}"]
