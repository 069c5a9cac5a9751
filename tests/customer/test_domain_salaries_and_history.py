"""Decisions on what payroll, billing and notify say, without a database."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from services.customer.domain import history, salaries, tickets
from services.customer.domain.history import PAID_MAX, PaidTotal
from services.customer.domain.tickets import Ticket
from shared.messaging.decision import NOTHING, Cancel, Decision, Ids
from shared.schemas.customer import TicketClosed
from shared.schemas.notify import NotificationUnknown
from tests.customer import words

EMPLOYEE, PAYSLIP = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def ticket_of(decision: Decision) -> Ticket:
    (ticket,) = decision.changes
    assert isinstance(ticket, Ticket)
    return ticket


def opened() -> Ticket:
    ids = Ids("customer", "kello/payroll", "1", NOW)
    return ticket_of(salaries.ask_for_help(None, words.salary_failed(EMPLOYEE, PAYSLIP, 2), NOW, ids))


def test_the_same_failure_gives_the_same_ticket() -> None:
    assert opened() == opened()


def test_what_was_heard_before_changes_nothing() -> None:
    ticket, ids = opened(), Ids("customer", "kello/payroll", "2", NOW)
    assert salaries.ask_for_help(ticket, words.salary_failed(EMPLOYEE, PAYSLIP, 2), NOW, ids) is NOTHING
    again = salaries.ask_for_help(ticket, words.salary_failed(EMPLOYEE, PAYSLIP, 3), NOW, ids)
    assert (again.events, ticket_of(again).payslip_version) == ((), 3)
    assert salaries.help_came(ticket_of(again), words.salary_paid(EMPLOYEE, PAYSLIP, 3), NOW) is NOTHING
    assert salaries.help_came(None, words.salary_paid(EMPLOYEE, PAYSLIP, 3), NOW) is NOTHING


def test_the_payment_closes_what_somebody_had_resolved_and_takes_its_timer_back() -> None:
    resolved = ticket_of(tickets.resolve(opened(), "Account corrected", NOW))
    paid = salaries.help_came(resolved, words.salary_paid(EMPLOYEE, PAYSLIP, 3), NOW)
    closed = ticket_of(paid)
    assert (closed.status, closed.resolution, closed.version) == ("closed", "Account corrected", 3)
    assert [type(event) for event in paid.events] == [TicketClosed]
    assert [type(task) for task in paid.tasks] == [Cancel]


def test_the_payment_leaves_a_closed_ticket_closed() -> None:
    closed = ticket_of(tickets.close(ticket_of(tickets.resolve(opened(), None, NOW)), NOW))
    paid = salaries.help_came(closed, words.salary_paid(EMPLOYEE, PAYSLIP, 3), NOW)
    assert paid.events == ()
    assert ticket_of(paid).payslip_version == 3


def test_the_sum_of_payments_stops_at_what_the_database_holds() -> None:
    almost = PaidTotal(EMPLOYEE, "EUR", PAID_MAX - 5)
    assert history.paid_more(almost, words.payment(EMPLOYEE, 10)).amount == PAID_MAX


def test_a_notification_that_nobody_answered_for_is_in_the_log_as_unknown() -> None:
    sent = words.sent(EMPLOYEE)
    unknown = NotificationUnknown(**sent.model_dump(exclude={"message_id"}))
    entry = history.entry_of(unknown, NOW, uuid4())
    assert (entry.kind, entry.details["status"], entry.details["channel"]) == ("notification", "unknown", "email")


def test_entries_hold_no_personal_data() -> None:
    entry = history.entry_of(words.invoice(EMPLOYEE, uuid4()), NOW, uuid4())
    assert "Ada" not in repr(entry)
