"""Which way is taken, and why: pure, over every preference and every state of an address."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.catalogue import INVOICE_ISSUED, NEWSLETTER, SECURITY_ALERT, TICKET_OPENED
from services.notify.domain.recipient import Address, Bounce, Consent, Recipient
from services.notify.domain.route import FALLBACK, Route, choose
from shared.schemas.standards import Channel

TODAY = date(2026, 3, 1)
EMAIL = Address(Channel.EMAIL, "ada@example.com")
PHONE = Address(Channel.SMS, "+4366012345678")
ADA = Recipient(UUID(int=1), "active", "customer", "Ada", "en", "Europe/Vienna", addresses=(EMAIL, PHONE))

channels = st.lists(st.sampled_from(Channel), max_size=6).map(tuple)
addresses = st.lists(
    st.builds(
        Address,
        channel=st.sampled_from([Channel.EMAIL, Channel.SMS]),
        value=st.sampled_from(["a", "b", "c"]),
        purpose=st.sampled_from(["general", "invoices", "private"]),
        verified=st.booleans(),
        invalid=st.booleans(),
        opted_out=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda address: (address.channel, address.value),
).map(tuple)


def test_without_a_preference_mail_comes_before_sms_and_sms_before_the_app() -> None:
    tried: list[Route] = []
    for channel in FALLBACK:
        choice = choose(ADA, INVOICE_ISSUED, TODAY, tried=tried)
        assert choice.route is not None
        assert choice.route.channel is channel
        tried.append(choice.route)
    assert choose(ADA, INVOICE_ISSUED, TODAY, tried=tried).refusal == "no-address"


def test_a_preference_goes_first() -> None:
    choice = choose(replace(ADA, preferred=(Channel.SMS,)), INVOICE_ISSUED, TODAY)
    assert choice.route == Route(Channel.SMS, PHONE.value)
    assert choice.reasons == (
        "category:transactional",
        "consent:not-needed",
        "channels:preferred:sms,email,in_app",
        "sms:chosen",
    )


def test_an_invalid_an_opted_out_and_a_bounced_address_are_skipped_each_with_its_reason() -> None:
    recipient = replace(
        ADA,
        addresses=(
            replace(EMAIL, value="old@example.com", invalid=True),
            replace(EMAIL, value="no@example.com", opted_out=True),
            replace(EMAIL, value="gone@example.com"),
            PHONE,
        ),
        bounces=(Bounce(Channel.EMAIL, "gone@example.com", "no-such-address"),),
    )
    choice = choose(recipient, INVOICE_ISSUED, TODAY)
    assert choice.route == Route(Channel.SMS, PHONE.value)
    assert choice.reasons[3:] == (
        "email:invalid",
        "email:opted-out",
        "email:bounced-no-such-address",
        "sms:chosen",
    )


def test_the_address_for_the_purpose_goes_first_then_the_verified_one() -> None:
    general = replace(EMAIL, value="general@example.com")
    verified = replace(EMAIL, value="verified@example.com", verified=True)
    invoices = replace(EMAIL, value="invoices@example.com", purpose="invoices")
    for expected, there in (
        (invoices, (general, verified, invoices)),
        (verified, (general, verified)),
        (general, (general,)),
    ):
        assert choose(replace(ADA, addresses=there), INVOICE_ISSUED, TODAY).route == Route(
            Channel.EMAIL, expected.value
        )


def test_channels_that_were_asked_for_are_the_only_ones() -> None:
    recipient = replace(ADA, addresses=(EMAIL,), preferred=(Channel.EMAIL,))
    choice = choose(recipient, SECURITY_ALERT, TODAY, only=(Channel.SMS,))
    assert choice.route is None
    assert choice.refusal == "no-address"
    assert choice.reasons[-1] == "sms:no-address"


def test_marketing_needs_a_consent_that_counts_today() -> None:
    said = {
        "missing": {},
        "withdrawn": {"marketing": Consent(granted=False)},
        "expired": {"marketing": Consent(granted=True, valid_until=TODAY - timedelta(days=1))},
    }
    for standing, consents in said.items():
        choice = choose(replace(ADA, consents=consents), NEWSLETTER, TODAY)
        assert (choice.route, choice.refusal) == (None, "no-consent")
        assert choice.reasons[-1] == f"consent:{standing}"
    granted = replace(ADA, consents={"marketing": Consent(granted=True, valid_until=TODAY)})
    assert choose(granted, NEWSLETTER, TODAY).route is not None


def test_marketing_keeps_to_the_preferred_channels_and_to_active_people() -> None:
    consents = {"marketing": Consent(granted=True)}
    fond_of_sms = replace(ADA, consents=consents, preferred=(Channel.SMS,), addresses=(EMAIL,))
    assert choose(fond_of_sms, NEWSLETTER, TODAY).refusal == "no-address"
    assert choose(replace(ADA, consents=consents, status="inactive"), NEWSLETTER, TODAY).refusal == "inactive"


def test_a_service_letter_stops_at_an_objection_and_an_invoice_does_not() -> None:
    objects = replace(ADA, consents={"service": Consent(granted=False), "marketing": Consent(granted=False)})
    assert choose(objects, TICKET_OPENED, TODAY).refusal == "objected"
    assert choose(objects, INVOICE_ISSUED, TODAY).route is not None
    assert choose(ADA, TICKET_OPENED, TODAY).route is not None


@given(channels, addresses)
def test_following_every_refusal_tries_each_usable_address_once_in_the_order_of_the_channels(
    preferred: tuple[Channel, ...], there: tuple[Address, ...]
) -> None:
    recipient = replace(ADA, preferred=preferred, addresses=there)
    tried: list[Route] = []
    while (choice := choose(recipient, INVOICE_ISSUED, TODAY, tried=tried)).route is not None:
        if choice.route.channel is Channel.IN_APP:
            tried.append(Route(Channel.IN_APP))
            continue
        tried.append(choice.route)
    order = list(dict.fromkeys((*preferred, *FALLBACK)))
    usable = {Route(a.channel, a.value) for a in there if not a.invalid and not a.opted_out} | {Route(Channel.IN_APP)}
    assert set(tried) == usable
    assert len(tried) == len(usable)
    assert all(order.index(one.channel) <= order.index(other.channel) for one, other in pairwise(tried))


@given(channels, addresses, channels)
def test_no_reason_ever_holds_an_address(
    preferred: tuple[Channel, ...], there: tuple[Address, ...], only: tuple[Channel, ...]
) -> None:
    marked = tuple(replace(address, value=f"secret-{address.value}") for address in there)
    choice = choose(replace(ADA, preferred=preferred, addresses=marked), INVOICE_ISSUED, TODAY, only=only or None)
    assert not any("secret" in reason for reason in choice.reasons)
