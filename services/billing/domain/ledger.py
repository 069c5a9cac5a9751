"""The ledger: double entry. Every movement of money is an entry whose postings sum to zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias
from uuid import UUID

LedgerAccount: TypeAlias = Literal["receivable", "revenue", "tax_payable", "cash", "customer_credit"]
"""The chart: what is owed to us, what was earned, what is owed to the tax office, money in hand, what we owe back."""

EntryKind: TypeAlias = Literal["invoice", "payment", "credit_used"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement on one customer's account. Append-only: it is never changed, only followed by others.

    `postings` are amounts in minor units of the account's currency: debits positive, credits negative. What is zero is
    not posted.
    """

    id: UUID
    customer_id: UUID
    account_id: UUID
    currency: str
    kind: EntryKind
    business_on: date
    invoice_id: UUID | None
    payment_id: UUID | None
    postings: Sequence[tuple[LedgerAccount, int]]

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.customer_id


@dataclass(frozen=True, slots=True)
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


def postings(*amounts: tuple[LedgerAccount, int]) -> Sequence[tuple[LedgerAccount, int]]:
    """The postings of an entry without those of nothing. Raises ValueError where they do not sum to zero."""
    if sum([amount for _, amount in amounts]):
        raise ValueError("an entry must balance: its debits and credits must sum to zero")
    return tuple([posting for posting in amounts if posting[1]])
