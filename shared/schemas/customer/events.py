"""What customer says happened (topic customer.events). No event here holds personal data: only ids and facts."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.schemas.answers import Accepted, Rejected
from shared.schemas.base import Code, Count, Day, Event, Flag, Id, Moment, ShortText, Value
from shared.schemas.customer.vocabulary import (
    ConsentStatus,
    CustomerKind,
    Direction,
    FeedbackKind,
    InteractionKind,
    LegalBasis,
    Priority,
    RequesterKind,
    check_score,
)
from shared.schemas.standards import Channel, Country, Locale, Zone


class CustomerEvent(Event, topic="customer.events", key="customer_id", subject="customer/{customer_id}"):
    """Something about a customer. A base: those with its subject share the versions of customer/{customer_id}."""

    customer_id: Id


class CustomerRegistered(CustomerEvent, type="kello.customer.customer-registered.v1"):
    """Somebody became a customer. Who it is stands on customer.profiles."""

    kind: CustomerKind
    locale: Locale
    country: Country
    zone: Zone


class CustomerUpdated(CustomerEvent, type="kello.customer.customer-updated.v1"):
    """What is known of a customer changed. What it is now stands on customer.profiles."""

    changed: Annotated[tuple[Code, ...], Field(min_length=1, max_length=50)]
    """The names of the fields that changed, never their values."""
    locale: Locale
    country: Country
    zone: Zone


class CustomerDeactivated(CustomerEvent, type="kello.customer.customer-deactivated.v1"):
    """No more business is done with a customer."""

    reason: Code


class ContactPointAdded(CustomerEvent, type="kello.customer.contact-point-added.v1"):
    """A customer can be reached in one more place; where stands on customer.profiles."""

    contact_point_id: Id
    channel: Channel


class ContactPointRemoved(CustomerEvent, type="kello.customer.contact-point-removed.v1"):
    """A customer is no longer reached there."""

    contact_point_id: Id
    channel: Channel


class ConsentRecorded(CustomerEvent, type="kello.customer.consent-recorded.v1"):
    """A customer agreed to a purpose, or withdrew."""

    purpose: Code
    status: ConsentStatus
    legal_basis: LegalBasis
    policy_version: ShortText
    valid_until: Day | None = None
    """The last day on which it counts; without one, until it is withdrawn."""


class CustomerTagged(CustomerEvent, type="kello.customer.customer-tagged.v1"):
    """A customer has one more tag."""

    tag: Code


class CustomerUntagged(CustomerEvent, type="kello.customer.customer-untagged.v1"):
    """A customer has one tag less."""

    tag: Code


class TicketEvent(Event, topic="customer.events", key="requester_id", subject="ticket/{ticket_id}"):
    """Something about a ticket. A base; the key is whoever asked for help."""

    ticket_id: Id
    requester_id: Id
    """The customer or employee who asked."""
    requester_kind: RequesterKind
    category: Code


class NoteAdded(CustomerEvent, type="kello.customer.note-added.v1", subject="note/{note_id}"):
    """Something was remembered about a customer; customer keeps the text."""

    note_id: Id
    pinned: Flag


class InteractionRecorded(
    CustomerEvent, type="kello.customer.interaction-recorded.v1", subject="interaction/{interaction_id}"
):
    """Somebody spoke with a customer; customer keeps what was said."""

    interaction_id: Id
    kind: InteractionKind
    direction: Direction
    occurred_at: Moment


class FeedbackReceived(CustomerEvent, type="kello.customer.feedback-received.v1", subject="feedback/{feedback_id}"):
    """A customer judged us; customer keeps the words."""

    feedback_id: Id
    kind: FeedbackKind
    score: Annotated[int, Field(strict=True, ge=0, le=10)]
    """1 to 5 for csat, 0 to 10 for nps."""
    ticket_id: Id | None = None
    purchase_id: Id | None = None

    @model_validator(mode="after")
    def _score_fits_kind(self) -> Self:
        check_score(self.kind, self.score)
        return self


class TicketOpened(TicketEvent, type="kello.customer.ticket-opened.v1"):
    """Somebody needs help; customer keeps the words."""

    priority: Priority


class TicketResolved(TicketEvent, type="kello.customer.ticket-resolved.v1"):
    """The problem is solved."""


class TicketReopened(TicketEvent, type="kello.customer.ticket-reopened.v1"):
    """The problem is back."""


class TicketClosed(TicketEvent, type="kello.customer.ticket-closed.v1"):
    """Nothing more will be done about a ticket."""


class LoyaltyCause(Value):
    """What points were given for."""

    kind: Literal["payment"]
    id: ShortText


class LoyaltyPointsEarned(
    CustomerEvent, type="kello.customer.loyalty-points-earned.v1", subject="loyalty/{customer_id}"
):
    """A customer was given points."""

    points: Annotated[int, Field(strict=True, ge=1, le=10**15, json_schema_extra={"x-unit": "point"})]
    balance: Annotated[int, Field(strict=True, ge=0, le=10**15, json_schema_extra={"x-unit": "point"})]
    """Points that the customer has now."""
    cause: LoyaltyCause


class SegmentEntered(
    CustomerEvent, type="kello.customer.segment-entered.v1", subject="segment/{customer_id}/{segment}"
):
    """A customer now fits a segment's rule."""

    segment: Code
    rule_version: Count


class SegmentExited(CustomerEvent, type="kello.customer.segment-exited.v1", subject="segment/{customer_id}/{segment}"):
    """A customer no longer fits a segment's rule."""

    segment: Code
    rule_version: Count


class CommandAccepted(Accepted, type="kello.customer.command-accepted.v1", topic="customer.events"):
    """Customer carried a command out, and nothing else tells of it."""


class CommandRejected(Rejected, type="kello.customer.command-rejected.v1", topic="customer.events"):
    """Customer refused a command."""
