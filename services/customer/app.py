"""Wiring; decides nothing."""

from services.customer import api, consumers, effects
from services.customer.consumers import Care
from services.customer.projections import projections
from shared.messaging import service as shell
from shared.messaging.service import Service
from shared.messaging.settings import ServiceSettings


def service() -> Service[Care, ServiceSettings]:
    return Service(
        name="customer",
        consumes=("customer.commands", "sales.events", "billing.events", "notify.events", "payroll.events"),
        publishes=("customer.events", "customer.profiles"),
        handlers=consumers.handlers,
        load=consumers.load,
        save=consumers.save,
        routes=api.routes,
        settings=ServiceSettings,
        task_kinds=effects.task_kinds,
        projections=projections,
    )


def main() -> None:
    shell.main(service())
