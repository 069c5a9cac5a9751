"""What HR tells, in any order: the same facts give the same file, and the later version counts."""

from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import permutations
from uuid import UUID

from services.payroll.domain import staff
from services.payroll.domain.staff import Employment, PersonnelFile, Salary, Span, Stated
from shared.schemas.hr import EmployeeChanged, EmployeeHired
from tests.payroll.company import hired
from tests.payroll.files import WHO, day, employee, file

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def employed(*facts: tuple[int, bool, date]) -> tuple[Span, ...]:
    employments = [Employment(WHO, version, joins, on) for version, joins, on in facts]
    return PersonnelFile(employee(), employments, (), (), (), ()).spans


def test_details_are_those_of_the_latest_version_whatever_came_first() -> None:
    told: list[EmployeeHired | EmployeeChanged] = [
        hired(WHO, department="office"),
        EmployeeChanged(employee_id=WHO, department="factory", version=2),
        EmployeeChanged(employee_id=WHO, payment_token="tok_new", version=3),
        EmployeeChanged(employee_id=WHO, department="garage", country="AT", version=4),
    ]
    results = set()
    for order in permutations(told):
        who = staff.unknown_employee(WHO)
        for event in order:
            who = staff.changed(who, event) if isinstance(event, EmployeeChanged) else staff.hired(who, event)[0]
        results.add((who.currency, who.country, who.department, who.payment_token))
    assert results == {(Stated("EUR", 1), Stated("AT", 4), Stated("garage", 4), Stated("tok_new", 3))}


def test_what_is_known_already_changes_nothing() -> None:
    who = staff.hired(staff.unknown_employee(WHO), hired(WHO))[0]
    assert staff.hired(who, hired(WHO))[0] is who
    heard = staff.heard(who, 7, NOW)
    assert (heard.source_version, heard.source_time) == (7, NOW)
    assert staff.heard(heard, 6, NOW) is heard


def test_an_employment_ends_and_another_begins() -> None:
    spans = employed((1, True, day(1)), (2, False, day(10)), (3, True, day(20)))
    assert spans == (Span(day(1), day(10)), Span(day(20), None))
    assert [span.holds(day(10)) for span in spans] == [True, False]
    assert not any(span.holds(day(11)) for span in spans)


def test_a_later_version_corrects_the_first_or_the_last_day() -> None:
    assert employed((1, True, day(1)), (2, True, day(5))) == (Span(day(5), None),)
    assert employed((1, True, day(1)), (2, False, day(10)), (3, False, day(20))) == (Span(day(1), day(20)),)
    assert employed((3, False, day(20)), (1, True, day(1)), (2, False, day(10))) == (Span(day(1), day(20)),)


def test_a_termination_waits_for_its_hire() -> None:
    assert employed((2, False, day(10))) == ()


def test_the_salary_of_a_day_is_the_latest_in_effect() -> None:
    raised = file(100, raises=[(day(10), 200), (day(5), 150), (day(10), 250)])
    assert [raised.salary_on(day(n)) for n in (1, 5, 9, 10, 31)] == [100, 150, 150, 250, 250]
    assert raised.salary_on(date(2020, 1, 1)) == 100, "before the first day: the first salary"
    assert replace(raised, salaries=()).salary_on(day(1)) is None


def test_a_salary_that_was_told_twice_counts_by_its_version() -> None:
    told = [Salary(UUID(int=1), 3, day(1), 300), Salary(UUID(int=1), 2, day(1), 200)]
    assert replace(file(), salaries=told).salary_on(day(2)) == 300
