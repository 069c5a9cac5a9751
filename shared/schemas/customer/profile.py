"""The whole of a customer as others may know it (compacted topic customer.profiles), and its erasure."""

from typing import Annotated, Literal

from pydantic import Field

from shared.schemas.base import Code, Day, Event, Flag, Id, ShortText, Value
from shared.schemas.customer.vocabulary import Channels, ConsentStatus, CustomerKind
from shared.schemas.standards import Channel, Country, Locale, Zone


class ProfileAddress(Value):
    """A postal address."""

    lines: Annotated[tuple[ShortText, ...], Field(max_length=4)]
    """Street and house, as they are printed."""
    postal_code: ShortText | None = None
    city: ShortText
    region: ShortText | None = None
    """State or province, where the country prints it."""
    country: Country


class ContactPoint(Value):
    """Where a customer can be reached. Suppression belongs to the address, preference to the person."""

    id: Id
    channel: Channel
    value: ShortText
    """An email address, or a phone number as in E.164."""
    purpose: Code
    verified: Flag
    """Whether the customer has proved to be reached there."""
    invalid: Flag = False
    """Whether messages to it came back."""
    opted_out: Flag = False
    """Whether it must not be used any more."""


class Consent(Value):
    """What a customer said last about one purpose."""

    status: ConsentStatus
    valid_until: Day | None = None
    """The last day on which it counts; without one, until it is withdrawn."""


class CustomerProfile(
    Event,
    type="kello.customer.profile.v1",
    topic="customer.profiles",
    key="customer_id",
    subject="profile/{customer_id}",
):
    """All that others may know of a customer. Its version is the customer's: versions may be skipped."""

    customer_id: Id
    kind: CustomerKind
    status: Literal["active", "inactive"]
    name: ShortText
    locale: Locale
    country: Country
    zone: Zone
    address: ProfileAddress | None = None
    tax_id: ShortText | None = None
    contact_points: Annotated[tuple[ContactPoint, ...], Field(max_length=100)] = ()
    preferred_channels: Channels = ()
    """The best first."""
    consents: Annotated[dict[Code, Consent], Field(max_length=1000)] = Field(default={})
    """By purpose."""
    tags: Annotated[tuple[Code, ...], Field(max_length=1000)] = ()


class ProfileErased(Event, topic="customer.profiles", key="customer_id", subject="profile/{customer_id}"):
    """A customer is forgotten. On the wire it is a tombstone: no value, its version in the header `kello_version`.

    Not a contract, for there is no value that could follow one: `registry.tombstone` makes it from key and header.
    """

    customer_id: Id


ProfileErased.ce_type = "kello.customer.profile-erased.v1"
