"""Wires billing together; decides nothing."""

from services.billing import api, consumers, effects
from services.billing.consumers import Billing
from services.billing.effects import BillingSettings
from services.billing.projections import projections
from shared.messaging import service as kit
from shared.messaging.service import Service


def service() -> Service[Billing, BillingSettings]:
    return Service(
        name="billing",
        consumes=("sales.events", "billing.commands", "customer.profiles"),
        publishes=("billing.events",),
        handlers=consumers.handlers,
        load=consumers.load,
        save=consumers.save,
        task_kinds=effects.task_kinds,
        routes=api.routes,
        settings=BillingSettings,
        projections=projections,
    )


def main() -> None:
    kit.main(service())
