"""A batch of any size is a constant number of statements."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from deploy.local.databases import Database
from services.payroll.consumers import handlers
from services.payroll.domain.payslip import Paid
from services.payroll.domain.work import (
    CALCULATE_PAYSLIPS,
    GENERATE_REPORT,
    PAY_PAYSLIPS,
    PAY_SALARY,
    MakeReport,
    PaySalary,
    Turn,
)
from services.payroll.working_set import Payroll, load, save
from shared.messaging.decision import Decision, Due, Ids, Message, Outcome, Task
from shared.schemas.base import Payload
from shared.schemas.hr import AbsenceRecorded, AdvanceGranted, EmployeeChanged, OvertimeRecorded
from shared.schemas.payroll import ApprovePayrollRun, StartPayrollRun
from tests.payroll.company import hired

NOW = datetime(2026, 2, 1, tzinfo=UTC)
RUN = UUID(int=1)


class Counted:
    """Runs batches as the kit does, and counts the statements of each."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self.connection = connection
        self.statements: list[int] = []
        self._count = 0
        connection.add_query_logger(self._query)

    def _query(self, query: Any) -> None:
        """The driver's own questions about types, once per connection, are no statements of a batch."""
        text = query.query.strip()
        self._count += not any(mark in text for mark in ("BEGIN;", "COMMIT;", "'jit'", "typeinfo_tree"))

    async def batch(self, *messages: Message[Any]) -> list[Decision]:
        self._count = 0
        async with self.connection.transaction():
            state = await load(self.connection, messages)
            decisions = [decided(state, message) for message in messages]
            await save(self.connection, state)
        self.statements.append(self._count)
        return decisions


def decided(state: Payroll, message: Message[Any]) -> Decision:
    """As the kit applies a decision."""
    chain = (
        handlers.of_outcome(message.payload.kind)
        if isinstance(message.payload, Outcome)
        else handlers.of_type(message.type)
    )
    (decide,) = chain
    decision = decide(state, message, NOW, Ids("payroll", message.source, message.id, NOW))
    for row in decision.changes:
        state.put(row)
    state.keep()
    return decision


def said(payload: Payload, number: int = 0) -> Message[Any]:
    return _message(payload, payload.ce_type, f"{payload.ce_type}/{payload.kafka_key}/{number}", payload.kafka_key)


def due(kind: str, task: Turn | MakeReport | PaySalary, key: str, root: UUID, result: object) -> Message[Any]:
    return _message(Outcome(kind, key, 1, task, result), f"task/{kind}", f"{kind}/{key}", str(root))


def _message(payload: Any, type_: str, id_: str, key: str) -> Message[Any]:
    return Message(payload, id_, "tests", type_, NOW, key, "tests", 0, 0, id_, None)


async def whole_run(url: str, employees: int) -> list[int]:
    """The statements of each batch: facts, start, calculation, approval, payment, outcomes, report."""
    connection = await asyncpg.connect(url)
    try:
        counted = Counted(connection)
        await counted.batch(*(said(fact) for fact in facts([UUID(int=1000 + n) for n in range(employees)])))
        await counted.batch(said(StartPayrollRun(run_id=RUN, period="2026-01", currency="EUR", issued_by="anna")))
        await counted.batch(due(CALCULATE_PAYSLIPS, Turn(run_id=RUN), "1", RUN, Due()))
        await counted.batch(said(ApprovePayrollRun(run_id=RUN, issued_by="berta")))
        (begun,) = await counted.batch(due(PAY_PAYSLIPS, Turn(run_id=RUN), "2", RUN, Due()))
        outcomes = [
            due(PAY_SALARY, task.payload, task.key, UUID(task.root), Paid("pay_1"))
            for task in begun.tasks
            if isinstance(task, Task) and isinstance(task.payload, PaySalary)
        ]
        assert len(outcomes) == employees
        *_, last = await counted.batch(*outcomes)
        (report,) = [task for task in last.tasks if isinstance(task, Task)]
        assert isinstance(report.payload, MakeReport)
        await counted.batch(due(GENERATE_REPORT, report.payload, "3", RUN, Due()))
        assert await connection.fetchval("SELECT rows FROM report") == employees
    finally:
        await connection.close()
    return counted.statements


def facts(staff: Sequence[UUID]) -> list[Payload]:
    return [
        fact
        for who in staff
        for fact in (
            hired(who, department=f"dept-{who.int % 7}"),
            EmployeeChanged(employee_id=who, country="DE", version=2),
            AbsenceRecorded(
                employee_id=who,
                absence_id=who,
                starts_on=date(2026, 1, 3),
                ends_on=date(2026, 1, 4),
                kind="unpaid",
                version=3,
            ),
            OvertimeRecorded(
                employee_id=who,
                overtime_id=who,
                worked_on=date(2026, 1, 5),
                minutes=60,
                rate_basis_points=15_000,
                version=4,
            ),
            AdvanceGranted(employee_id=who, advance_id=who, amount=1_00, granted_on=date(2026, 1, 6), version=5),
        )
    ]


async def test_200_employees_need_as_many_statements_as_one(
    database: Callable[[str], Awaitable[Database]],
) -> None:
    one = await whole_run((await database("payroll")).url, 1)
    many = await whole_run((await database("payroll")).url, 200)
    assert many == one == [7, 3, 18, 6, 6, 6, 9]
