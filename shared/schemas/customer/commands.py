"""What customer is asked (topic customer.commands). Commands hold personal data; every one is answered."""

from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from shared.schemas.base import Code, Command, CommandValue, Day, Flag, Id, LongText, Moment, ShortText, Version
from shared.schemas.customer.vocabulary import (
    Attributes,
    Channels,
    ConsentStatus,
    CustomerKind,
    Direction,
    FeedbackKind,
    InteractionKind,
    LegalBasis,
    Priority,
    check_score,
)
from shared.schemas.standards import Channel, Country, Locale, Zone, email, phone


class CustomerCommand(Command, topic="customer.commands", key="customer_id", subject="customer/{customer_id}"):
    """Something to do about a customer. A base."""

    customer_id: Id


class TicketCommand(Command, topic="customer.commands", key="requester_id", subject="ticket/{ticket_id}"):
    """Something to do about a ticket. A base; the key is whoever asked for help."""

    ticket_id: Id
    requester_id: Id
    """The customer or employee who asked."""


class Address(CommandValue):
    """A postal address."""

    lines: Annotated[tuple[ShortText, ...], Field(min_length=1, max_length=4)]
    """Street and house, as they are printed."""
    postal_code: Annotated[ShortText, Field(max_length=20)] | None = None
    city: ShortText
    region: ShortText | None = None
    """State or province, where the country prints it."""
    country: Country


class NewContactPoint(CommandValue):
    """Where a customer can be reached. Its value is brought into its normal form: E.164, lower-case mail domain."""

    contact_point_id: Id
    channel: Channel
    """email or sms: the app needs no address."""
    value: Annotated[str, Field(min_length=3, max_length=254)]
    """An email address, or a phone number as in E.164."""
    purpose: Code = "general"
    """What to use it for: `general`, `invoices`, `private` …"""
    verified: Flag = False
    """Whether the customer has proved to be reached there."""

    @field_validator("channel")
    @classmethod
    def _has_addresses(cls, channel: Channel) -> Channel:
        if channel is Channel.IN_APP:
            raise ValueError("a contact point is an email address or a phone number: the app needs none")
        return channel

    @field_validator("value")
    @classmethod
    def _in_normal_form(cls, value: str, info: ValidationInfo) -> str:
        match info.data.get("channel"):
            case Channel.EMAIL:
                return email(value)
            case Channel.SMS:
                return phone(value)
            case _:
                return value


class RegisterCustomer(CustomerCommand, type="kello.customer.register-customer.v1"):
    """Somebody becomes a customer. Answered by CustomerRegistered."""

    kind: CustomerKind
    name: ShortText
    locale: Locale
    country: Country
    zone: Zone
    birth_date: Day | None = None
    tax_id: ShortText | None = None
    address: Address | None = None
    contact_points: Annotated[tuple[NewContactPoint, ...], Field(max_length=20)] = ()
    preferred_channels: Channels = ()
    attributes: Attributes = Field(default={})


class ChangeCustomerDetails(CustomerCommand, type="kello.customer.change-customer-details.v1"):
    """Change what is known of a customer. A field that is absent or null stays as it was.

    Answered by CustomerUpdated; refused where the customer's version is not the expected one.
    """

    expected_version: Version
    """The version that the sender saw last."""
    name: ShortText | None = None
    locale: Locale | None = None
    country: Country | None = None
    zone: Zone | None = None
    birth_date: Day | None = None
    tax_id: ShortText | None = None
    address: Address | None = None
    attributes: Attributes | None = None
    """All of them: what is not in it is gone."""


class DeactivateCustomer(CustomerCommand, type="kello.customer.deactivate-customer.v1"):
    """Do no more business with a customer. Answered by CustomerDeactivated."""

    reason: Code


class AddContactPoint(NewContactPoint, CustomerCommand, type="kello.customer.add-contact-point.v1"):
    """A customer can be reached in one more place. Answered by ContactPointAdded."""


class RemoveContactPoint(CustomerCommand, type="kello.customer.remove-contact-point.v1"):
    """A customer is no longer reached there. Answered by ContactPointRemoved."""

    contact_point_id: Id


class SetPreferredChannels(CustomerCommand, type="kello.customer.set-preferred-channels.v1"):
    """How a customer wants to be told. Answered by CustomerUpdated."""

    channels: Annotated[Channels, Field(min_length=1)]
    """The best first."""


class RecordConsent(CustomerCommand, type="kello.customer.record-consent.v1"):
    """A customer agreed to a purpose, or withdrew (fields of ISO/IEC TS 27560). Answered by ConsentRecorded."""

    purpose: Code
    """What for: `marketing`, `profiling` …"""
    status: ConsentStatus
    legal_basis: LegalBasis = "consent"
    policy_version: ShortText
    """The version of the text that the customer saw."""
    evidence: ShortText | None = None
    """Where the proof lies."""
    valid_until: Day | None = None
    """The last day on which it counts; without one, until it is withdrawn."""


class TagCustomer(CustomerCommand, type="kello.customer.tag-customer.v1"):
    """Put a tag on a customer. Answered by CustomerTagged."""

    tag: Code


class UntagCustomer(CustomerCommand, type="kello.customer.untag-customer.v1"):
    """Take a tag off a customer. Answered by CustomerUntagged."""

    tag: Code


class AddNote(CustomerCommand, type="kello.customer.add-note.v1", subject="note/{note_id}"):
    """Remember something about a customer. Answered by NoteAdded."""

    note_id: Id
    text: LongText
    pinned: Flag = False
    """Whether it is to be seen first."""


class RecordInteraction(
    CustomerCommand, type="kello.customer.record-interaction.v1", subject="interaction/{interaction_id}"
):
    """Somebody spoke with a customer. Answered by InteractionRecorded."""

    interaction_id: Id
    kind: InteractionKind
    direction: Direction
    occurred_at: Moment
    summary: LongText


class RecordFeedback(CustomerCommand, type="kello.customer.record-feedback.v1", subject="feedback/{feedback_id}"):
    """A customer judged us. Answered by FeedbackReceived."""

    feedback_id: Id
    kind: FeedbackKind
    score: Annotated[int, Field(strict=True, ge=0, le=10)]
    """1 to 5 for csat, 0 to 10 for nps."""
    text: LongText | None = None
    ticket_id: Id | None = None
    purchase_id: Id | None = None

    @model_validator(mode="after")
    def _score_fits_kind(self) -> Self:
        check_score(self.kind, self.score)
        return self


class OpenTicket(TicketCommand, type="kello.customer.open-ticket.v1"):
    """A customer asks for help. Answered by TicketOpened."""

    subject_line: ShortText
    """What it is about."""
    text: LongText
    category: Code
    priority: Priority = "normal"


class ResolveTicket(TicketCommand, type="kello.customer.resolve-ticket.v1"):
    """The problem is solved. Answered by TicketResolved."""

    resolution: LongText | None = None


class ReopenTicket(TicketCommand, type="kello.customer.reopen-ticket.v1"):
    """The problem is back. Answered by TicketReopened."""


class CloseTicket(TicketCommand, type="kello.customer.close-ticket.v1"):
    """Nothing more will be done about a ticket. Answered by TicketClosed."""
