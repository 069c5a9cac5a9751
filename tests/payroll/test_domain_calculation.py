"""One employee's month: proration to the unit, overtime, advances, and gross = net + withholdings + deductions."""

from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.payroll.domain.calculation import Calculated, NotPayable, calculate, salary_parts
from services.payroll.domain.month import ONE_DAY, Month
from services.payroll.domain.rules import Bracket, Rules
from services.payroll.domain.staff import Absence, PersonnelFile
from shared.schemas.money import AMOUNT_MAX
from tests.payroll.files import INSURED, JANUARY, PAYSLIP, RULES, RUN, WHO, advance, day, file, overtime

salaries = st.integers(1, 10**12)
months = st.dates(date(1901, 1, 1), date(2199, 12, 31)).map(lambda any_day: Month(any_day.replace(day=1)))
january_days = st.integers(1, 31).map(day)


def paid(payroll_file: PersonnelFile, rules: Rules = RULES, month: Month = JANUARY) -> Calculated:
    calculated = calculate(payroll_file, month, rules, RUN, PAYSLIP)
    assert calculated is not None
    return calculated


def earned(payroll_file: PersonnelFile, month: Month = JANUARY) -> int:
    return sum(part.amount for part in salary_parts(payroll_file, month))


def test_a_whole_month_is_the_salary() -> None:
    slip = paid(file(200_00)).payslip
    assert (slip.gross, slip.withholdings, slip.deductions, slip.net) == (200_00, 30_00, 0, 170_00)
    assert (slip.state, slip.version) == ("calculated", 1)


@pytest.mark.parametrize(
    ("payroll_file", "gross"),
    [
        (file(3_100_00, hired_on=day(16)), 1_600_00),
        (file(3_100_00, last_day=day(10)), 1_000_00),
        (file(3_100_00, raises=[(day(11), 6_200_00)]), 1_000_00 + 4_200_00),
        (file(3_100_00, unpaid=[(day(1), day(5))]), 2_600_00),
        (file(3_100_00, unpaid=[(day(1), day(5)), (day(4), day(10))]), 2_100_00),
        (file(3_100_00, unpaid=[(date(2025, 12, 1), date(2026, 2, 1))]), 0),
        (file(3_100_00, hired_on=day(31), last_day=day(31)), 100_00),
    ],
    ids=["hired", "left", "raised", "away", "away twice at once", "away all month", "one day"],
)
def test_days_that_are_not_paid_and_salaries_that_change_count_by_the_calendar(
    payroll_file: PersonnelFile, gross: int
) -> None:
    assert paid(payroll_file).payslip.gross == gross


def test_who_was_not_on_the_staff_in_a_month_has_no_payslip() -> None:
    assert calculate(file(hired_on=date(2026, 2, 1)), JANUARY, RULES, RUN, PAYSLIP) is None
    assert calculate(file(last_day=date(2025, 12, 31)), JANUARY, RULES, RUN, PAYSLIP) is None


def test_paid_absence_changes_nothing() -> None:
    away = Absence(WHO, UUID(int=9), 9, day(1), day(31), is_paid=True)
    there = file()
    assert earned(PersonnelFile(there.employee, there.employments, there.salaries, [away], (), ())) == earned(there)


@given(salaries, months, st.data())
def test_the_parts_of_a_split_month_sum_to_the_whole(salary: int, month: Month, data: st.DataObject) -> None:
    """However often one leaves and comes back the next day, or is raised to the same salary: to the unit."""
    cuts = data.draw(st.sets(st.integers(2, month.days), max_size=6).map(sorted))
    days = [month.first, *(month.first + timedelta(days=cut - 1) for cut in cuts)]
    ends = [*(start - ONE_DAY for start in days[1:]), month.last]
    assert sum(month.share(salary, start, end) for start, end in zip(days, ends, strict=True)) == salary
    raised = file(salary, hired_on=date(1900, 1, 1), raises=[(start, salary) for start in days[1:]])
    assert earned(raised, month) == salary


@given(salaries, january_days)
def test_somebody_who_leaves_and_a_successor_cost_one_salary(salary: int, last_day: date) -> None:
    leaver = file(salary, last_day=last_day)
    successor = file(salary, hired_on=last_day + ONE_DAY)
    assert earned(leaver) + earned(successor) == salary


@given(salaries, january_days, january_days)
def test_absence_and_presence_cost_one_salary(salary: int, start: date, end: date) -> None:
    start, end = min(start, end), max(start, end)
    away = file(salary, unpaid=[(start, end)])
    outside = [(JANUARY.first, start - ONE_DAY), (end + ONE_DAY, JANUARY.last)]
    there = file(salary, unpaid=[(first, last) for first, last in outside if first <= last])
    assert earned(away) + earned(there) == salary


@given(salaries, january_days, st.integers(0, 10**12))
def test_a_prorated_salary_is_within_a_unit_of_its_share(salary: int, hired_on: date, raise_by: int) -> None:
    days = (JANUARY.last - hired_on).days + 1
    assert abs(earned(file(salary, hired_on=hired_on)) * 31 - salary * days) <= 31
    assert earned(file(salary + raise_by, hired_on=hired_on)) >= earned(file(salary, hired_on=hired_on)) - 1


def test_overtime_is_paid_once_and_when_it_was_reported_late_the_month_after() -> None:
    late = overtime(60, worked_on=date(2025, 12, 30))
    calculated = paid(file(overtimes=[late, overtime(60, worked_on=date(2026, 2, 1), number=2)]))
    assert [each.source_id for each in calculated.components if each.code == "overtime"] == [late.overtime_id]
    assert [each.payslip_id for each in calculated.overtimes] == [PAYSLIP]
    assert not paid(file(overtimes=calculated.overtimes)).overtimes


def test_overtime_counts_at_the_salary_of_its_day() -> None:
    worked = overtime(10_400, 100, worked_on=day(5))
    calculated = paid(file(1_000_00, raises=[(day(10), 2_000_00)], overtimes=[worked]))
    assert [each.amount for each in calculated.components if each.code == "overtime"] == [1_000_00]


def test_an_advance_is_deducted_and_what_is_left_of_it_is_carried_over() -> None:
    calculated = paid(file(200_00, advances=[advance(300_00)]))
    slip = calculated.payslip
    assert (slip.gross, slip.deductions, slip.net, slip.state) == (200_00, 170_00, 0, "nothing_due")
    (carried,) = calculated.advances
    assert carried.deducted == 170_00
    february = paid(file(200_00, advances=[carried]), month=Month(date(2026, 2, 1)))
    assert (february.payslip.deductions, february.payslip.net) == (130_00, 40_00)
    assert february.advances[0].deducted == 300_00


def test_advances_are_deducted_oldest_first_and_not_before_they_were_granted() -> None:
    old, new = advance(100_00, day(1), 2), advance(100_00, day(2), 1)
    future = advance(1_00, date(2026, 2, 1), 3)
    calculated = paid(file(200_00, advances=[new, future, old]))
    assert [(each.source_id, each.amount) for each in calculated.components if each.code == "advance"] == [
        (old.advance_id, 100_00),
        (new.advance_id, 70_00),
    ]


@given(
    salaries,
    st.lists(st.tuples(st.integers(1, 1440), st.integers(100, 400)), max_size=5),
    st.lists(st.integers(1, 10**12), max_size=5),
    january_days,
    st.sampled_from([RULES, INSURED, Rules((Bracket(0, 10_000),), (), 9_600), Rules((), (), 10_400)]),
)
def test_gross_is_net_and_withholdings_and_deductions(
    salary: int, extra: Sequence[tuple[int, int]], advances: Sequence[int], hired_on: date, rules: Rules
) -> None:
    payroll_file = file(
        salary,
        hired_on=hired_on,
        overtimes=[overtime(minutes, rate, number=n) for n, (minutes, rate) in enumerate(extra)],
        advances=[advance(amount, number=n) for n, amount in enumerate(advances)],
    )
    calculated = paid(payroll_file, rules)
    slip, components = calculated.payslip, calculated.components
    assert slip.gross == slip.net + slip.withholdings + slip.deductions
    assert min(slip.gross, slip.net, slip.withholdings, slip.deductions) >= 0
    sums = {
        kind: sum(c.amount for c in components if c.kind == kind) for kind in ("earning", "withholding", "deduction")
    }
    assert sums == {"earning": slip.gross, "withholding": slip.withholdings, "deduction": slip.deductions}
    assert all(each.amount > 0 for each in components)
    assert sum(each.deducted for each in calculated.advances) == slip.deductions
    assert all(each.deducted <= each.amount for each in calculated.advances)
    assert slip.deductions == min(sum(advances), slip.gross - slip.withholdings)


@pytest.mark.parametrize(
    ("payroll_file", "rules", "code"),
    [
        (file(), None, "no_rules"),
        (file(AMOUNT_MAX, overtimes=[overtime(60)]), RULES, "amount_out_of_range"),
        (file(100_00), Rules((Bracket(0, 10_000),), INSURED.contributions, 10_400), "withholdings_exceed_gross"),
    ],
    ids=["a country without rules", "more than money can be", "rules that take more than all"],
)
def test_who_cannot_be_calculated_is_named_with_the_reason(
    payroll_file: PersonnelFile, rules: Rules | None, code: str
) -> None:
    with pytest.raises(NotPayable) as verdict:
        calculate(payroll_file, JANUARY, rules, RUN, PAYSLIP)
    assert verdict.value.code == code
