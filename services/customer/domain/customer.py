"""A customer with all that belongs to it, and what customer.profiles tells of that."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Literal, TypeVar
from uuid import UUID

from shared.messaging.decision import Entity
from shared.schemas import customer as schemas
from shared.schemas.customer import (
    AttributeValue,
    ConsentStatus,
    CustomerKind,
    CustomerProfile,
    LegalBasis,
    ProfileAddress,
)
from shared.schemas.immutable import immutable
from shared.schemas.standards import Channel

E = TypeVar("E", bound=Entity)


@immutable(frozen=True, slots=True)
class Customer:
    """Somebody who is registered. `version` counts the events of customer/{id}."""

    id: UUID
    version: int
    kind: CustomerKind
    status: Literal["active", "inactive"]
    name: str
    locale: str
    country: str
    zone: str
    birth_date: date | None
    tax_id: str | None
    address: ProfileAddress | None
    attributes: dict[str, AttributeValue]
    preferred_channels: tuple[Channel, ...]
    registered_at: datetime
    changed_at: datetime

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.id


@immutable(frozen=True, slots=True)
class ContactPoint:
    """Where a customer can be reached. Once removed it has no value any more, and its id is not used again."""

    customer_id: UUID
    id: UUID
    channel: Channel
    value: str | None
    purpose: str
    verified: bool
    added_at: datetime
    removed_at: datetime | None = None

    @property
    def key(self) -> tuple[UUID, UUID]:
        return self.customer_id, self.id

    @property
    def root(self) -> UUID:
        return self.customer_id


@immutable(frozen=True, slots=True)
class Tag:
    """A tag that a customer has, or had."""

    customer_id: UUID
    tag: str
    tagged_at: datetime
    tagged_by: str
    untagged_at: datetime | None = None

    @property
    def key(self) -> tuple[UUID, str]:
        return self.customer_id, self.tag

    @property
    def root(self) -> UUID:
        return self.customer_id


@immutable(frozen=True, slots=True)
class Consent:
    """What a customer said about a purpose at one time. Never changed: the highest version of a purpose counts.

    `version` is the customer's, of the event that told of it.
    """

    customer_id: UUID
    version: int
    purpose: str
    status: ConsentStatus
    legal_basis: LegalBasis
    policy_version: str
    evidence: str | None
    valid_until: date | None
    recorded_at: datetime
    recorded_by: str

    @property
    def key(self) -> tuple[UUID, int]:
        return self.customer_id, self.version

    @property
    def root(self) -> UUID:
        return self.customer_id


@immutable(frozen=True, slots=True)
class Profile:
    """A customer and what belongs to it, as one message finds it."""

    customer: Customer
    contact_points: tuple[ContactPoint, ...] = ()
    tags: tuple[Tag, ...] = ()
    consents: tuple[Consent, ...] = ()

    def with_rows(self, customer: Customer, rows: Iterable[Entity]) -> "Profile":
        """The profile after a change."""
        rows = tuple(rows)
        return Profile(
            customer,
            _overlaid(ContactPoint, self.contact_points, rows),
            _overlaid(Tag, self.tags, rows),
            _overlaid(Consent, self.consents, rows),
        )

    @property
    def reachable(self) -> tuple[ContactPoint, ...]:
        """The contact points that were not removed, by id."""
        kept = [point for point in self.contact_points if point.removed_at is None]
        return tuple(sorted(kept, key=lambda point: point.id))

    @property
    def current_tags(self) -> tuple[str, ...]:
        return tuple(sorted(tag.tag for tag in self.tags if tag.untagged_at is None))

    @property
    def current_consents(self) -> dict[str, Consent]:
        """The last word on each purpose."""
        return {each.purpose: each for each in sorted(self.consents, key=lambda consent: consent.version)}

    def published(self) -> CustomerProfile:
        """What others may know."""
        customer = self.customer
        return CustomerProfile(
            version=customer.version,
            customer_id=customer.id,
            kind=customer.kind,
            status=customer.status,
            name=customer.name,
            locale=customer.locale,
            country=customer.country,
            zone=customer.zone,
            address=customer.address,
            tax_id=customer.tax_id,
            contact_points=tuple(_published(point) for point in self.reachable),
            preferred_channels=customer.preferred_channels,
            consents={
                purpose: schemas.Consent(status=consent.status, valid_until=consent.valid_until)
                for purpose, consent in sorted(self.current_consents.items())
            },
            tags=self.current_tags,
        )


def _published(point: ContactPoint) -> schemas.ContactPoint:
    assert point.value is not None  # noqa: S101 - what was not removed has its value: the table says so, too
    return schemas.ContactPoint(
        id=point.id, channel=point.channel, value=point.value, purpose=point.purpose, verified=point.verified
    )


def _overlaid(cls: type[E], kept: Iterable[E], rows: Iterable[Entity]) -> tuple[E, ...]:
    by_key = {row.key: row for row in kept}
    by_key |= {row.key: row for row in rows if isinstance(row, cls)}
    return tuple(by_key.values())
