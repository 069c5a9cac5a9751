"""How each kind of row is written, roots first."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from services.customer.domain.care import Feedback, Interaction, Note
from services.customer.domain.customer import Consent, ContactPoint, Customer, Tag
from services.customer.domain.history import AccountBalance, PaidTotal, TimelineEntry
from services.customer.domain.loyalty import LoyaltyAccount, LoyaltyEntry
from services.customer.domain.party import Party
from services.customer.domain.salaries import SalaryPayment
from services.customer.domain.segments import Membership
from services.customer.domain.tickets import Ticket
from services.customer.store import care, history, parties, profiles, rewards
from shared.messaging.database import Tx

Insert = Callable[[Tx, Sequence[Any]], Awaitable[None]]
Update = Callable[[Tx, Sequence[Any]], Awaitable[None]]

OWN: Sequence[tuple[type[Any], Insert, Update | None]] = (
    (Party, parties.insert, parties.update),
    (Customer, profiles.insert_customers, profiles.update_customers),
    (ContactPoint, profiles.insert_contact_points, profiles.update_contact_points),
    (Tag, profiles.insert_tags, profiles.update_tags),
    (Consent, profiles.insert_consents, None),
    (Note, care.insert_notes, None),
    (Interaction, care.insert_interactions, None),
    (Feedback, care.insert_feedback, None),
    (Ticket, care.insert_tickets, care.update_tickets),
    (LoyaltyEntry, rewards.insert_entries, rewards.announce_entries),
    (LoyaltyAccount, rewards.insert_accounts, rewards.update_accounts),
    (Membership, rewards.insert_memberships, rewards.update_memberships),
    (PaidTotal, history.insert_paid_totals, history.update_paid_totals),
)
"""Rows of our own: how they are inserted and, where they ever change, updated."""

COPIES: Sequence[tuple[type[Any], Insert]] = (
    (TimelineEntry, history.keep_entries),
    (AccountBalance, history.keep_balances),
    (SalaryPayment, history.keep_salary_payments),
)
"""Copies of others' data: the higher version wins."""
