"""Somebody who can be told something: our copy of what customer and personnel system know of a person."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from shared.schemas.customer import CustomerProfile, ProfileErased
from shared.schemas.hr import EmployeeChanged, EmployeeHired, EmployeeTerminated
from shared.schemas.immutable import immutable
from shared.schemas.standards import Channel

USABLE = {
    Channel.EMAIL: re.compile(r"[^\s<>()\[\]\\,;:\"@]{1,64}@[^\s<>()\[\]\\,;:\"@]{1,254}"),
    Channel.SMS: re.compile(r"\+[1-9][0-9]{6,14}"),
}
"""What can stand in an SMTP command and a header, or go to an SMS provider (E.164). A profile may hold anything."""

Status = Literal["unknown", "active", "inactive", "erased"]
"""unknown: something is to be said to somebody of whom no profile has arrived yet."""


@immutable(frozen=True, slots=True)
class Address:
    """Where somebody can be reached: an email address or a phone number. Suppression belongs to it."""

    channel: Channel
    value: str
    purpose: str = "general"
    verified: bool = False
    invalid: bool = False
    opted_out: bool = False


@immutable(frozen=True, slots=True)
class Consent:
    """What somebody said last about one purpose; `valid_until` is the last day on which it counts."""

    granted: bool
    valid_until: date | None = None


@immutable(frozen=True, slots=True)
class Bounce:
    """An address that a provider says does not work. It is skipped until the profile no longer has it."""

    channel: Channel
    value: str
    reason: str


@immutable(frozen=True, slots=True)
class Recipient:
    """The root of all that somebody is told. `source_version` and `source_time` say what the copy is a copy of.

    `bounces` is what we learned ourselves; everything else is somebody else's truth.
    """

    id: UUID
    status: Status = "unknown"
    kind: Literal["customer", "employee"] | None = None
    name: str = ""
    locale: str | None = None
    zone: str | None = None
    preferred: tuple[Channel, ...] = ()
    addresses: tuple[Address, ...] = ()
    consents: Mapping[str, Consent] = field(default_factory=dict)
    bounces: tuple[Bounce, ...] = ()
    source_version: int = 0
    source_time: datetime | None = None

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.id

    @property
    def is_known(self) -> bool:
        return self.status != "unknown"


def from_profile(recipient: Recipient, profile: CustomerProfile, time: datetime) -> Recipient | None:
    """The copy of a customer's whole profile, or None: what we have is as new."""
    if profile.version <= recipient.source_version:
        return None
    return _without_old_bounces(
        replace(
            recipient,
            status=profile.status,
            kind="customer",
            name=profile.name,
            locale=profile.locale,
            zone=profile.zone,
            preferred=profile.preferred_channels,
            addresses=tuple(
                Address(
                    point.channel,
                    point.value,
                    point.purpose,
                    point.verified,
                    point.invalid or not _is_usable(point.channel, point.value),
                    point.opted_out,
                )
                for point in profile.contact_points
            ),
            consents={
                purpose: Consent(consent.status == "granted", consent.valid_until)
                for purpose, consent in profile.consents.items()
            },
            source_version=profile.version,
            source_time=time,
        )
    )


def erased(recipient: Recipient, event: ProfileErased, time: datetime) -> Recipient | None:
    """Nothing is left but the id and the version, so that no stale profile can bring the person back."""
    if event.version <= recipient.source_version:
        return None
    return Recipient(recipient.id, "erased", recipient.kind, source_version=event.version, source_time=time)


def hired(recipient: Recipient, event: EmployeeHired, time: datetime) -> Recipient | None:
    """The copy of an employee. Where later events came before this one, what they said stays."""
    is_late = event.version <= recipient.source_version
    if is_late and recipient.is_known:
        return None
    there = recipient if is_late else Recipient(recipient.id)
    addresses = _reached_at(there.addresses, Channel.EMAIL, event.email, keep=True)
    said = replace(
        recipient,
        status="active",
        kind="employee",
        name=there.name or event.name,
        locale=there.locale or event.locale,
        zone=there.zone or event.zone,
        preferred=there.preferred or event.preferred_channels,
        addresses=_reached_at(addresses, Channel.SMS, event.phone, keep=True),
    )
    return _without_old_bounces(said if is_late else replace(said, source_version=event.version, source_time=time))


def changed(recipient: Recipient, event: EmployeeChanged, time: datetime) -> Recipient | None:
    """What is absent stays as it was. Of somebody whose EmployeeHired has not arrived it is kept until then."""
    if event.version <= recipient.source_version:
        return None
    addresses = _reached_at(recipient.addresses, Channel.EMAIL, event.email, keep=False)
    return _without_old_bounces(
        replace(
            recipient,
            kind="employee",
            name=event.name or recipient.name,
            locale=event.locale or recipient.locale,
            zone=event.zone or recipient.zone,
            preferred=recipient.preferred if event.preferred_channels is None else event.preferred_channels,
            addresses=_reached_at(addresses, Channel.SMS, event.phone, keep=False),
            source_version=event.version,
            source_time=time,
        )
    )


def left(recipient: Recipient, event: EmployeeTerminated, time: datetime) -> Recipient | None:
    """Whoever leaves is still told about the last salary, and gets no marketing."""
    if event.version <= recipient.source_version:
        return None
    status: Status = "inactive" if recipient.is_known else "unknown"
    return replace(recipient, status=status, kind="employee", source_version=event.version, source_time=time)


def bounced(recipient: Recipient, channel: Channel, value: str, reason: str) -> Recipient:
    """The address is skipped from now on."""
    return replace(recipient, bounces=(*recipient.bounces, Bounce(channel, value, reason)))


def _is_usable(channel: Channel, value: str) -> bool:
    shape = USABLE.get(channel)
    return shape is not None and value.isprintable() and shape.fullmatch(value) is not None


def _reached_at(
    addresses: Sequence[Address], channel: Channel, value: str | None, *, keep: bool
) -> tuple[Address, ...]:
    """An employee has at most one address in a channel."""
    there = [address for address in addresses if address.channel == channel]
    if value is None or (keep and there):
        return tuple(addresses)
    others = tuple(address for address in addresses if address.channel != channel)
    return (*others, Address(channel, value, verified=True))


def _without_old_bounces(recipient: Recipient) -> Recipient:
    """A bounce is forgotten with its address."""
    if not recipient.bounces:
        return recipient
    there = {(address.channel, address.value) for address in recipient.addresses}
    return replace(recipient, bounces=tuple(b for b in recipient.bounces if (b.channel, b.value) in there))
