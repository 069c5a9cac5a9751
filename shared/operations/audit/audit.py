"""All checks of all services, at one cut."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.operations.audit import billing, customer, messages, notify, payroll
from shared.operations.audit.checks import Check, Finding, findings
from shared.operations.audit.cut import cut_of
from shared.operations.audit.view import View
from shared.operations.installation import Installation

CHECKS: Mapping[str, Sequence[Check]] = {
    "billing": billing.CHECKS,
    "customer": customer.CHECKS,
    "notify": notify.CHECKS,
    "payroll": payroll.CHECKS,
}
"""What holds of each service's own; a service that is not here has messages, too."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found; of each service the moment of its snapshot, and how many messages belonged to that."""

    as_of: Mapping[str, datetime]
    heard: Mapping[str, int]
    said: Mapping[str, int]
    findings: Sequence[Finding]

    @property
    def broken(self) -> list[Finding]:
        return [each for each in self.findings if not each.holds]


def checks_of(service: str, *, at_rest: bool = False) -> list[Check]:
    """What is asked of a service; `at_rest`, also what holds only when there is nothing left to do."""
    own = (*messages.CHECKS, *CHECKS.get(service, ()))
    return [each for each in own if at_rest or not each.at_rest]


async def audit(
    installation: Installation,
    services: Sequence[str] = (),
    *,
    at_rest: bool = False,
    on_service: Callable[[str], None] = lambda _: None,
) -> Report:
    """Asks everything of the services, all of them by default, while they run. `on_service` hears of each that begins.

    Raises Failed where a database or a topic is not there.
    """
    async with cut_of(installation, services or installation.services) as views:

        async def asked(view: View) -> list[Finding]:
            on_service(view.service.name)
            return await findings(view, checks_of(view.service.name, at_rest=at_rest))

        found = await asyncio.gather(*(asked(view) for view in views))
        return Report(
            {view.service.name: view.as_of for view in views},
            {view.service.name: view.heard for view in views},
            {view.service.name: view.said for view in views},
            [each for some in found for each in some],
        )
