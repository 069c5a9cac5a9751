"""Wires notify together; decides nothing."""

from services.notify import api, consumers, effects
from services.notify.consumers import Notify
from services.notify.effects import NotifySettings
from services.notify.projections import projections
from shared.messaging import service as kit
from shared.messaging.service import Service


def service() -> Service[Notify, NotifySettings]:
    return Service(
        name="notify",
        consumes=(
            "customer.profiles",
            "hr.events",
            "billing.events",
            "payroll.events",
            "customer.events",
            "notify.commands",
        ),
        publishes=("notify.events",),
        handlers=consumers.handlers,
        load=consumers.load,
        save=consumers.save,
        routes=api.routes,
        settings=NotifySettings,
        task_kinds=effects.task_kinds,
        projections=projections,
    )


def main() -> None:
    kit.main(service())
