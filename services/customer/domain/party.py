"""The root: one row per Kafka key, whose lock guards everything that is kept about that customer or employee."""

from typing import Literal
from uuid import UUID

from shared.messaging.decision import Decision
from shared.schemas.immutable import immutable

PartyKind = Literal["unknown", "customer", "employee"]


@immutable(frozen=True, slots=True)
class Party:
    """Somebody whom messages are about.

    `unknown`: facts came before the registration, and wait for it. `customer`: registered here. `employee`: payroll
    has spoken of a payslip; care knows employees by id alone, and as those who may ask for help.
    """

    id: UUID
    kind: PartyKind

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.id


def joined(*decisions: Decision) -> Decision:
    """Several decisions on one message as one, in their order."""
    return Decision(
        tuple(change for decision in decisions for change in decision.changes),
        tuple(event for decision in decisions for event in decision.events),
        tuple(task for decision in decisions for task in decision.tasks),
    )
