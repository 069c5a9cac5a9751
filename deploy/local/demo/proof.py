"""Every promise, and whether it holds: what `kello audit` finds at rest, and what the world outside has to say."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from deploy.local.demo import checks_letters, checks_outside
from deploy.local.demo.evidence import CHECKS, Check, gather
from deploy.local.demo.people import Person
from deploy.local.demo.producer import Sent
from deploy.local.demo.world import Watch
from shared.operations.audit.audit import audit
from shared.operations.audit.checks import Finding

MODULES = (checks_outside, checks_letters)


async def proof(
    watch: Watch, sent: Sent, people: Sequence[Person], on_each: Callable[[str], None] = lambda _: None
) -> list[Finding]:
    """All findings, in order. `on_each` hears of what is asked next."""
    report = await audit(watch.world.installation, at_rest=True, on_service=on_each)
    evidence = await gather(watch, sent, people)
    outside: list[Finding] = []
    for each in sorted(CHECKS, key=_place):
        on_each(each.promise)
        outside.append(Finding(each.promise, await each.find(evidence)))
    return _by_promise([*report.findings, *outside])


def _by_promise(findings: Sequence[Finding]) -> list[Finding]:
    """What is promised of several services is one promise; what breaks it names the service."""
    merged: dict[str, Finding] = {}
    for each in findings:
        named = [f"{each.service} {one}" if each.service else one for one in each.offending]
        known = merged.get(each.promise, Finding(each.promise, []))
        merged[each.promise] = replace(known, offending=[*known.offending, *named], more=known.more + each.more)
    return list(merged.values())


def _place(one: Check) -> int:
    return [module.__name__ for module in MODULES].index(one.find.__module__)
