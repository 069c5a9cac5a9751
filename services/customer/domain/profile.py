"""Every change of a customer's profile.

Each is one event of customer/{id} with the customer's next version, and the whole profile under the same version.
Events carry no personal data; the profile does.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.customer.domain.customer import Consent, ContactPoint, Customer, Profile, Tag
from services.customer.domain.party import Party
from shared.messaging.decision import NOTHING, Decision, Entity, Refused
from shared.schemas import customer as schemas
from shared.schemas.base import Event
from shared.schemas.customer import CustomerRegistered, CustomerUpdated, ProfileAddress

CONTACT_POINTS_MAX = 100
TAGS_MAX = 1000
PURPOSES_MAX = 1000
"""What a profile can hold (shared/schemas/customer/profile.py)."""

CHANGEABLE = ("name", "locale", "country", "zone", "birth_date", "tax_id", "address", "attributes")


def register(party: Party | None, known: Profile | None, command: schemas.RegisterCustomer, now: datetime) -> Decision:
    """Somebody becomes a customer.

    The same registration again is accepted as long as the profile still says the same, so that a sender who is unsure
    may ask twice; any other for an id that is taken is refused.
    """
    if party is not None and party.kind == "employee":
        raise Refused("id_of_an_employee", "this id is an employee's: choose a new id for the customer")
    profile = _registered(command, now)
    if known is not None:
        if _says_the_same(known, profile):
            return NOTHING
        raise Refused(
            "already_registered", "this id is a customer's: change it with ChangeCustomerDetails, or choose a new id"
        )
    customer = profile.customer
    event = CustomerRegistered(
        version=customer.version,
        customer_id=customer.id,
        kind=customer.kind,
        locale=customer.locale,
        country=customer.country,
        zone=customer.zone,
    )
    changes: tuple[Entity, ...] = (Party(customer.id, "customer"), customer, *profile.contact_points)
    return Decision(changes, (event, profile.published()))


def change_details(profile: Profile, command: schemas.ChangeCustomerDetails, now: datetime) -> Decision:
    """What is known changes, if the sender had seen the latest version. Nothing new is accepted without an event."""
    _check_active(profile)
    customer = profile.customer
    if command.expected_version != customer.version:
        raise Refused(
            "version_conflict",
            f"the customer is at version {customer.version}, not {command.expected_version}: "
            f"read it again, and send the change with expected_version {customer.version} if it still holds",
        )
    wanted = {field: getattr(command, field) for field in CHANGEABLE}
    if command.address is not None:
        wanted["address"] = _address(command.address)
    changes = {
        field: value for field, value in wanted.items() if value is not None and value != getattr(customer, field)
    }
    return _updated(profile, now, changes)


def set_preferred_channels(profile: Profile, command: schemas.SetPreferredChannels, now: datetime) -> Decision:
    """How a customer wants to be told; a channel named twice counts at its first place."""
    _check_active(profile)
    channels = tuple(dict.fromkeys(command.channels))
    return _updated(
        profile, now, {"preferred_channels": channels} if channels != profile.customer.preferred_channels else {}
    )


def deactivate(profile: Profile, command: schemas.DeactivateCustomer, now: datetime) -> Decision:
    """No more business; twice is once."""
    if profile.customer.status == "inactive":
        return NOTHING
    return _changed(profile, now, _event(schemas.CustomerDeactivated, reason=command.reason), status="inactive")


def add_contact_point(profile: Profile, command: schemas.AddContactPoint, now: datetime) -> Decision:
    """One more place; the same one again is accepted and changes nothing."""
    _check_active(profile)
    point = _contact_point(command.customer_id, command, now)
    known = next((each for each in profile.contact_points if each.id == point.id), None)
    if known is not None:
        if replace(known, added_at=now) == point:
            return NOTHING
        raise Refused(
            "contact_point_exists", "this contact_point_id is or was another contact point's: choose a new id"
        )
    if len(profile.reachable) >= CONTACT_POINTS_MAX:
        raise Refused(
            "too_many_contact_points", f"a customer has at most {CONTACT_POINTS_MAX} contact points: remove one first"
        )
    event = _event(schemas.ContactPointAdded, contact_point_id=point.id, channel=point.channel)
    return _changed(profile, now, event, point)


def remove_contact_point(profile: Profile, command: schemas.RemoveContactPoint, now: datetime) -> Decision:
    """One place less, and its address is forgotten; twice is once."""
    known = next((each for each in profile.contact_points if each.id == command.contact_point_id), None)
    if known is None:
        raise Refused(
            "unknown_contact_point", "the customer has no contact point with this id: read the customer again"
        )
    if known.removed_at is not None:
        return NOTHING
    event = _event(schemas.ContactPointRemoved, contact_point_id=known.id, channel=known.channel)
    return _changed(profile, now, event, replace(known, value=None, removed_at=now))


def record_consent(profile: Profile, command: schemas.RecordConsent, now: datetime) -> Decision:
    """One more word on a purpose; the earlier ones stay."""
    current = profile.current_consents
    if command.purpose not in current and len(current) >= PURPOSES_MAX:
        raise Refused(
            "too_many_purposes", f"a customer has consents for at most {PURPOSES_MAX} purposes: use one of them"
        )
    consent = Consent(
        customer_id=command.customer_id,
        version=profile.customer.version + 1,
        purpose=command.purpose,
        status=command.status,
        legal_basis=command.legal_basis,
        policy_version=command.policy_version,
        evidence=command.evidence,
        valid_until=command.valid_until,
        recorded_at=now,
        recorded_by=command.issued_by,
    )
    event = _event(
        schemas.ConsentRecorded,
        purpose=command.purpose,
        status=command.status,
        legal_basis=command.legal_basis,
        policy_version=command.policy_version,
        valid_until=command.valid_until,
    )
    return _changed(profile, now, event, consent)


def tag(profile: Profile, command: schemas.TagCustomer, now: datetime) -> Decision:
    """One more tag; twice is once."""
    if command.tag in profile.current_tags:
        return NOTHING
    if len(profile.current_tags) >= TAGS_MAX:
        raise Refused("too_many_tags", f"a customer has at most {TAGS_MAX} tags: take one off first")
    row = Tag(command.customer_id, command.tag, now, command.issued_by)
    return _changed(profile, now, _event(schemas.CustomerTagged, tag=command.tag), row)


def untag(profile: Profile, command: schemas.UntagCustomer, now: datetime) -> Decision:
    """One tag less; a tag that is not there is not missed."""
    known = next((each for each in profile.tags if each.tag == command.tag), None)
    if known is None or known.untagged_at is not None:
        return NOTHING
    return _changed(profile, now, _event(schemas.CustomerUntagged, tag=command.tag), replace(known, untagged_at=now))


def _changed(
    profile: Profile, now: datetime, event: Callable[[Customer], Event], *rows: Entity, **details: Any
) -> Decision:
    customer = replace(profile.customer, version=profile.customer.version + 1, changed_at=now, **details)
    after = profile.with_rows(customer, rows)
    return Decision((customer, *rows), (event(customer), after.published()))


def _updated(profile: Profile, now: datetime, changes: dict[str, Any]) -> Decision:
    if not changes:
        return NOTHING

    def event(customer: Customer) -> Event:
        return CustomerUpdated(
            version=customer.version,
            customer_id=customer.id,
            changed=tuple(changes),
            locale=customer.locale,
            country=customer.country,
            zone=customer.zone,
        )

    return _changed(profile, now, event, **changes)


def _event(model: type[schemas.CustomerEvent], **fields: Any) -> Callable[[Customer], Event]:
    return lambda customer: model(version=customer.version, customer_id=customer.id, **fields)


def _check_active(profile: Profile) -> None:
    if profile.customer.status != "active":
        raise Refused(
            "customer_inactive", "the customer was deactivated: nothing of its details can be changed any more"
        )


def _registered(command: schemas.RegisterCustomer, now: datetime) -> Profile:
    customer = Customer(
        id=command.customer_id,
        version=1,
        kind=command.kind,
        status="active",
        name=command.name,
        locale=command.locale,
        country=command.country,
        zone=command.zone,
        birth_date=command.birth_date,
        tax_id=command.tax_id,
        address=_address(command.address) if command.address is not None else None,
        attributes=command.attributes,
        preferred_channels=tuple(dict.fromkeys(command.preferred_channels)),
        registered_at=now,
        changed_at=now,
    )
    points = tuple(_contact_point(customer.id, point, now) for point in command.contact_points)
    if len({point.id for point in points}) != len(points):
        raise Refused("contact_point_exists", "two contact points have the same id: give each its own")
    return Profile(customer, points)


def _says_the_same(known: Profile, asked: Profile) -> bool:
    return (
        known.published().model_copy(update={"version": 1}) == asked.published()
        and known.customer.birth_date == asked.customer.birth_date
        and known.customer.attributes == asked.customer.attributes
    )


def _contact_point(customer_id: UUID, point: schemas.NewContactPoint, now: datetime) -> ContactPoint:
    return ContactPoint(
        customer_id, point.contact_point_id, point.channel, point.value, point.purpose, point.verified, now
    )


def _address(address: schemas.Address) -> ProfileAddress:
    return ProfileAddress.model_validate(address.model_dump())
