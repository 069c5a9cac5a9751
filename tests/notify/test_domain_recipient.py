"""Our copy of a person: always the newest that its owner has said, and never more."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.recipient import (
    Address,
    Bounce,
    Consent,
    Recipient,
    bounced,
    changed,
    erased,
    from_profile,
    hired,
    left,
)
from shared.schemas.customer import Consent as Said
from shared.schemas.customer import ProfileErased
from shared.schemas.hr import EmployeeChanged, EmployeeTerminated
from shared.schemas.standards import Channel
from tests.notify import said

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA = UUID(int=1)
GRETE = UUID(int=2)


COPIES: dict[str, Callable[[Recipient, Any, datetime], Recipient | None]] = {
    "kello.customer.profile.v1": from_profile,
    "kello.customer.profile-erased.v1": erased,
    "kello.hr.employee-hired.v1": hired,
    "kello.hr.employee-changed.v1": changed,
    "kello.hr.employee-terminated.v1": left,
}


def copied(recipient: Recipient, *events: Any) -> Recipient:
    """The copy after these events, each a minute after the one before."""
    for n, event in enumerate(events):
        recipient = COPIES[event.ce_type](recipient, event, NOW + timedelta(minutes=n)) or recipient
    return recipient


def test_a_profile_is_copied_with_what_is_needed_to_tell_somebody_something() -> None:
    profile = said.profile(
        ADA,
        said.email("ada@example.com", purpose="invoices"),
        said.phone("+4366012345678", opted_out=True, verified=False),
        version=4,
        consents={
            "marketing": Said(status="granted", valid_until=date(2026, 12, 31)),
            "service": Said(status="withdrawn"),
        },
        preferred_channels=("sms",),
    )
    assert copied(Recipient(ADA), profile) == Recipient(
        ADA,
        "active",
        "customer",
        "Ada Lovelace",
        "en",
        "Europe/Vienna",
        (Channel.SMS,),
        (
            Address(Channel.EMAIL, "ada@example.com", "invoices", verified=True),
            Address(Channel.SMS, "+4366012345678", opted_out=True),
        ),
        {"marketing": Consent(granted=True, valid_until=date(2026, 12, 31)), "service": Consent(granted=False)},
        (),
        4,
        NOW,
    )


@given(st.permutations([1, 2, 3, 4]))
def test_in_whatever_order_profiles_arrive_the_newest_stays(order: list[int]) -> None:
    profiles = [said.profile(ADA, version=n, name=f"name {n}") for n in order]
    copy = copied(Recipient(ADA), *profiles)
    assert (copy.name, copy.source_version) == ("name 4", 4)


def test_a_profile_from_before_the_erasure_brings_nobody_back() -> None:
    copy = copied(
        Recipient(ADA),
        said.profile(ADA, said.email(), version=2),
        ProfileErased(customer_id=ADA, version=3),
        said.profile(ADA, said.email(), version=2),
        ProfileErased(customer_id=ADA, version=3),
    )
    assert copy == Recipient(ADA, "erased", "customer", source_version=3, source_time=NOW + timedelta(minutes=1))


def test_a_bounce_stays_as_long_as_its_address_and_no_longer() -> None:
    old, other = said.email("old@example.com"), said.email("other@example.com")
    copy = bounced(copied(Recipient(ADA), said.profile(ADA, old, other)), Channel.EMAIL, "old@example.com", "gone")
    copy = copied(copy, said.profile(ADA, old, version=2))
    assert copy.bounces == (Bounce(Channel.EMAIL, "old@example.com", "gone"),)
    assert copied(copy, said.profile(ADA, other, version=3)).bounces == ()


def test_an_employee_changes_only_what_is_said() -> None:
    employee = copied(Recipient(GRETE), said.hired(GRETE, email="grete@example.com", phone="+4366012345678"))
    copy = copied(employee, EmployeeChanged(employee_id=GRETE, version=2, name="Grete Henry", phone="+4366087654321"))
    assert copy == replace(
        employee,
        name="Grete Henry",
        addresses=(
            Address(Channel.EMAIL, "grete@example.com", verified=True),
            Address(Channel.SMS, "+4366087654321", verified=True),
        ),
        source_version=2,
    )


def test_whoever_leaves_is_inactive_and_can_still_be_told_about_the_last_salary() -> None:
    terminated = EmployeeTerminated(employee_id=GRETE, version=2, last_day=date(2026, 3, 31))
    copy = copied(Recipient(GRETE), said.hired(GRETE), terminated)
    assert (copy.status, copy.source_version) == ("inactive", 2)
    assert copy.addresses
    assert left(copy, terminated, NOW) is None


def test_whoever_is_hired_again_is_told_at_the_new_address_alone() -> None:
    employee = copied(Recipient(GRETE), said.hired(GRETE, email="old@example.com", phone="+4366012345678"))
    again = copied(employee, said.hired(GRETE, version=5, name="Grete Henry", email="new@example.com", locale="en"))
    assert (again.name, again.locale, again.source_version) == ("Grete Henry", "en", 5)
    assert [address.value for address in again.addresses] == ["new@example.com"]
