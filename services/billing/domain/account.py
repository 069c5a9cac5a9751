"""Customers as billing knows them, and their accounts."""

from dataclasses import replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from shared.messaging.decision import Ids, Refused
from shared.schemas.base import validator_of
from shared.schemas.billing import AccountBalanceChanged, AccountOpened, BillTo
from shared.schemas.customer import CustomerProfile, ProfileErased
from shared.schemas.immutable import immutable
from shared.schemas.money import AMOUNT_MAX


@immutable(frozen=True, slots=True)
class Customer:
    """The root of all that is billed to somebody, and a copy of what is printed on an invoice.

    `unknown`: something was billed and the profile has not been seen yet; drafts wait for it. `erased`: forgotten on
    request; the invoices stay. `version` guards the row; `source_version` and `source_time` are the profile's.
    """

    id: UUID
    version: int
    status: Literal["unknown", "known", "erased"]
    bill_to: BillTo | None
    source_version: int
    source_time: datetime | None
    drafts: int
    """How many invoices ever waited: the next draft's place in the queue."""

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.id


@immutable(frozen=True, slots=True)
class Account:
    """What a customer owes, or has in credit, in one currency. `version` counts the account's events."""

    id: UUID
    customer_id: UUID
    currency: str
    outstanding: int
    """Minor units owed on issued invoices: issued less paid."""
    credit: int
    """Minor units paid too much and not yet used."""
    version: int

    @property
    def key(self) -> tuple[UUID, str]:
        return self.customer_id, self.currency

    @property
    def root(self) -> UUID:
        return self.customer_id


def unknown_customer(customer_id: UUID) -> Customer:
    """Somebody of whom no profile has been seen yet."""
    return Customer(customer_id, 1, "unknown", None, 0, None, 0)


def copied(customer: Customer, profile: CustomerProfile, time: datetime) -> Customer:
    """The customer after a profile: the same where the copy is as new already."""
    if profile.version <= customer.source_version:
        return customer
    return replace(
        customer,
        version=customer.version + 1,
        status="known",
        bill_to=_bill_to(profile),
        source_version=profile.version,
        source_time=time,
    )


def erased(customer: Customer, tombstone: ProfileErased, time: datetime) -> Customer:
    """The customer without anything personal: the same where the copy is newer than the tombstone."""
    if tombstone.version < customer.source_version:
        return customer
    return replace(
        customer,
        version=customer.version + 1,
        status="erased",
        bill_to=None,
        source_version=tombstone.version,
        source_time=time,
    )


def opened(customer_id: UUID, currency: str, ids: Ids) -> tuple[Account, AccountOpened]:
    """A customer's account in one more currency."""
    account = Account(ids.next(), customer_id, currency, 0, 0, 1)
    return account, AccountOpened(customer_id=customer_id, account_id=account.id, currency=currency, version=1)


def moved(account: Account, *, outstanding: int = 0, credit: int = 0) -> tuple[Account, AccountBalanceChanged]:
    """The account after its two balances moved by this much. Refused (`account_limit`) beyond the bound of money."""
    after = Account(
        account.id,
        account.customer_id,
        account.currency,
        account.outstanding + outstanding,
        account.credit + credit,
        account.version + 1,
    )
    if after.outstanding > AMOUNT_MAX or after.credit > AMOUNT_MAX:
        raise Refused("account_limit", f"no account holds more than {AMOUNT_MAX} minor units: settle it first")
    return after, _balance_changed(
        {
            "customer_id": after.customer_id,
            "account_id": after.id,
            "currency": after.currency,
            "outstanding": after.outstanding,
            "credit": after.credit,
            "version": after.version,
        }
    )


_balance_changed = validator_of(AccountBalanceChanged)


def _bill_to(profile: CustomerProfile) -> BillTo:
    address = profile.address
    if address is None:
        return BillTo(name=profile.name, country=profile.country, tax_id=profile.tax_id)
    place = " ".join(part for part in (address.postal_code, address.city) if part)
    lines = (*address.lines, place, *([address.region] if address.region else ()))
    return BillTo(
        name=profile.name,
        address_lines=tuple(line[:200] for line in lines),
        country=address.country,
        tax_id=profile.tax_id,
    )
