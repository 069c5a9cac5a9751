"""Runs, books and reports as pure values: four eyes, counts, balanced entries, and the same bytes again."""

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.payroll.domain import ledger, payslip, report
from services.payroll.domain import run as runs
from services.payroll.domain.calculation import calculate
from services.payroll.domain.ledger import Cost
from services.payroll.domain.payslip import ComponentKind, Paid, Payslip
from services.payroll.domain.report import Register
from services.payroll.domain.run import Run, Skipped
from shared.messaging.decision import Ids, Refused
from shared.schemas.money import AMOUNT_MAX
from tests.payroll.files import INSURED, JANUARY, RUN, employee, file, run

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
TODAY = date(2026, 2, 1)


def ids() -> Ids:
    return Ids("payroll", "tests", "cause", NOW)


def slip(number: int, salary: int = 200_00, department: str = "office") -> Payslip:
    calculated = calculate(file(salary), JANUARY, INSURED, RUN, UUID(int=number))
    assert calculated is not None
    return replace(calculated.payslip, employee_id=UUID(int=100 + number), department=department)


def test_whoever_started_a_run_cannot_approve_it_under_another_spelling() -> None:
    waiting = run(state="calculated", started_by="Anna")
    for alias in ("Anna", "anna", " ANNA "):
        with pytest.raises(Refused, match="four_eyes"):
            runs.approved(waiting, alias)
    assert runs.approved(waiting, "Berta")[0].approved_by == "Berta"


@pytest.mark.parametrize(
    ("state", "code"),
    [("calculating", "not_calculated"), ("paying", "already_approved"), ("completed", "already_approved")],
)
def test_only_a_calculated_run_is_approved(state: str, code: str) -> None:
    with pytest.raises(Refused, match=code):
        runs.approved(run(state=state), "berta")


@given(st.lists(st.sampled_from(["paid", "failed", "unknown", "again"]), max_size=20))
def test_a_run_counts_what_its_payslips_are(history: list[str]) -> None:
    """Whatever happens to a payment, the run's counts are those of the payslips as they are."""
    first = slip(1)
    counted, current = runs.with_payslip(run(state="paying"), first), payslip.begun(first)
    for what in history:
        before = current
        match what:
            case "paid" if not current.is_settled:
                current, _ = payslip.paid(current, Paid("pay_1"), TODAY)
            case "failed" if not current.is_settled:
                current, _ = payslip.failed(current, "declined", "no")
            case "unknown" if not current.is_settled:
                current, _ = payslip.in_doubt(current)
            case "again" if current.state == "failed":
                current = payslip.begun(current)
        counted = runs.counted(counted, before.state, current)
        assert (counted.paid, counted.failed) == (current.state == "paid", current.state == "failed")
        assert counted.paid_amount + counted.failed_amount == (current.net if current.is_settled else 0)
        assert counted.is_settled == current.is_settled


def test_a_run_has_no_room_for_more_than_money_can_be() -> None:
    full = run(gross=AMOUNT_MAX - 200_00)
    assert full.has_room_for(slip(1))
    assert not full.has_room_for(slip(1, 200_01))


def test_a_run_includes_those_of_its_currency_and_group() -> None:
    assert runs.includes(run(), employee())
    assert runs.includes(run(group="office"), employee())
    assert not runs.includes(run(group="factory"), employee())
    assert not runs.includes(run(currency="CHF"), employee())


KINDS: list[tuple[ComponentKind, str]] = [
    ("earning", "salary"),
    ("earning", "overtime"),
    ("withholding", "income-tax"),
    ("withholding", "pension-insurance"),
    ("deduction", "advance"),
]


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["office", "factory"]), st.sampled_from(KINDS)), st.integers(1, 10**12), min_size=1
    )
)
def test_every_accrual_balances(sums: dict[tuple[str, tuple[ComponentKind, str]], int]) -> None:
    costs = [Cost(RUN, department, kind, code, amount) for (department, (kind, code)), amount in sums.items()]
    entries = list(ledger.accruals(run(), costs, TODAY, ids()))
    assert {each.department for each in entries} == {department for department, _ in sums}
    for entry in entries:
        assert sum(amount for _, amount in entry.postings) == 0
        assert all(amount for _, amount in entry.postings)


def test_payments_are_booked_once_and_after_a_retry_the_rest() -> None:
    (first,) = ledger.payments(run(), {"office": 100}, {}, TODAY, ids())
    assert dict(first.postings) == {"wages_payable": 100, "bank": -100}
    assert not list(ledger.payments(run(), {"office": 100}, {"office": 100}, TODAY, ids()))
    (rest,) = ledger.payments(run(), {"office": 150}, {"office": 100}, TODAY, ids())
    assert dict(rest.postings) == {"wages_payable": 50, "bank": -50}


def registered(payslips: list[Payslip]) -> Register:
    sums: dict[UUID, dict[tuple[ComponentKind, str], int]] = {
        each.id: {("earning", "salary"): each.gross, ("withholding", "income-tax"): each.withholdings}
        for each in payslips
    }
    return Register(payslips, sums, [Skipped(RUN, UUID(int=500), "no_rules")])


@given(st.permutations(range(1, 6)))
def test_a_report_has_the_same_bytes_whatever_order_it_is_read_in(order: list[int]) -> None:
    payslips = [slip(number, 100_00 * number, "office" if number % 2 else "factory") for number in order]
    in_order = sorted(payslips, key=lambda each: each.id)
    assert report.register_csv(run(), registered(payslips)) == report.register_csv(run(), registered(in_order))


def test_a_report_of_nobody_is_a_heading_and_a_total() -> None:
    content = report.register_csv(_in("JPY"), Register([], {}, []))
    assert content.decode().split("\r\n")[1].startswith(f"total,{RUN},2026-01,JPY,,,,,0,0,0,0,0")


def _in(currency: str) -> Run:
    return run(currency=currency)
