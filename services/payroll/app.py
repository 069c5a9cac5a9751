"""Wires payroll together; decides nothing."""

from services.payroll import api, consumers, effects, working_set
from services.payroll.effects import PayrollSettings
from services.payroll.projections import projections
from services.payroll.working_set import Payroll
from shared.messaging import service as kit
from shared.messaging.service import Service


def service() -> Service[Payroll, PayrollSettings]:
    return Service(
        name="payroll",
        consumes=("hr.events", "payroll.commands"),
        publishes=("payroll.events",),
        handlers=consumers.handlers,
        load=working_set.load,
        save=working_set.save,
        task_kinds=effects.task_kinds,
        routes=api.routes,
        settings=PayrollSettings,
        projections=projections,
    )


def main() -> None:
    kit.main(service())
