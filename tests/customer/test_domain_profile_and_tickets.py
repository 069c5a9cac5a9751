"""Decisions on profiles and tickets, without a database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.customer.domain import profile, tickets
from services.customer.domain.customer import Consent, ContactPoint, Customer, Profile, Tag
from services.customer.domain.party import Party
from services.customer.domain.profile import CONTACT_POINTS_MAX, PURPOSES_MAX, TAGS_MAX
from services.customer.domain.tickets import CLOSES_AFTER, Ticket, TicketClosing
from shared.messaging.decision import NOTHING, Cancel, Decision, Refused, Task
from shared.schemas.customer import Address, CustomerProfile, ProfileAddress, TicketEvent
from shared.schemas.standards import Channel
from tests.customer import words

CUSTOMER = UUID(int=1)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def registered() -> Profile:
    return after(None, profile.register(None, None, words.registration(CUSTOMER), NOW))


def after(before: Profile | None, decision: Decision) -> Profile:
    """The profile once a decision's changes hold."""
    (customer,) = (row for row in decision.changes if isinstance(row, Customer))
    return (before or Profile(customer)).with_rows(customer, decision.changes)


def test_every_change_is_one_event_with_the_whole_profile_under_the_next_version() -> None:
    known = registered()
    changes: list[Callable[[Profile], Decision]] = [
        lambda known: profile.change_details(known, words.change(CUSTOMER, 1, name="Ada Muster"), NOW),
        lambda known: profile.add_contact_point(known, words.contact_point(CUSTOMER, uuid4()), NOW),
        lambda known: profile.record_consent(known, words.consent(CUSTOMER), NOW),
        lambda known: profile.tag(known, words.tagging(CUSTOMER, "loud"), NOW),
        lambda known: profile.untag(known, words.untagging(CUSTOMER, "loud"), NOW),
    ]
    for change in changes:
        decision = change(known)
        expected = known.customer.version + 1
        known = after(known, decision)
        event, published = decision.events
        assert event.version == published.version == known.customer.version == expected
        assert published == known.published()
        assert isinstance(published, CustomerProfile)


def test_a_field_that_is_absent_stays_as_it_was() -> None:
    known = registered()
    changed = after(known, profile.change_details(known, words.change(CUSTOMER, 1, zone="Europe/Berlin"), NOW))
    assert changed.customer.zone == "Europe/Berlin"
    assert changed.customer.address == known.customer.address
    assert changed.customer.attributes == known.customer.attributes


def test_a_registration_with_other_private_data_is_not_the_same() -> None:
    known = registered()
    again = words.registration(CUSTOMER, contact_points=())
    with pytest.raises(Refused, match="already_registered"):
        profile.register(Party(CUSTOMER, "customer"), known, again, NOW)


def test_two_contact_points_of_a_registration_need_two_ids() -> None:
    command = words.registration(CUSTOMER)
    twice = command.model_copy(update={"contact_points": command.contact_points * 2})
    with pytest.raises(Refused, match="contact_point_exists"):
        profile.register(None, None, twice, NOW)


def test_a_profile_is_full_at_its_bounds_and_still_published() -> None:
    customer = registered().customer
    full = Profile(
        customer,
        tuple(ContactPoint(CUSTOMER, uuid4(), Channel.SMS, "+431", "x", False, NOW) for _ in range(CONTACT_POINTS_MAX)),
        tuple(Tag(CUSTOMER, f"t{number}", NOW, words.CLERK) for number in range(TAGS_MAX)),
        tuple(
            Consent(CUSTOMER, number, f"p{number}", "granted", "consent", "1", None, None, NOW, words.CLERK)
            for number in range(PURPOSES_MAX)
        ),
    )
    published = full.published()
    assert (len(published.contact_points), len(published.tags), len(published.consents)) == (100, 1000, 1000)
    with pytest.raises(Refused, match="too_many_contact_points"):
        profile.add_contact_point(full, words.contact_point(CUSTOMER, uuid4()), NOW)
    with pytest.raises(Refused, match="too_many_tags"):
        profile.tag(full, words.tagging(CUSTOMER, "one-more"), NOW)
    with pytest.raises(Refused, match="too_many_purposes"):
        profile.record_consent(full, words.consent(CUSTOMER, "one-more"), NOW)
    assert profile.record_consent(full, words.consent(CUSTOMER, "p1", "withdrawn"), NOW) is not NOTHING


def test_an_address_changes_as_a_whole() -> None:
    known = registered()
    moved = Address(lines=("Ringstrasse 2",), city="Wien", country="AT")
    changed = after(known, profile.change_details(known, words.change(CUSTOMER, 1, address=moved), NOW))
    assert changed.customer.address == ProfileAddress(lines=("Ringstrasse 2",), city="Wien", country="AT")
    again = words.change(CUSTOMER, 2, address=moved)
    assert profile.change_details(changed, again, NOW) is NOTHING


LEGAL = {("open", "resolve"), ("resolved", "close"), ("resolved", "reopen"), ("closed", "reopen")}


@given(st.lists(st.sampled_from(["resolve", "close", "reopen"]), max_size=12))
def test_tickets_take_legal_steps_only_and_never_lose_a_timer(steps: list[str]) -> None:
    opened = tickets.open_ticket(Party(CUSTOMER, "customer"), None, words.ticket(CUSTOMER, UUID(int=2)), NOW)
    (ticket,) = opened.changes
    assert isinstance(ticket, Ticket)
    waiting: set[str] = set()
    versions = [1]
    for hour, step in enumerate(steps):
        now = NOW + timedelta(hours=hour)
        if (ticket.status, step) not in LEGAL:
            with pytest.raises(Refused, match="illegal_transition"):
                _take(ticket, step, now)
            continue
        decision = _take(ticket, step, now)
        (ticket,) = decision.changes
        assert isinstance(ticket, Ticket)
        versions += [event.version for event in decision.events if isinstance(event, TicketEvent)]
        for task in decision.tasks:
            if isinstance(task, Cancel):
                waiting.remove(task.key)
            else:
                assert isinstance(task, Task)
                assert task.due_at == now + CLOSES_AFTER
                waiting.add(task.key)
    assert versions == list(range(1, ticket.version + 1))
    assert len(waiting) == (ticket.status == "resolved")


def test_a_timer_of_an_earlier_resolution_closes_nothing() -> None:
    (ticket,) = tickets.open_ticket(Party(CUSTOMER, "customer"), None, words.ticket(CUSTOMER, UUID(int=2)), NOW).changes
    assert isinstance(ticket, Ticket)
    (ticket,) = _take(ticket, "resolve", NOW).changes
    assert isinstance(ticket, Ticket)
    early = TicketClosing(ticket_id=ticket.id, version=ticket.version)
    (ticket,) = _take(ticket, "reopen", NOW).changes
    assert isinstance(ticket, Ticket)
    assert tickets.close_when_due(ticket, early, NOW) is NOTHING
    (ticket,) = _take(ticket, "resolve", NOW).changes
    assert isinstance(ticket, Ticket)
    assert tickets.close_when_due(ticket, early, NOW) is NOTHING
    assert tickets.close_when_due(None, early, NOW) is NOTHING


def _take(ticket: Ticket, step: str, now: datetime) -> Decision:
    match step:
        case "resolve":
            return tickets.resolve(ticket, "Done.", now)
        case "close":
            return tickets.close(ticket, now)
        case _:
            return tickets.reopen(ticket, now)
