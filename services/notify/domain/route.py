"""By which way somebody is told something, or why not at all. Every reason is kept as a short code without values."""

from collections.abc import Collection, Sequence
from datetime import date

from services.notify.domain.catalogue import MARKETING, SERVICE, Template
from services.notify.domain.recipient import Address, Recipient
from shared.schemas.immutable import immutable
from shared.schemas.standards import Channel

FALLBACK = (Channel.EMAIL, Channel.SMS, Channel.IN_APP)
"""The order of channels where somebody has not said otherwise, and after those that somebody has named."""


@immutable(frozen=True, slots=True)
class Route:
    """A channel and the address in it; the inbox of the app needs none."""

    channel: Channel
    address: str = ""


@immutable(frozen=True, slots=True)
class Choice:
    """The route to take; without one, `refusal` is why. `reasons` tell how it came to this, in their order."""

    route: Route | None
    refusal: str
    reasons: tuple[str, ...]


def choose(
    recipient: Recipient,
    template: Template,
    today: date,
    only: Sequence[Channel] | None = None,
    tried: Collection[Route] = (),
) -> Choice:
    """The first way that is open, in the order of preference.

    Security and transactional letters need no consent: the law or the contract asks for them. A service letter goes
    out unless somebody has objected (the consent `service` is withdrawn). Marketing needs the consent `marketing`, an
    active person, and keeps to the preferred channels where there are any. `only` restricts the channels, and orders
    them, too.
    """
    refusal, consent = _consent(recipient, template, today)
    reasons = [f"category:{template.category}", f"consent:{consent}"]
    if refusal:
        return Choice(None, refusal, tuple(reasons))
    channels, origin = _channels(recipient, template, only)
    reasons.append(f"channels:{origin}:{','.join(channels)}")
    for channel in channels:
        for address in _addresses(recipient, channel, template.purpose):
            closed = _closed(recipient, address, tried)
            reasons.append(f"{channel}:{closed or 'chosen'}")
            if not closed:
                return Choice(Route(channel, address.value), "", tuple(reasons))
        if not any(address.channel == channel for address in recipient.addresses) and channel != Channel.IN_APP:
            reasons.append(f"{channel}:no-address")
    return Choice(None, "no-address", tuple(reasons))


def _consent(recipient: Recipient, template: Template, today: date) -> tuple[str, str]:
    """The refusal (empty where there is none), and how the consent stands."""
    if template.category == "marketing":
        if recipient.status != "active":
            return "inactive", "person-inactive"
        standing = _standing(recipient, MARKETING, today)
        return ("" if standing == "granted" else "no-consent"), standing
    if template.category == "service":
        standing = _standing(recipient, SERVICE, today)
        return ("objected" if standing == "withdrawn" else ""), standing
    return "", "not-needed"


def _standing(recipient: Recipient, purpose: str, today: date) -> str:
    consent = recipient.consents.get(purpose)
    if consent is None:
        return "missing"
    if not consent.granted:
        return "withdrawn"
    if consent.valid_until is not None and consent.valid_until < today:
        return "expired"
    return "granted"


def _channels(
    recipient: Recipient, template: Template, only: Sequence[Channel] | None
) -> tuple[tuple[Channel, ...], str]:
    """The channels in the order in which they are tried, each once, and who says so."""
    if only is not None:
        return tuple(dict.fromkeys(only)), "requested"
    if template.category == "marketing" and recipient.preferred:
        return tuple(dict.fromkeys(recipient.preferred)), "preferred-alone"
    return tuple(dict.fromkeys((*recipient.preferred, *FALLBACK))), "preferred" if recipient.preferred else "default"


def _addresses(recipient: Recipient, channel: Channel, purpose: str) -> list[Address]:
    """The addresses in a channel: first those for the purpose, then general ones; verified before others."""
    if channel == Channel.IN_APP:
        return [Address(Channel.IN_APP, "")]
    there = [address for address in recipient.addresses if address.channel == channel]
    return sorted(there, key=lambda a: (a.purpose != purpose, a.purpose != "general", not a.verified))


def _closed(recipient: Recipient, address: Address, tried: Collection[Route]) -> str | None:
    """Why an address cannot be used, or None."""
    if address.opted_out:
        return "opted-out"
    if address.invalid:
        return "invalid"
    if Route(address.channel, address.value) in tried:
        return "tried"
    for bounce in recipient.bounces:
        if (bounce.channel, bounce.value) == (address.channel, address.value):
            return f"bounced-{bounce.reason}"
    return None
