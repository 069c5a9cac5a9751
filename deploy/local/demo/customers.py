"""What customers do in the month: register, change, agree, buy, book, pay in every way, complain, judge, leave."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from deploy.local.demo.message import Message, message, new_id
from deploy.local.demo.people import PLACES, Person, person
from shared.schemas.base import Payload
from shared.schemas.billing import IssueInvoice, RequestedLine
from shared.schemas.customer import (
    AddContactPoint,
    AddNote,
    Address,
    ChangeCustomerDetails,
    CloseTicket,
    DeactivateCustomer,
    NewContactPoint,
    OpenTicket,
    RecordConsent,
    RecordFeedback,
    RecordInteraction,
    RegisterCustomer,
    RemoveContactPoint,
    ReopenTicket,
    ResolveTicket,
    SetPreferredChannels,
    TagCustomer,
    UntagCustomer,
)
from shared.schemas.notify import RequestNotification
from shared.schemas.sales import BookingConfirmed, Line, PurchaseRecorded
from shared.schemas.standards import Channel

DAYS = 30
CARE, SHOP, BACK_OFFICE, CAMPAIGNS = "example/care", "example/shop", "example/back-office", "example/campaigns"

GOODS = (
    ("BOOK-101", "Atlas of rivers", 3490, "reduced"),
    ("CHAIR-7", "Oak chair", 18900, "standard"),
    ("LAMP-22", "Desk lamp", 5995, "standard"),
    ("TEA-4", "Green tea, 250 g", 1249, "reduced"),
    ("BIKE-3", "City bike", 64900, "standard"),
    ("STAMP-1", "Postage", 95, "zero"),
)
ROOM = ("ROOM-2", "Double room", 12900, "reduced")

TOKENS = (
    "tok_ok", "tok_ok", "tok_lost_reply", "tok_ok", "tok_declined", "tok_ok", "tok_pending", "tok_ok", "tok_slow",
    "tok_ok", "tok_unknown", "tok_ok", "tok_lost_request", "tok_ok", "tok_insufficient_funds", "tok_ok",
    "tok_pending_declined", "tok_throttled", "tok_duplicate", "tok_down",
)  # fmt: skip
"""The cards of those who pay by card, in turn: what the gateway sandbox does with each is in its own page."""

TRANSFERS: tuple[tuple[int, ...], ...] = ((100,), (40,), (130,), (), (40, 60), (100,))
"""How those pay who pay by transfer, in turn, in per cent: whole, partly, too much, not at all, in parts, whole."""

DOMAINS = {
    7: "greylist.example.com",
    11: "lost-reply.example.com",
    17: "bounce.example.com",
    23: "lost-mail.example.com",
}
"""Every fortieth customer has the mailbox with this trouble; the others' is a good one."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A payment that is made once the invoice is there: so many per cent of it, so many days later."""

    payment_id: UUID
    percent: int
    days: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How the invoice of an order is paid. `card_later` tries again, with a good card, when the gateway said no."""

    transfers: tuple[Transfer, ...] = ()
    card_later: UUID | None = None


@dataclass(slots=True)
class Life:
    """A customer's month as it is written down: messages in any order, and the plan for each order, by its id."""

    number: int
    who: Person
    rng: Random
    begin: datetime
    id: UUID = field(init=False)
    version: int = 0
    messages: list[Message] = field(default_factory=list)
    plans: dict[UUID, Plan] = field(default_factory=dict)
    purchases: list[UUID] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = new_id(self.begin, self.rng)

    def at(self, day: float) -> datetime:
        """A moment within the day, never on the hour."""
        return self.begin + timedelta(days=day, seconds=self.rng.randint(60, 3000))

    def new_id(self) -> UUID:
        return new_id(self.begin, self.rng)

    def says(self, source: str, payload: Payload, day: float, **trouble: Any) -> None:
        self.messages.append(message(payload, self.at(day), source, self.rng, **trouble))

    def changes(self, make: Callable[..., Payload], day: float, *, by: str = CARE, **fields: Any) -> None:
        """A command that gives the customer its next version."""
        self.version += 1
        self.says(by, make(customer_id=self.id, issued_by="care.desk", **fields), day)

    def every(self, count: int, which: int = 0) -> bool:
        """Whether this is one of every `count` customers: who does what depends on the number, not on dice."""
        return self.number % count == which

    @property
    def reads_mail(self) -> bool:
        """Whether mail is what this customer prefers, and reaches."""
        prefers_other = self.every(6, 5) or self.every(5, 1) or self.every(25, 13)
        return not prefers_other and self.number % 40 not in DOMAINS


def life(number: int, seed: str, begin: datetime) -> Life:
    """The month of one customer: the same for the same seed, however many others there are."""
    rng = Random(f"{seed}/customer/{number}")  # noqa: S311 - a script is to be repeated, not to be secret
    story = Life(number, person(number, PLACES, "c", rng), rng, begin)
    _registers(story)
    _changes(story)
    _orders(story)
    _is_cared_for(story)
    _complains(story)
    _is_written_to(story)
    if story.every(30, 29):
        story.changes(DeactivateCustomer, 29, reason="moved-away")
    return story


def _registers(story: Life) -> None:
    """In the first days; every ninth customer only after having bought, every fiftieth not at all."""
    who, place = story.who, story.who.place
    if story.every(50, 49):
        return
    day = 12 if story.every(9, 4) else story.rng.randint(0, 5)
    address = Address(lines=(who.street,), postal_code=place.postal_code, city=place.city, country=place.country)
    story.changes(
        RegisterCustomer,
        day,
        kind="organisation" if story.every(7, 3) else "person",
        name=who.name,
        locale=place.locale,
        country=place.country,
        zone=place.zone,
        tax_id=f"{place.country}{10_000_000 + story.number}" if story.every(7, 3) else None,
        address=address if not story.every(5, 2) else None,
        contact_points=tuple(_contact_points(story)),
        preferred_channels=(Channel.SMS, Channel.EMAIL) if story.every(6, 5) else (Channel.EMAIL,),
        attributes={"newsletter": story.every(2), "shoe-size": 36 + story.number % 10},
    )


def _contact_points(story: Life) -> Iterator[NewContactPoint]:
    """A mailbox and a phone; every twenty-fifth customer has neither, and reads the inbox of the app."""
    if story.every(25, 13):
        return
    domain = DOMAINS.get(story.number % 40, "example.com")
    yield NewContactPoint(contact_point_id=story.new_id(), channel=Channel.EMAIL, value=story.who.email(domain))
    yield NewContactPoint(
        contact_point_id=story.new_id(), channel=Channel.SMS, value=story.who.phone, verified=story.every(2)
    )


def _changes(story: Life) -> None:
    """After the registration, in this order: the expected version counts on it."""
    if not story.version:
        return
    _moves(story)
    _agrees(story)
    if story.every(4):
        story.changes(TagCustomer, 18, tag="regular")
        if story.every(8):
            story.changes(UntagCustomer, 26, tag="regular")
    if story.every(25, 3):  # somebody who had not seen the last change is refused
        stale = ChangeCustomerDetails(
            customer_id=story.id, issued_by="care.desk", expected_version=999, zone="Europe/Lisbon"
        )
        story.says(CARE, stale, 28)


def _moves(story: Life) -> None:
    """Another name, another place to be reached at, another way to be told."""
    if story.every(3):
        story.changes(ChangeCustomerDetails, 13, name=f"{story.who.name}-Neu", expected_version=story.version)
    if story.every(4, 1):
        point = story.new_id()
        value = story.who.email("office.example.com")
        story.changes(
            AddContactPoint, 14, contact_point_id=point, channel=Channel.EMAIL, value=value, purpose="invoices"
        )
        if story.every(8, 5):
            story.changes(RemoveContactPoint, 27, contact_point_id=point)
    if story.every(5, 1):
        story.changes(SetPreferredChannels, 15, channels=(Channel.IN_APP, Channel.EMAIL))


def _agrees(story: Life) -> None:
    """Consents given and withdrawn."""
    if story.every(2):
        story.changes(RecordConsent, 16, purpose="marketing", status="granted", policy_version="2026-01")
    if story.every(10, 6):
        story.changes(RecordConsent, 20, purpose="marketing", status="withdrawn", policy_version="2026-01")
    if story.every(12, 8):
        story.changes(RecordConsent, 17, purpose="service", status="withdrawn", policy_version="2026-01")


def _orders(story: Life) -> None:
    """One to three purchases, sometimes a booking or an invoice by hand; by card or by transfer, in every way."""
    for n in range(story.rng.randint(1, 3)):
        purchase_id = story.new_id()
        by_card = (story.number + n) % 3 == 0
        token = _card(story, story.number + n) if by_card else None
        story.purchases.append(purchase_id)
        story.plans[purchase_id] = _plan(story, story.number + n, by_card=by_card)
        purchase = PurchaseRecorded(
            version=1,
            purchase_id=purchase_id,
            customer_id=story.id,
            currency=story.who.place.currency,
            country=story.who.place.country,
            lines=tuple(_line(story.rng, story.who.place.currency) for _ in range(story.rng.randint(1, 3))),
            prices_include_tax=story.every(2, 1),
            payment_token=token,
        )
        story.says(SHOP, purchase, 6 + 6 * n)
    if story.every(5):
        _books(story)
    if story.every(20, 6):
        _is_billed_by_hand(story)


def _books(story: Life) -> None:
    booking_id = story.new_id()
    starts_on = (story.begin + timedelta(days=40)).date()
    story.plans[booking_id] = _plan(story, story.number, by_card=False)
    booking = BookingConfirmed(
        version=1,
        booking_id=booking_id,
        customer_id=story.id,
        currency=story.who.place.currency,
        country=story.who.place.country,
        starts_on=starts_on,
        ends_on=starts_on + timedelta(days=3),
        lines=(_line_of(ROOM, 3, story.who.place.currency),),
        prices_include_tax=True,
    )
    story.says(SHOP, booking, 9)


def _is_billed_by_hand(story: Life) -> None:
    invoice_id = story.new_id()
    line = _line(story.rng, story.who.place.currency)
    invoice = IssueInvoice(
        customer_id=story.id,
        issued_by="back.office",
        invoice_id=invoice_id,
        currency=story.who.place.currency,
        country=story.who.place.country,
        lines=(RequestedLine(**line.model_dump()),),
    )
    story.plans[invoice_id] = _plan(story, story.number, by_card=False)
    story.says(BACK_OFFICE, invoice, 19)


def _card(story: Life, turn: int) -> str:
    return f"{TOKENS[turn // 3 % len(TOKENS)]}-{story.number}"


def _plan(story: Life, turn: int, *, by_card: bool) -> Plan:
    if by_card:
        return Plan(card_later=story.new_id() if turn % 2 else None)
    percents = TRANSFERS[turn % len(TRANSFERS)]
    return Plan(tuple(Transfer(story.new_id(), percent, 3 * n) for n, percent in enumerate(percents, 1)))


def _line(rng: Random, currency: str) -> Line:
    return _line_of(rng.choice(GOODS), rng.randint(1, 4), currency)


def _line_of(goods: tuple[str, str, int, str], quantity: int, currency: str) -> Line:
    """Prices in minor units; yen have none, so they cost about as many of the whole ones."""
    sku, description, price, tax_class = goods
    unit_price = price * 2 if currency == "JPY" else price
    discount = unit_price // 10 if quantity > 2 else 0
    return Line(
        sku=sku,
        description=description,
        quantity=quantity,
        unit_price=unit_price,
        discount=discount,
        tax_class=tax_class,
    )


def _is_cared_for(story: Life) -> None:
    """Notes, calls, and what customers think of us."""
    if not story.version:
        return
    if story.every(3, 1):
        text = f"Asked for a quote on behalf of {story.who.name}."
        note = AddNote(customer_id=story.id, issued_by="care.desk", note_id=story.new_id(), text=text, pinned=True)
        story.says(CARE, note, 21)
    if story.every(4, 2):
        call = RecordInteraction(
            customer_id=story.id,
            issued_by="care.desk",
            interaction_id=story.new_id(),
            kind="call",
            direction="inbound",
            occurred_at=story.at(21),
            summary=f"Called back at {story.who.phone}.",
        )
        story.says(CARE, call, 22)
    if story.every(5, 4):
        nps = RecordFeedback(
            customer_id=story.id,
            issued_by="survey",
            feedback_id=story.new_id(),
            kind="nps",
            score=story.rng.randint(0, 10),
            text="Fast delivery, friendly people.",
            purchase_id=story.purchases[0],
        )
        story.says(CARE, nps, 25)


def _complains(story: Life) -> None:
    """A fifth opens a ticket: most are resolved, some come back, some are closed, some stay open."""
    if not story.version or not story.every(5, 3):
        return
    ticket = {"ticket_id": story.new_id(), "requester_id": story.id, "issued_by": "care.desk"}
    text = f"{story.who.name} writes: the parcel came late and wet."
    story.says(CARE, OpenTicket(**ticket, subject_line="Wet parcel", text=text, category="delivery"), 20)
    if story.every(20, 18):
        return
    story.says(CARE, ResolveTicket(**ticket, resolution="Sent a new one."), 22)
    if story.every(15, 8):
        story.says(CARE, ReopenTicket(**ticket), 23)
        story.says(CARE, ResolveTicket(**ticket, resolution="Sent another one, dry."), 24)
    if not story.every(10, 3):
        story.says(CARE, CloseTicket(**ticket), 26)


def _is_written_to(story: Life) -> None:
    """A newsletter for some: those who agreed get it, the others' decision says why not."""
    if not story.version or not story.every(10, 2):
        return
    letter = RequestNotification(
        notification_id=story.new_id(),
        recipient_id=story.id,
        issued_by="campaigns",
        template="newsletter",
        category="marketing",
        data={"title": "What is new", "body": "Oak chairs are back."},
    )
    story.says(CAMPAIGNS, letter, 28)
