"""Which message leads to which decision on staff, runs and payments."""

from datetime import datetime

from services.payroll.domain import ledger, report, staff
from services.payroll.domain import payslip as payslips
from services.payroll.domain import run as runs
from services.payroll.domain.calculation import Calculated, NotPayable, calculate
from services.payroll.domain.payslip import Declined, Paid, Payslip
from services.payroll.domain.run import Run, Skipped
from services.payroll.domain.staff import Absence, Advance, Employment, Fact, Overtime, PersonnelFile, Salary
from services.payroll.domain.work import (
    CALCULATE_PAYSLIPS,
    GENERATE_REPORT,
    PAY_PAYSLIPS,
    PAY_SALARY,
    MakeReport,
    PaySalary,
    Turn,
    report_to_make,
    salary_to_pay,
    turn_to_calculate,
    turn_to_pay,
)
from services.payroll.working_set import Payroll
from shared.messaging.decision import (
    NOTHING,
    Decision,
    Entity,
    Exhausted,
    Ids,
    Message,
    Outcome,
    Refused,
    Task,
    Unknown,
)
from shared.messaging.handlers import Handlers
from shared.schemas.base import Event
from shared.schemas.hr import (
    AbsenceRecorded,
    AdvanceGranted,
    EmployeeChanged,
    EmployeeEvent,
    EmployeeHired,
    EmployeeTerminated,
    OvertimeRecorded,
    SalaryChanged,
)
from shared.schemas.payroll import ApprovePayrollRun, RetryPayslip, StartPayrollRun

handlers = Handlers[Payroll]()


@handlers.projection(EmployeeHired)
def employee_hired(state: Payroll, message: Message[EmployeeHired], _now: datetime, _ids: Ids) -> Decision:
    employee, employment, salary = staff.hired(state.employee(message.payload.employee_id), message.payload)
    heard = staff.heard(employee, message.payload.version, message.time)
    return Decision([heard, *_new(state, employment, salary)])


@handlers.projection(EmployeeChanged)
def employee_changed(state: Payroll, message: Message[EmployeeChanged], _now: datetime, _ids: Ids) -> Decision:
    employee = staff.changed(state.employee(message.payload.employee_id), message.payload)
    return Decision([staff.heard(employee, message.payload.version, message.time)])


@handlers.projection(SalaryChanged)
def salary_changed(state: Payroll, message: Message[SalaryChanged], _now: datetime, _ids: Ids) -> Decision:
    fact = message.payload
    return _recorded(state, message, Salary(fact.employee_id, fact.version, fact.effective_from, fact.monthly_salary))


@handlers.projection(EmployeeTerminated)
def employee_terminated(state: Payroll, message: Message[EmployeeTerminated], _now: datetime, _ids: Ids) -> Decision:
    fact = message.payload
    return _recorded(state, message, Employment(fact.employee_id, fact.version, joins=False, day=fact.last_day))


@handlers.projection(AbsenceRecorded)
def absence_recorded(state: Payroll, message: Message[AbsenceRecorded], _now: datetime, _ids: Ids) -> Decision:
    fact = message.payload
    absence = Absence(
        fact.employee_id, fact.absence_id, fact.version, fact.starts_on, fact.ends_on, is_paid=fact.kind == "paid"
    )
    return _recorded(state, message, absence)


@handlers.projection(OvertimeRecorded)
def overtime_recorded(state: Payroll, message: Message[OvertimeRecorded], _now: datetime, _ids: Ids) -> Decision:
    fact = message.payload
    overtime = Overtime(
        fact.employee_id, fact.overtime_id, fact.version, fact.worked_on, fact.minutes, fact.rate_basis_points
    )
    return _recorded(state, message, overtime)


@handlers.projection(AdvanceGranted)
def advance_granted(state: Payroll, message: Message[AdvanceGranted], _now: datetime, _ids: Ids) -> Decision:
    fact = message.payload
    return _recorded(
        state, message, Advance(fact.employee_id, fact.advance_id, fact.version, fact.amount, fact.granted_on)
    )


def _recorded(state: Payroll, message: Message[EmployeeEvent], fact: Fact) -> Decision:
    """The fact is kept; where nobody was hired under this id yet, it waits under an employee without details."""
    event = message.payload
    employee = staff.heard(state.employee(event.employee_id), event.version, message.time)
    return Decision([employee, *_new(state, fact)])


def _new(state: Payroll, *facts: Fact) -> list[Fact]:
    """The facts that a batch has not told in a later version already."""
    known = [state.find(type(fact), fact.key) for fact in facts]
    return [
        fact
        for fact, before in zip(facts, known, strict=True)
        if before is None or before.source_version < fact.source_version
    ]


@handlers.command(StartPayrollRun)
def start_payroll_run(state: Payroll, message: Message[StartPayrollRun], _now: datetime, _ids: Ids) -> Decision:
    command = message.payload
    if state.run(command.run_id) is not None:
        raise Refused("run_exists", "there is a run with this run_id: give a new run an id of its own")
    if command.legal_entity not in state.legal_entities:
        raise Refused("unknown_legal_entity", "there is no such legal entity: correct it, or add it to legal_entity")
    run, event = runs.started(command)
    return Decision([run], [event], [turn_to_calculate(run)])


@handlers.outcome(CALCULATE_PAYSLIPS)
def payslips_have_their_turn(
    state: Payroll, message: Message[Outcome[Turn, object]], _now: datetime, ids: Ids
) -> Decision:
    """Calculates the next employees of a run; after the last one the run waits for approval."""
    run = state.run(message.payload.task.run_id)
    if run is None or run.state != "calculating":
        return NOTHING
    turn = state.turn(CALCULATE_PAYSLIPS, run.id)
    changes: list[Entity] = []
    events: list[Event] = []
    skipped: list[Skipped] = []
    for employee_id in turn.employees:
        verdict = _verdict(state, run, state.personnel_file(employee_id), ids)
        if isinstance(verdict, Skipped):
            skipped.append(verdict)
        elif verdict is not None:
            run = runs.with_payslip(run, verdict.payslip)
            changes += [verdict.payslip, *verdict.components, *verdict.overtimes, *verdict.advances]
            events.append(payslips.told(verdict.payslip, verdict.components))
    run = runs.with_skipped(run, len(skipped))
    if not turn.is_last:
        return Decision([*changes, *skipped, run], events, [turn_to_calculate(run, turn.employees[-1])])
    run, calculated = runs.calculated(run)
    return Decision([*changes, *skipped, run], [*events, calculated])


def _verdict(state: Payroll, run: Run, file: PersonnelFile, ids: Ids) -> Calculated | Skipped | None:
    """One employee's payslip, or why there is none; None for whoever has no part in the run."""
    employee, payslip_id = file.employee, ids.next()
    if not runs.includes(run, employee):
        return None
    existing = state.payslip_of_month(employee.id, run.month)
    if existing is not None:
        return Skipped(run.id, employee.id, "already_in_a_run", existing.id)
    try:
        calculated = calculate(file, run.month, state.rules_for(run, employee), run.id, payslip_id)
    except NotPayable as verdict:
        return Skipped(run.id, employee.id, verdict.code)
    if calculated is not None and not run.has_room_for(calculated.payslip):
        return Skipped(run.id, employee.id, "run_total_out_of_range")
    return calculated


@handlers.command(ApprovePayrollRun)
def approve_payroll_run(state: Payroll, message: Message[ApprovePayrollRun], _now: datetime, ids: Ids) -> Decision:
    run = state.run(message.payload.run_id)
    if run is None:
        raise Refused("unknown_run", "there is no such run: start it first")
    run, event = runs.approved(run, message.payload.issued_by)
    on = state.legal_entities[run.legal_entity].business_day(message.time)
    return Decision([run, *ledger.accruals(run, state.costs(run.id), on, ids)], [event], [turn_to_pay(run)])


@handlers.outcome(PAY_PAYSLIPS)
def payments_have_their_turn(
    state: Payroll, message: Message[Outcome[Turn, object]], _now: datetime, _ids: Ids
) -> Decision:
    """Begins the payments of the next employees of an approved run."""
    run = state.run(message.payload.task.run_id)
    if run is None or run.state != "paying":
        return NOTHING
    turn = state.turn(PAY_PAYSLIPS, run.id)
    due = [state.payslip_of_month(employee_id, run.month) for employee_id in turn.employees]
    begun = [payslips.begun(each) for each in due if each is not None and each.state == "calculated"]
    tasks = [salary_to_pay(each, state.payment_token(each.employee_id)) for each in begun]
    if not turn.is_last:
        return Decision(begun, (), [*tasks, turn_to_pay(run, turn.employees[-1])])
    return _followed_up(run, begun, [], tasks)


@handlers.outcome(PAY_SALARY)
def salary_payment_answered(
    state: Payroll,
    message: Message[Outcome[PaySalary, Paid | Declined | Exhausted | Unknown]],
    now: datetime,
    _ids: Ids,
) -> Decision:
    outcome = message.payload
    payslip, run = state.payslip(outcome.task.payslip_id), state.run(outcome.task.run_id)
    if payslip is None or run is None or outcome.key != payslip.payment_key or payslip.is_settled:
        return NOTHING
    if isinstance(outcome.result, Unknown) and payslip.state == "unknown":
        return NOTHING
    after, event = _answered(state, run, payslip, outcome.result, now)
    return _followed_up(runs.counted(run, payslip.state, after), [after], [event])


def _answered(state: Payroll, run: Run, payslip: Payslip, result: object, now: datetime) -> tuple[Payslip, Event]:
    match result:
        case Paid():
            return payslips.paid(payslip, result, state.legal_entities[run.legal_entity].business_day(now))
        case Declined(code):
            return payslips.failed(payslip, "declined", f"the payment gateway declined it: {code}")
        case Exhausted():
            return payslips.failed(payslip, "unreachable", "the payment gateway could not be reached: try again")
        case Unknown():
            return payslips.in_doubt(payslip)
    raise TypeError(f"a payment ends in no {type(result).__name__}")


def _followed_up(run: Run, changed: list[Payslip], events: list[Event], tasks: list[Task] | None = None) -> Decision:
    """With the last payslip settled the run is complete, and gets its report."""
    tasks = tasks or []
    if run.state != "paying" or not run.is_settled:
        return Decision([*changed, run], events, tasks)
    run, completed = runs.completed(run)
    return Decision([*changed, run], [*events, completed], [*tasks, report_to_make(run)])


@handlers.command(RetryPayslip)
def retry_payslip(state: Payroll, message: Message[RetryPayslip], _now: datetime, _ids: Ids) -> Decision:
    """A failed payment is certainly not made: only then there is another one, under a key of its own."""
    command = message.payload
    payslip, run = state.payslip(command.payslip_id), state.run(command.run_id)
    if payslip is None or run is None or (payslip.employee_id, payslip.run_id) != (command.employee_id, run.id):
        raise Refused("unknown_payslip", "there is no such payslip of this employee in this run")
    if payslip.state != "failed":
        raise Refused("not_failed", "only a payslip whose payment failed is tried again; this one did not fail")
    begun = payslips.begun(payslip)
    reopened = runs.reopened(runs.counted(run, payslip.state, begun))
    return Decision([begun, reopened], (), [salary_to_pay(begun, state.payment_token(payslip.employee_id))])


@handlers.outcome(GENERATE_REPORT)
def report_is_due(state: Payroll, message: Message[Outcome[MakeReport, object]], now: datetime, ids: Ids) -> Decision:
    """Books what was paid, and stores the register. A run that was opened again meanwhile gets its report later."""
    work = message.payload.task
    run = state.run(work.run_id)
    if run is None or run.state != "completed" or run.version != work.run_version:
        return NOTHING
    register = state.register(run.id)
    on = state.legal_entities[run.legal_entity].business_day(now)
    entries = ledger.payments(run, register.paid_by_department, state.booked_payments(run.id), on, ids)
    stored, event = report.generated(ids.next(), run, register, now)
    return Decision([*entries, stored], [event])
