"""The life of a notification, pure: every event counts, every decision has its reasons."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain import notification as notifications
from services.notify.domain.catalogue import INVOICE_ISSUED
from services.notify.domain.notification import Cause, Letter, Notification, Step, Texts
from services.notify.domain.recipient import Address, Consent, Recipient, changed, from_profile, hired
from services.notify.domain.route import Route, choose
from services.notify.domain.tasks import SEND_EMAIL, SEND_SMS, TurnedAway
from shared.messaging.decision import NOTHING, Cancel, Decision, Task
from shared.schemas.hr import EmployeeChanged
from shared.schemas.notify import NotificationFailed, NotificationSent, NotificationSuppressed
from shared.schemas.standards import Channel
from tests.notify import said

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNKNOWN = Recipient(UUID(int=1))
ADA = replace(
    UNKNOWN,
    status="active",
    name="Ada",
    locale="en",
    addresses=(Address(Channel.EMAIL, "ada@example.com"), Address(Channel.SMS, "+4366012345678")),
)
TOLD = Notification(
    UUID(int=2),
    ADA.id,
    INVOICE_ISSUED.name,
    INVOICE_ISSUED.category,
    Cause("tests", "1", "kello.billing.invoice-issued.v1", NOW),
    NOW,
    NOW + timedelta(days=7),
    {"number": "1"},
)
TEXTS = Texts("en", "subject", "text", "<p>html</p>", "short")


def render(_notification: Notification, _recipient: Recipient) -> Texts:
    return TEXTS


@dataclass
class Story:
    """A notification and its recipient through one decision after the other, as the kit would apply them."""

    told: Notification = TOLD
    recipient: Recipient = UNKNOWN
    letter: Letter | None = None
    events: list[Any] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    tasks: dict[tuple[str, str], Task] = field(default_factory=dict)

    def apply(self, decision: Decision) -> None:
        for change in decision.changes:
            match change:
                case Notification():
                    self.told = change
                case Recipient():
                    self.recipient = change
                case Letter():
                    self.letter = change
                case Step():
                    self.steps.append(change)
        self.events += decision.events
        for task in decision.tasks:
            if isinstance(task, Cancel):
                self.tasks.pop((task.kind, task.key), None)
            else:
                self.tasks[task.kind, task.key] = task

    @property
    def calls(self) -> list[Task]:
        return [task for (kind, _), task in self.tasks.items() if kind in {SEND_EMAIL, SEND_SMS}]


def test_what_waited_is_handed_over_when_the_profile_comes_and_its_timer_goes() -> None:
    story = Story()
    story.apply(notifications.decide(story.told, UNKNOWN, NOW, render))
    waiting = story.told
    assert waiting.state == "deferred"
    assert notifications.decide(waiting, UNKNOWN, NOW, render) == NOTHING
    (timer,) = story.tasks.values()
    assert timer.due_at == NOW + notifications.UNKNOWN_RECIPIENT_WAIT
    story.apply(notifications.decide(story.told, ADA, NOW, render))
    assert story.told.state == "sending"
    assert [call.kind for call in story.calls] == [SEND_EMAIL]
    assert ("recipient-unknown", str(TOLD.id)) not in story.tasks
    assert story.told.fields == {}


def test_the_wait_for_a_profile_ends_with_the_validity() -> None:
    brief = replace(TOLD, expires_at=NOW + timedelta(hours=1))
    (timer,) = notifications.decide(brief, UNKNOWN, NOW, render).tasks
    assert isinstance(timer, Task)
    assert timer.due_at == brief.expires_at
    story = Story(brief)
    story.apply(notifications.waited_too_long(replace(brief, steps=1), NOW + timedelta(hours=1, seconds=1)))
    assert story.told.reason == "expired"


def test_an_expired_cause_is_told_to_nobody_known_or_not() -> None:
    for recipient in (UNKNOWN, ADA):
        decision = notifications.decide(TOLD, recipient, NOW + timedelta(days=7, seconds=1), render)
        (event,) = decision.events
        assert isinstance(event, NotificationSuppressed)
        assert event.reason == "expired"
        assert not any(isinstance(task, Task) for task in decision.tasks)


def test_after_the_last_way_it_has_failed_with_the_last_reason() -> None:
    story = Story(replace(TOLD, only=(Channel.EMAIL, Channel.SMS)), ADA)
    story.apply(notifications.decide(story.told, ADA, NOW, render))
    for route, code in ((Route(Channel.EMAIL, "ada@example.com"), "refused"), (_phone(), "unreachable")):
        story.apply(
            notifications.turned_away(story.told, story.recipient, story.letter, route, TurnedAway(code), now=NOW)
        )
    (event,) = story.events
    assert isinstance(event, NotificationFailed)
    assert (event.channel, event.reason) == (Channel.SMS, "unreachable")
    assert [step.verdict for step in story.steps] == ["sending", "sending", "failed"]
    assert story.told.tried == ()
    assert story.recipient.bounces == ()


def _phone() -> Route:
    return Route(Channel.SMS, "+4366012345678")


def test_each_way_has_an_idempotency_key_of_its_own() -> None:
    story = Story(TOLD, ADA)
    story.apply(notifications.decide(story.told, ADA, NOW, render))
    mail = Route(Channel.EMAIL, "ada@example.com")
    story.apply(notifications.turned_away(story.told, ADA, story.letter, mail, TurnedAway("refused"), now=NOW))
    assert len({call.key for call in story.calls}) == 2


def test_no_other_way_is_taken_once_it_is_too_late_or_its_words_are_gone() -> None:
    story = Story(TOLD, ADA)
    story.apply(notifications.decide(story.told, ADA, NOW, render))
    mail = Route(Channel.EMAIL, "ada@example.com")
    for letter, now in ((story.letter, NOW + timedelta(days=8)), (None, NOW)):
        decision = notifications.turned_away(
            story.told, ADA, letter, mail, TurnedAway("no-such-address", address_is_bad=True), now=now
        )
        (event,) = decision.events
        assert isinstance(event, NotificationFailed)
        assert event.reason == "expired"


def test_an_uncertain_hand_over_is_told_once_and_can_still_end_well() -> None:
    story = Story(TOLD, ADA)
    story.apply(notifications.decide(story.told, ADA, NOW, render))
    story.apply(notifications.uncertain(story.told, Channel.EMAIL, NOW))
    assert notifications.uncertain(story.told, Channel.EMAIL, NOW) == NOTHING
    story.apply(notifications.sent(story.told, Channel.EMAIL, "<1@example.com>", NOW))
    assert [(type(event).__name__, event.version) for event in story.events] == [
        ("NotificationUnknown", 1),
        ("NotificationSent", 2),
    ]


def test_an_objection_that_comes_between_two_ways_closes_the_second() -> None:
    letter = replace(TOLD, template="service-message", category="service")
    story = Story(letter, ADA)
    story.apply(notifications.decide(story.told, ADA, NOW, render))
    objects = replace(ADA, consents={"service": Consent(granted=False)})
    mail = Route(Channel.EMAIL, "ada@example.com")
    story.apply(notifications.turned_away(story.told, objects, story.letter, mail, TurnedAway("refused"), now=NOW))
    assert (story.told.state, story.told.reason) == ("suppressed", "objected")
    assert story.steps[-1].reasons == ("email:refused", "category:service", "consent:withdrawn")


def test_what_never_expires_waits_three_days_for_its_recipient() -> None:
    lasting = replace(TOLD, expires_at=None)
    (timer,) = notifications.decide(lasting, UNKNOWN, NOW, render).tasks
    assert isinstance(timer, Task)
    assert timer.due_at == NOW + timedelta(days=3)
    story = Story(replace(lasting, steps=1))
    story.apply(notifications.waited_too_long(story.told, NOW + timedelta(days=3)))
    assert story.told.reason == "unknown-recipient"


def test_whoever_is_erased_is_told_nothing() -> None:
    story = Story(TOLD, replace(UNKNOWN, status="erased"))
    story.apply(notifications.decide(story.told, story.recipient, NOW, render))
    assert (story.told.state, story.told.reason) == ("suppressed", "erased")


def test_what_was_erased_while_a_call_was_under_way_may_still_have_been_sent() -> None:
    story = Story(TOLD, ADA)
    story.apply(notifications.decide(story.told, ADA, NOW, render))
    story.apply(notifications.forgotten(story.told, NOW))
    assert (story.told.state, story.calls) == ("suppressed", [])
    story.apply(notifications.sent(story.told, Channel.EMAIL, "<1@example.com>", NOW))
    assert (story.told.state, story.told.reason, story.told.version) == ("sent", None, 2)


@pytest.mark.parametrize("late", ["sent", "uncertain", "turned_away", "given_up", "waited_too_long"])
def test_nothing_follows_from_an_outcome_that_comes_after_it_was_sent(late: str) -> None:
    story = Story(TOLD, ADA)
    story.apply(notifications.decide(story.told, ADA, NOW, render))
    story.apply(notifications.sent(story.told, Channel.EMAIL, "<1@example.com>", NOW))
    decisions = {
        "sent": notifications.sent(story.told, Channel.EMAIL, "<1@example.com>", NOW),
        "uncertain": notifications.uncertain(story.told, Channel.EMAIL, NOW),
        "turned_away": notifications.turned_away(
            story.told, ADA, story.letter, _phone(), TurnedAway("refused"), now=NOW
        ),
        "given_up": notifications.given_up(story.told, Channel.EMAIL, "uncertain", NOW),
        "waited_too_long": notifications.waited_too_long(story.told, NOW),
    }
    assert decisions[late] == NOTHING


OUTCOMES = ("sent", "uncertain", "turned-away", "bounced", "given-up", "profile", "too-long", "erased")


@given(st.sampled_from([UNKNOWN, ADA]), st.lists(st.sampled_from(OUTCOMES), max_size=12))
def test_whatever_happens_versions_and_steps_are_gapless_and_every_end_has_one_event(
    recipient: Recipient, happens: Sequence[str]
) -> None:
    story = Story(recipient=recipient)
    story.apply(notifications.decide(story.told, story.recipient, NOW, render))
    for what in happens:
        story.apply(_happens(story, what))
        assert story.told.version == len(story.events)
        assert [event.version for event in story.events] == list(range(1, len(story.events) + 1))
        assert [step.n for step in story.steps] == list(range(1, len(story.steps) + 1))
        assert story.told.steps == len(story.steps)
        if story.told.state in {"sent", "suppressed", "failed"}:
            assert isinstance(story.events[-1], NotificationSent | NotificationSuppressed | NotificationFailed)
            assert (story.told.fields, story.told.tried) == ({}, ())
        if story.told.state == "sending":
            assert any(call.key.startswith(str(TOLD.id)) for call in story.calls)
        assert all(step.reasons for step in story.steps if step.verdict != "sent")
    assert sum(isinstance(event, NotificationSent) for event in story.events) <= 1


def _happens(story: Story, what: str) -> Decision:
    """An outcome comes only of a call that was made; a profile decides only what waits."""
    told = story.told
    if what == "too-long":
        return notifications.waited_too_long(told, NOW)
    if what == "erased" and told.state in notifications.OPEN:
        return notifications.forgotten(told, NOW)
    if what == "profile" and told.state == "deferred":
        story.recipient = ADA
        return notifications.decide(told, ADA, NOW, render)
    return _comes_of_a_call(story, what, told.tried[-1]) if told.tried else NOTHING


def _comes_of_a_call(story: Story, what: str, route: Route) -> Decision:
    match what:
        case "sent":
            return notifications.sent(story.told, route.channel, "id", NOW, "attempts:1")
        case "uncertain":
            return notifications.uncertain(story.told, route.channel, NOW)
        case "turned-away" | "bounced":
            result = TurnedAway("refused", address_is_bad=what == "bounced")
            return notifications.turned_away(story.told, story.recipient, story.letter, route, result, now=NOW)
        case "given-up":
            return notifications.given_up(story.told, route.channel, "uncertain", NOW)
    return NOTHING


@pytest.mark.parametrize(
    "hostile",
    ["a@example.com\r\nBcc: b@example.com", "a b@example.com", "<a@example.com>", "a@b@c", "a@", "plain", "a\u2028@x"],
)
def test_an_address_that_could_break_a_header_is_never_used(hostile: str) -> None:
    profile = said.profile(ADA.id, said.email(hostile), said.phone("0660 1"))
    copy = from_profile(UNKNOWN, profile, NOW)
    assert copy is not None
    choice = choose(copy, INVOICE_ISSUED, NOW.date())
    assert choice.route == Route(Channel.IN_APP)
    assert choice.reasons[-3:] == ("email:invalid", "sms:invalid", "in_app:chosen")


def test_what_changed_before_somebody_was_known_to_be_hired_is_not_lost() -> None:
    employee = UUID(int=5)
    change = EmployeeChanged(employee_id=employee, version=2, email="new@example.com")
    early = changed(Recipient(employee), change, NOW)
    assert early is not None
    assert not early.is_known
    late = hired(early, said.hired(employee, phone="+4366012345678"), NOW)
    assert late is not None
    assert (late.status, late.name, late.source_version) == ("active", "Grete Hermann", 2)
    assert {address.value for address in late.addresses} == {"new@example.com", "+4366012345678"}
    assert hired(late, said.hired(employee), NOW) is None
    assert changed(late, change, NOW) is None
