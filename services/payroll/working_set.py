"""What a batch of payroll has loaded, in payroll's words; how it is loaded, and how it is saved."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from services.payroll.domain.ledger import Cost, Entry
from services.payroll.domain.month import Month
from services.payroll.domain.payslip import Component, Payslip
from services.payroll.domain.report import Register, Report
from services.payroll.domain.rules import Rules
from services.payroll.domain.run import LegalEntity, Run, Skipped
from services.payroll.domain.staff import (
    Absence,
    Advance,
    Employee,
    Employment,
    Overtime,
    PersonnelFile,
    Salary,
    unknown_employee,
)
from services.payroll.domain.work import CALCULATE_PAYSLIPS, PAY_PAYSLIPS, MakeReport, PaySalary, Turn
from services.payroll.store import books, runs, staff
from services.payroll.store import rules as rule_store
from shared.messaging.database import Tx
from shared.messaging.decision import Message, Outcome, Refused
from shared.messaging.working_set import WorkingSet
from shared.schemas.hr import EmployeeEvent
from shared.schemas.payroll import ApprovePayrollRun, RetryPayslip, StartPayrollRun

TURN_EMPLOYEES_MAX = 500
"""So many employees have their turn in one transaction, over all runs."""


@dataclass(frozen=True, slots=True)
class Members:
    """Whose turn it is, in order."""

    employees: Sequence[UUID]
    is_last: bool


class Payroll(WorkingSet):
    """The staff, runs and payslips that a batch is about."""

    def __init__(self) -> None:
        super().__init__()
        self.legal_entities: dict[str, LegalEntity] = {}
        self.turns: dict[tuple[str, UUID], Members] = {}
        self.rules: dict[tuple[date, str, str], Rules] = {}
        self.all_costs: list[Cost] = []
        self.registers: dict[UUID, Register] = {}
        self.booked: dict[UUID, dict[str, int]] = {}

    def employee(self, employee_id: UUID) -> Employee:
        """The employee, or a new one of whom nothing is known yet."""
        return self.find(Employee, employee_id) or unknown_employee(employee_id)

    def payment_token(self, employee_id: UUID) -> str:
        """Where the salary goes, as HR says now. Whoever has a payslip was hired, and has one."""
        token = self.employee(employee_id).payment_token
        if token is None:
            raise Refused("no_payment_token", "HR has not told where this salary goes: hire the employee first")
        return token.value

    def personnel_file(self, employee_id: UUID) -> PersonnelFile:
        return PersonnelFile(
            self.employee(employee_id),
            list(self.under(Employment, employee_id)),
            list(self.under(Salary, employee_id)),
            list(self.under(Absence, employee_id)),
            list(self.under(Overtime, employee_id)),
            list(self.under(Advance, employee_id)),
        )

    def run(self, run_id: UUID) -> Run | None:
        return self.find(Run, run_id)

    def turn(self, kind: str, run_id: UUID) -> Members:
        return self.turns[kind, run_id]

    def rules_for(self, run: Run, employee: Employee) -> Rules | None:
        """None where nothing is known of the employee's country."""
        if employee.country is None:
            return None
        return self.rules.get((run.month.first, run.currency, employee.country.value))

    def payslip(self, payslip_id: UUID) -> Payslip | None:
        return self.find(Payslip, payslip_id)

    def payslip_of_month(self, employee_id: UUID, month: Month) -> Payslip | None:
        """The regular one: there is at most one, whatever the runs."""
        return next((each for each in self.under(Payslip, employee_id) if each.month == month), None)

    def costs(self, run_id: UUID) -> list[Cost]:
        return [cost for cost in self.all_costs if cost.run_id == run_id]

    def register(self, run_id: UUID) -> Register:
        return self.registers[run_id]

    def booked_payments(self, run_id: UUID) -> dict[str, int]:
        """Minor units that the books show as paid, by department."""
        return self.booked.get(run_id, {})


@dataclass(slots=True)
class _Wanted:
    """What the messages of a batch need."""

    employees: set[UUID] = field(default_factory=set)
    runs: set[UUID] = field(default_factory=set)
    payslips: set[UUID] = field(default_factory=set)
    turns: dict[str, list[Turn]] = field(default_factory=lambda: {CALCULATE_PAYSLIPS: [], PAY_PAYSLIPS: []})
    costs: set[UUID] = field(default_factory=set)
    registers: set[UUID] = field(default_factory=set)

    def add(self, payload: Any) -> None:
        match payload:
            case EmployeeEvent():
                self.employees.add(payload.employee_id)
            case StartPayrollRun():
                self.runs.add(payload.run_id)
            case ApprovePayrollRun():
                self.runs.add(payload.run_id)
                self.costs.add(payload.run_id)
            case RetryPayslip():
                self.employees.add(payload.employee_id)
                self.runs.add(payload.run_id)
                self.payslips.add(payload.payslip_id)
            case Outcome():
                self._add_outcome(payload)

    def _add_outcome(self, outcome: Outcome[Any, Any]) -> None:
        self.runs.add(outcome.task.run_id)
        match outcome.task:
            case Turn():
                self.turns[outcome.kind].append(outcome.task)
            case MakeReport():
                self.registers.add(outcome.task.run_id)
            case PaySalary():
                self.payslips.add(outcome.task.payslip_id)


async def load(tx: Tx, messages: Sequence[Message[Any]]) -> Payroll:
    """Locks the employees, then the runs; then reads what belongs to them."""
    wanted, state = _Wanted(), Payroll()
    for message in messages:
        wanted.add(message.payload)
        if isinstance(message.payload, Outcome) and isinstance(message.payload.task, PaySalary):
            wanted.employees.add(UUID(message.key))
    await _load_turns(tx, state, wanted)
    members = [employee for turn in state.turns.values() for employee in turn.employees]
    if wanted.employees or members:
        state.add(await staff.lock_employees(tx, sorted(wanted.employees.union(members))))
    if wanted.runs:
        state.add(await runs.lock_runs(tx, sorted(wanted.runs)))
        state.legal_entities = await rule_store.legal_entities(tx)
    if members:
        await _load_files(tx, state, wanted, members)
    if wanted.payslips:
        state.add(await runs.payslips_named(tx, sorted(wanted.payslips)))
    if wanted.costs:
        state.all_costs = await books.costs_of(tx, sorted(wanted.costs))
    if wanted.registers:
        await _load_registers(tx, state, sorted(wanted.registers))
    return state


async def _load_turns(tx: Tx, state: Payroll, wanted: _Wanted) -> None:
    """Who is in a turn is read before the locks: whoever is hired meanwhile came after the run."""
    limit = max(1, TURN_EMPLOYEES_MAX // max(1, sum(len(turns) for turns in wanted.turns.values())))
    for kind, next_members in ((CALCULATE_PAYSLIPS, runs.next_candidates), (PAY_PAYSLIPS, runs.next_on_payroll)):
        turns = wanted.turns[kind]
        if turns:
            found = await next_members(tx, [(turn.run_id, turn.after) for turn in turns], limit)
            for run_id, employees in found.items():
                state.turns[kind, run_id] = Members(employees, len(employees) < limit)


async def _load_files(tx: Tx, state: Payroll, wanted: _Wanted, members: Sequence[UUID]) -> None:
    """The payslips of the turns' months, and for calculations the facts and the rules."""
    in_turn = [run for turns in wanted.turns.values() for turn in turns if (run := state.run(turn.run_id)) is not None]
    months = sorted({run.month.first for run in in_turn})
    state.add(await runs.payslips_of_months(tx, members, months))
    if wanted.turns[CALCULATE_PAYSLIPS]:
        places = sorted({(run.month.first, run.currency) for run in in_turn})
        state.rules = await rule_store.rules_of(tx, [month for month, _ in places], [code for _, code in places])
        state.add(await staff.employments_of(tx, members))
        state.add(await staff.salaries_of(tx, members))
        state.add(await staff.absences_of(tx, members, months[0]))
        state.add(await staff.open_overtimes_of(tx, members))
        state.add(await staff.open_advances_of(tx, members))


async def _load_registers(tx: Tx, state: Payroll, run_ids: Sequence[UUID]) -> None:
    """Payslips change with their run's row, which is locked: what is read here belongs together."""
    payslips = await runs.payslips_of_runs(tx, run_ids)
    components = await books.component_sums_of(tx, run_ids)
    skipped = await books.skipped_in(tx, run_ids)
    state.booked = await books.booked_payments_of(tx, run_ids)
    for run_id in run_ids:
        state.registers[run_id] = Register(
            [each for each in payslips if each.run_id == run_id],
            components,
            [each for each in skipped if each.run_id == run_id],
        )


async def save(tx: Tx, state: Payroll) -> None:
    """Writes what is new and what is changed, each kind in one statement."""
    await _save_staff(tx, state)
    await _save_runs(tx, state)
    if entries := state.inserted(Entry):
        await books.insert_entries(tx, entries)
    if reports := state.inserted(Report):
        await books.insert_reports(tx, reports)


async def _save_staff(tx: Tx, state: Payroll) -> None:
    if employees := state.inserted(Employee):
        await staff.insert_employees(tx, employees)
    if changed := state.updated(Employee):
        await staff.update_employees(tx, changed)
    if employments := state.inserted(Employment):
        await staff.copy_employments(tx, employments)
    if salaries := state.inserted(Salary):
        await staff.copy_salaries(tx, salaries)
    if absences := state.inserted(Absence):
        await staff.copy_absences(tx, absences)
    if overtimes := state.inserted(Overtime):
        await staff.copy_overtimes(tx, overtimes)
    if advances := state.inserted(Advance):
        await staff.copy_advances(tx, advances)


async def _save_runs(tx: Tx, state: Payroll) -> None:
    if started := state.inserted(Run):
        await runs.insert_runs(tx, started)
    if moved := state.updated(Run):
        await runs.update_runs(tx, moved)
    if payslips := state.inserted(Payslip):
        await runs.insert_payslips(tx, payslips)
        await runs.insert_components(tx, state.inserted(Component))
    if settled := state.updated(Payslip):
        await runs.update_payslips(tx, settled)
    if skipped := state.inserted(Skipped):
        await runs.insert_skipped(tx, skipped)
    if overtimes := state.updated(Overtime):
        await staff.mark_overtimes_paid(tx, overtimes)
    if advances := state.updated(Advance):
        await staff.deduct_advances(tx, advances)
