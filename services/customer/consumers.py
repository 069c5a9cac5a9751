"""Which message leads to which decision; what a batch loads, and what it saves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from services.customer.domain import care, history, loyalty, profile, salaries, segments, tickets
from services.customer.domain.care import Feedback, Interaction, Note
from services.customer.domain.customer import Consent, ContactPoint, Customer, Profile, Tag
from services.customer.domain.history import AccountBalance, PaidTotal, TimelineEntry
from services.customer.domain.loyalty import LoyaltyAccount, LoyaltyEntry
from services.customer.domain.party import Party, joined
from services.customer.domain.salaries import SalaryPayment
from services.customer.domain.segments import Facts, Membership
from services.customer.domain.tickets import CLOSE_RESOLVED_TICKET, Ticket, TicketClosing
from services.customer.store import care as care_store
from services.customer.store import history as history_store
from services.customer.store import parties, profiles, rewards, tables
from shared.messaging.database import Tx
from shared.messaging.decision import NOTHING, Decision, Due, Ids, Message, Outcome, Refused
from shared.messaging.handlers import Handlers
from shared.messaging.working_set import WorkingSet
from shared.schemas import billing, notify, payroll, sales
from shared.schemas import customer as schemas


class Care(WorkingSet):
    """What a batch knows of the parties that its messages are about."""

    def party(self, party_id: UUID) -> Party | None:
        return self.find(Party, party_id)

    def newcomer(self, party_id: UUID) -> tuple[Party, ...]:
        """The root for somebody of whom nothing is known yet; nothing for everybody else."""
        return () if self.party(party_id) is not None else (Party(party_id, "unknown"),)

    def employee(self, party_id: UUID) -> tuple[Party, ...]:
        """The root for an employee, unless it is one already. Whoever is a customer stays one."""
        party = self.party(party_id)
        return (Party(party_id, "employee"),) if party is None or party.kind == "unknown" else ()

    def is_customer(self, party_id: UUID) -> bool:
        party = self.party(party_id)
        return party is not None and party.kind == "customer"

    def check_customer(self, party_id: UUID) -> None:
        if not self.is_customer(party_id):
            raise Refused("unknown_customer", "there is no customer with this id: send RegisterCustomer first")

    def known_profile(self, customer_id: UUID) -> Profile | None:
        customer = self.find(Customer, customer_id)
        if customer is None:
            return None
        return Profile(
            customer,
            tuple(self.under(ContactPoint, customer_id)),
            tuple(self.under(Tag, customer_id)),
            tuple(self.under(Consent, customer_id)),
        )

    def profile(self, customer_id: UUID) -> Profile:
        self.check_customer(customer_id)
        known = self.known_profile(customer_id)
        assert known is not None  # noqa: S101 - a party is a customer only together with its row
        return known

    def ticket(self, command: schemas.TicketCommand) -> Ticket:
        """Somebody else's ticket is not known under this requester, whose lock is the one that is held."""
        ticket = self.find(Ticket, command.ticket_id)
        if ticket is None or ticket.requester_id != command.requester_id:
            raise Refused("unknown_ticket", "requester_id has no ticket with this id: open it first, with OpenTicket")
        return ticket

    def ticket_about(self, employee_id: UUID, payslip_id: UUID) -> Ticket | None:
        return next((each for each in self.under(Ticket, employee_id) if each.payslip_id == payslip_id), None)

    def facts(self, customer_id: UUID) -> Facts:
        """What segments' rules may ask."""
        customer = self.find(Customer, customer_id)
        account = self.find(LoyaltyAccount, customer_id)
        return Facts(
            is_active=customer is not None and customer.status == "active",
            tags=frozenset(tag.tag for tag in self.under(Tag, customer_id) if tag.untagged_at is None),
            points=account.points if account is not None else 0,
            paid={total.currency: total.amount for total in self.under(PaidTotal, customer_id)},
        )


handlers = Handlers[Care]()


@handlers.command(schemas.RegisterCustomer)
def register(state: Care, message: Message[schemas.RegisterCustomer], now: datetime, _ids: Ids) -> Decision:
    """Facts that came before the registration take effect with it: points are announced, segments entered."""
    customer_id = message.payload.customer_id
    registered = profile.register(state.party(customer_id), state.known_profile(customer_id), message.payload, now)
    if registered is NOTHING:
        return NOTHING
    waiting = [entry for entry in state.under(LoyaltyEntry, customer_id) if entry.version is None]
    earned = loyalty.announce(state.find(LoyaltyAccount, customer_id), waiting)
    return _with_segments(state, customer_id, joined(registered, earned), now)


@handlers.command(schemas.ChangeCustomerDetails)
def change_details(state: Care, message: Message[schemas.ChangeCustomerDetails], now: datetime, _ids: Ids) -> Decision:
    return profile.change_details(state.profile(message.payload.customer_id), message.payload, now)


@handlers.command(schemas.DeactivateCustomer)
def deactivate(state: Care, message: Message[schemas.DeactivateCustomer], now: datetime, _ids: Ids) -> Decision:
    customer_id = message.payload.customer_id
    decision = profile.deactivate(state.profile(customer_id), message.payload, now)
    return _with_segments(state, customer_id, decision, now)


@handlers.command(schemas.AddContactPoint)
def add_contact_point(state: Care, message: Message[schemas.AddContactPoint], now: datetime, _ids: Ids) -> Decision:
    return profile.add_contact_point(state.profile(message.payload.customer_id), message.payload, now)


@handlers.command(schemas.RemoveContactPoint)
def remove_contact_point(
    state: Care, message: Message[schemas.RemoveContactPoint], now: datetime, _ids: Ids
) -> Decision:
    return profile.remove_contact_point(state.profile(message.payload.customer_id), message.payload, now)


@handlers.command(schemas.SetPreferredChannels)
def set_preferred_channels(
    state: Care, message: Message[schemas.SetPreferredChannels], now: datetime, _ids: Ids
) -> Decision:
    return profile.set_preferred_channels(state.profile(message.payload.customer_id), message.payload, now)


@handlers.command(schemas.RecordConsent)
def record_consent(state: Care, message: Message[schemas.RecordConsent], now: datetime, _ids: Ids) -> Decision:
    return profile.record_consent(state.profile(message.payload.customer_id), message.payload, now)


@handlers.command(schemas.TagCustomer)
def tag(state: Care, message: Message[schemas.TagCustomer], now: datetime, _ids: Ids) -> Decision:
    customer_id = message.payload.customer_id
    return _with_segments(state, customer_id, profile.tag(state.profile(customer_id), message.payload, now), now)


@handlers.command(schemas.UntagCustomer)
def untag(state: Care, message: Message[schemas.UntagCustomer], now: datetime, _ids: Ids) -> Decision:
    customer_id = message.payload.customer_id
    return _with_segments(state, customer_id, profile.untag(state.profile(customer_id), message.payload, now), now)


@handlers.command(schemas.AddNote)
def add_note(state: Care, message: Message[schemas.AddNote], now: datetime, _ids: Ids) -> Decision:
    state.check_customer(message.payload.customer_id)
    return care.add_note(state.find(Note, message.payload.note_id), message.payload, now)


@handlers.command(schemas.RecordInteraction)
def record_interaction(state: Care, message: Message[schemas.RecordInteraction], now: datetime, _ids: Ids) -> Decision:
    state.check_customer(message.payload.customer_id)
    return care.record_interaction(state.find(Interaction, message.payload.interaction_id), message.payload, now)


@handlers.command(schemas.RecordFeedback)
def record_feedback(state: Care, message: Message[schemas.RecordFeedback], now: datetime, _ids: Ids) -> Decision:
    state.check_customer(message.payload.customer_id)
    return care.record_feedback(state.find(Feedback, message.payload.feedback_id), message.payload, now)


@handlers.command(schemas.OpenTicket)
def open_ticket(state: Care, message: Message[schemas.OpenTicket], now: datetime, _ids: Ids) -> Decision:
    command = message.payload
    return tickets.open_ticket(state.party(command.requester_id), state.find(Ticket, command.ticket_id), command, now)


@handlers.command(schemas.ResolveTicket)
def resolve_ticket(state: Care, message: Message[schemas.ResolveTicket], now: datetime, _ids: Ids) -> Decision:
    return tickets.resolve(state.ticket(message.payload), message.payload.resolution, now)


@handlers.command(schemas.ReopenTicket)
def reopen_ticket(state: Care, message: Message[schemas.ReopenTicket], now: datetime, _ids: Ids) -> Decision:
    return tickets.reopen(state.ticket(message.payload), now)


@handlers.command(schemas.CloseTicket)
def close_ticket(state: Care, message: Message[schemas.CloseTicket], now: datetime, _ids: Ids) -> Decision:
    return tickets.close(state.ticket(message.payload), now)


@handlers.outcome(CLOSE_RESOLVED_TICKET)
def close_resolved_ticket(
    state: Care, message: Message[Outcome[TicketClosing, Due]], now: datetime, _ids: Ids
) -> Decision:
    timer = message.payload.task
    return tickets.close_when_due(state.find(Ticket, timer.ticket_id), timer, now)


@handlers.projection(sales.PurchaseRecorded)
@handlers.projection(sales.BookingConfirmed)
@handlers.projection(billing.InvoiceIssued)
@handlers.projection(billing.InvoicePaid)
@handlers.projection(billing.PaymentFailed)
@handlers.projection(notify.NotificationSent)
@handlers.projection(notify.NotificationFailed)
@handlers.projection(notify.NotificationSuppressed)
@handlers.projection(notify.NotificationUnknown)
def keep_entry(state: Care, message: Message[history.Told], _now: datetime, ids: Ids) -> Decision:
    entry = history.entry_of(message.payload, message.time, ids.next())
    if not _is_newer(state.find(TimelineEntry, entry.key), entry):
        return NOTHING
    return Decision((*state.newcomer(entry.party_id), entry))


@handlers.projection(billing.PaymentReceived)
def keep_payment(state: Care, message: Message[billing.PaymentReceived], _now: datetime, ids: Ids) -> Decision:
    """The entry, and the sum of what was paid: each payment counts once, however often it is told."""
    payment = message.payload
    entry = history.entry_of(payment, message.time, ids.next())
    known = state.find(TimelineEntry, entry.key)
    if not _is_newer(known, entry):
        return NOTHING
    if known is not None:
        return Decision((entry,))
    total = history.paid_more(state.find(PaidTotal, (payment.customer_id, payment.currency)), payment)
    return Decision((*state.newcomer(payment.customer_id), entry, total))


@handlers.reaction(billing.PaymentReceived)
def reward_payment(state: Care, message: Message[billing.PaymentReceived], now: datetime, _ids: Ids) -> Decision:
    """Points, and perhaps a segment. Before the registration points wait, and nobody is in a segment."""
    payment = message.payload
    is_registered = state.is_customer(payment.customer_id)
    earned = loyalty.earn(
        state.find(LoyaltyAccount, payment.customer_id),
        state.find(LoyaltyEntry, payment.payment_id),
        payment,
        message.time,
        is_registered=is_registered,
    )
    return _with_segments(state, payment.customer_id, earned, now) if is_registered else earned


@handlers.projection(billing.AccountBalanceChanged)
def keep_balance(state: Care, message: Message[billing.AccountBalanceChanged], _now: datetime, _ids: Ids) -> Decision:
    balance = history.balance_of(message.payload, message.time)
    if not _is_newer(state.find(AccountBalance, balance.key), balance):
        return NOTHING
    return Decision((*state.newcomer(balance.customer_id), balance))


@handlers.projection(payroll.PayslipCalculated)
@handlers.projection(payroll.SalaryPaymentUnknown)
@handlers.projection(payroll.SalaryPaymentFailed)
@handlers.projection(payroll.SalaryPaid)
def keep_salary(state: Care, message: Message[salaries.Told], _now: datetime, _ids: Ids) -> Decision:
    payment = salaries.payment_of(message.payload, message.time)
    if not _is_newer(state.find(SalaryPayment, payment.key), payment):
        return NOTHING
    return Decision((*state.employee(payment.employee_id), payment))


@handlers.reaction(payroll.SalaryPaymentFailed)
def ask_for_help(state: Care, message: Message[payroll.SalaryPaymentFailed], now: datetime, ids: Ids) -> Decision:
    event = message.payload
    if not _is_latest(state, event):
        return NOTHING
    return salaries.ask_for_help(state.ticket_about(event.employee_id, event.payslip_id), event, now, ids)


@handlers.reaction(payroll.SalaryPaid)
def help_came(state: Care, message: Message[payroll.SalaryPaid], now: datetime, _ids: Ids) -> Decision:
    event = message.payload
    if not _is_latest(state, event):
        return NOTHING
    return salaries.help_came(state.ticket_about(event.employee_id, event.payslip_id), event, now)


def _with_segments(state: Care, customer_id: UUID, decision: Decision, now: datetime) -> Decision:
    """The decision, and who enters or leaves a segment by it."""
    facts = state.facts(customer_id).after(decision.changes)
    known = {each.segment: each for each in state.under(Membership, customer_id)}
    return joined(decision, segments.moves(customer_id, facts, known, now))


def _is_newer(known: Any, copy: Any) -> bool:
    return known is None or copy.source_version > known.source_version


def _is_latest(state: Care, event: payroll.PayslipEvent) -> bool:
    """Whether payroll has not said something later of the payslip already."""
    known = state.find(SalaryPayment, event.payslip_id)
    return known is None or known.source_version == event.version


@dataclass(slots=True)
class _Asked:
    """What a batch of messages asks for, by id."""

    roots: set[UUID] = field(default_factory=set)
    people: set[UUID] = field(default_factory=set)
    newcomers: set[UUID] = field(default_factory=set)
    payments: dict[UUID, UUID] = field(default_factory=dict)
    notes: list[UUID] = field(default_factory=list)
    interactions: list[UUID] = field(default_factory=list)
    feedback: list[UUID] = field(default_factory=list)
    tickets: list[UUID] = field(default_factory=list)
    payslips: list[UUID] = field(default_factory=list)


def _asked_by(messages: Sequence[Message[Any]]) -> _Asked:  # noqa: C901 - one flat case per kind of message
    asked = _Asked()
    for message in messages:
        asked.roots.add(UUID(message.key))
        match message.payload:
            case schemas.AddNote(note_id=note_id):
                asked.notes.append(note_id)
            case schemas.RecordInteraction(interaction_id=interaction_id):
                asked.interactions.append(interaction_id)
            case schemas.RecordFeedback(feedback_id=feedback_id):
                asked.feedback.append(feedback_id)
            case schemas.RegisterCustomer(customer_id=customer_id):
                asked.people.add(customer_id)
                asked.newcomers.add(customer_id)
            case schemas.CustomerCommand(customer_id=customer_id):
                asked.people.add(customer_id)
            case schemas.TicketCommand(ticket_id=ticket_id):
                asked.tickets.append(ticket_id)
            case billing.PaymentReceived(payment_id=payment_id, customer_id=customer_id):
                asked.people.add(customer_id)
                asked.payments[payment_id] = customer_id
            case payroll.PayslipEvent(payslip_id=payslip_id):
                asked.payslips.append(payslip_id)
            case Outcome(task=TicketClosing(ticket_id=ticket_id)):
                asked.tickets.append(ticket_id)
            case _:
                pass
    return asked


async def load(tx: Tx, messages: Sequence[Message[Any]]) -> Care:
    """Locks the parties in one statement; then reads what the messages ask for, each kind in one statement."""
    asked, state = _asked_by(messages), Care()
    state.add(await parties.lock(tx, list(asked.roots)))
    if asked.people:
        await _load_people(tx, state, asked)
    if asked.notes:
        state.add(await care_store.notes(tx, asked.notes))
    if asked.interactions:
        state.add(await care_store.interactions(tx, asked.interactions))
    if asked.feedback:
        state.add(await care_store.feedback(tx, asked.feedback))
    if asked.tickets or asked.payslips:
        state.add(await care_store.tickets(tx, asked.tickets, asked.payslips))
    if asked.payslips:
        state.add(await history_store.salary_payments(tx, asked.payslips))
    return state


async def _load_people(tx: Tx, state: Care, asked: _Asked) -> None:
    people = list(asked.people)
    state.add(await profiles.customers(tx, people))
    state.add(await profiles.contact_points(tx, people))
    state.add(await profiles.tags(tx, people))
    state.add(await profiles.latest_consents(tx, people))
    state.add(await rewards.accounts(tx, people))
    state.add(await rewards.memberships(tx, people))
    state.add(await history_store.paid_totals(tx, people))
    if asked.payments or asked.newcomers:
        state.add(await rewards.entries(tx, list(asked.payments), list(asked.newcomers)))
    if asked.payments:
        state.add(await history_store.payments(tx, list(asked.payments.values()), list(asked.payments)))


async def save(tx: Tx, state: Care) -> None:
    """Roots first; each kind of row in one statement."""
    for cls, insert, update in tables.OWN:
        if new := state.inserted(cls):
            await insert(tx, new)
        if (changed := state.updated(cls)) and update is not None:
            await update(tx, changed)
    for cls, keep in tables.COPIES:
        if rows := [*state.inserted(cls), *(each.after for each in state.updated(cls))]:
            await keep(tx, rows)
