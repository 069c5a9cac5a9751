"""The ledger: double entry. Every movement of money is an entry whose postings sum to zero."""

from datetime import date
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

from shared.schemas.immutable import immutable

EntryKind: TypeAlias = Literal["invoice", "payment", "credit_used"]


class Postings(NamedTuple):
    """What an entry posts to each account of the chart, in minor units: debits positive, credits negative.

    What is owed to us, what was earned, what is owed to the tax office, money in hand, what we owe back.
    """

    receivable: int = 0
    revenue: int = 0
    tax_payable: int = 0
    cash: int = 0
    customer_credit: int = 0


@immutable(frozen=True, slots=True)
class Entry:
    """One movement on one customer's account. Append-only: it is never changed, only followed by others."""

    id: UUID
    customer_id: UUID
    account_id: UUID
    currency: str
    kind: EntryKind
    business_on: date
    invoice_id: UUID | None
    payment_id: UUID | None
    postings: Postings

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.customer_id


@immutable(frozen=True, slots=True)
class Allocation:
    """The part of a payment (or of credit, where `payment_id` is None) that pays an invoice."""

    entry_id: UUID
    customer_id: UUID
    invoice_id: UUID
    payment_id: UUID | None
    amount: int

    @property
    def key(self) -> tuple[UUID, UUID]:
        return self.entry_id, self.invoice_id

    @property
    def root(self) -> UUID:
        return self.customer_id


def balanced(postings: Postings) -> Postings:
    """The postings of an entry. Raises ValueError where they do not sum to zero."""
    if sum(postings):
        raise ValueError("an entry must balance: its debits and credits must sum to zero")
    return postings
