"""A payroll run: from its start to the last SalaryPaid and to the last mail about one."""

from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID, uuid4

from shared.schemas.hr import EmployeeHired
from shared.schemas.payroll import ApprovePayrollRun, StartPayrollRun
from tests.bench.ensemble import ALL_TOPICS, Ensemble, assembled
from tests.bench.report import Figure, Goal
from tests.bench.stage import Stage

PATIENCE_SECONDS = 300
PAID = "SELECT count(*) FROM payslip WHERE state = 'paid'"
CALCULATED = "SELECT count(*) FROM payroll_run WHERE state = 'calculated'"


def measure(stage: Stage) -> list[Figure]:
    """Seconds, at 7,000 employees; a quick run takes a tenth of them, and has no goal."""
    staff = 700 if stage.quick else 7_000
    stage.say(f"{staff:,} payslips")
    with stage.ground(ALL_TOPICS) as ground:
        kello = assembled(ground, ["customer", "notify", "payroll"])
        kello.publish(*(_hired(number) for number in range(staff)))
        kello.until(
            lambda: all(kello.has_taken_in(service, "hr.events") for service in ("payroll", "notify")),
            "staff",
            PATIENCE_SECONDS,
        )
        run_id = uuid4()
        month = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
        began = monotonic()
        kello.publish(StartPayrollRun(issued_by="starter", run_id=run_id, period=f"{month:%Y-%m}", currency="EUR"))
        calculated = kello.until(lambda: kello.count("payroll", CALCULATED) == 1, "the run", PATIENCE_SECONDS)
        kello.publish(ApprovePayrollRun(issued_by="approver", run_id=run_id))
        paid = kello.until(lambda: kello.count("payroll", PAID) >= staff, "all payments", PATIENCE_SECONDS)
        told = kello.until(lambda: kello.sink.mails()[0] >= staff, "all mails", PATIENCE_SECONDS)
        _check(kello, staff)
    goal = None if stage.quick else Goal(20, at_least=False)
    return [
        Figure(f"{staff:,} payslips: calculated", "s", (calculated - began,)),
        Figure(f"{staff:,} payslips: last SalaryPaid", "s", (paid - began,), goal),
        Figure(f"{staff:,} payslips: last mail", "s", (told - began,), goal),
    ]


def _check(kello: Ensemble, staff: int) -> None:
    if kello.sink.mails() != (staff, staff) or kello.count("payroll", PAID) != staff:
        raise RuntimeError(
            f"{kello.sink.mails()} mails and {kello.count('payroll', PAID)} payments for {staff} payslips"
        )


def _hired(number: int) -> EmployeeHired:
    return EmployeeHired.model_validate(
        {
            "version": 1,
            "employee_id": UUID(f"00000000-0000-7007-8000-{number:012x}"),
            "name": f"Employee {number}",
            "email": f"employee{number}@example.com",
            "locale": "en-GB",
            "zone": "Europe/Vienna",
            "country": "AT",
            "department": f"department-{number % 20}",
            "currency": "EUR",
            "monthly_salary": 200_000 + 100 * (number % 1000),
            "hired_on": "2020-01-01",
            "payment_token": f"tok_ok-{number}",
            "preferred_channels": ["email"],
        }
    )
