"""Registration and changes of the profile: through the topic, and as HTTP tells them."""

from uuid import UUID, uuid4

from shared.harness.kello import Kello
from shared.schemas.customer import (
    CommandAccepted,
    CommandRejected,
    ContactPointAdded,
    ContactPointRemoved,
    CustomerDeactivated,
    CustomerEvent,
    CustomerProfile,
    CustomerRegistered,
    CustomerUpdated,
    DeactivateCustomer,
    RegisterCustomer,
    RemoveContactPoint,
    SetPreferredChannels,
)
from shared.schemas.standards import Channel
from tests.customer import words
from tests.customer.words import CLERK


async def rejected(kello: Kello, command_id: str) -> str:
    """The code of the answer to a command that was refused."""
    return (await kello.expect(CommandRejected, command_id=command_id)).code


async def test_whoever_registers_is_told_of_and_published_as_a_whole(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("customer"):
        await kello.publish(words.registration(customer))
        registered = await kello.expect(CustomerRegistered, customer_id=customer)
        profile = await kello.expect(CustomerProfile, customer_id=customer)
        status, body = await kello.get("customer", f"/customers/{customer}")
    assert (registered.version, registered.kind, registered.zone) == (1, "person", "Europe/Vienna")
    assert (profile.version, profile.name, profile.contact_points[0].value) == (1, "Ada Beispiel", "ada@example.org")
    assert status == 200
    assert (body["name"], body["birth_date"], body["attributes"]["shoe-size"]) == ("Ada Beispiel", "1990-02-28", 39)
    assert body["contact_points"][0]["value"] == "ada@example.org"


async def test_an_id_is_registered_once_and_the_same_again_is_accepted(kello: Kello) -> None:
    customer = uuid4()
    command = words.registration(customer)
    async with kello.running("customer"):
        await kello.publish(command)
        (again,) = await kello.publish(command)
        (other,) = await kello.publish(command.model_copy(update={"name": "Bo Anders"}))
        await kello.expect(CommandAccepted, command_id=again)
        assert await rejected(kello, other) == "already_registered"
        await kello.settled()
        assert len(await kello.events(CustomerProfile, customer_id=customer)) == 1


async def test_details_change_when_the_sender_saw_the_latest_version(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("customer"):
        await kello.publish(words.registration(customer))
        await kello.publish(words.change(customer, 1, name="Ada Muster", country="DE", locale="de-DE"))
        updated = await kello.expect(CustomerUpdated, customer_id=customer)
        assert (updated.version, set(updated.changed), updated.country) == (2, {"name", "locale", "country"}, "DE")
        (late,) = await kello.publish(words.change(customer, 1, name="Somebody Else"))
        refusal = await kello.expect(CommandRejected, command_id=late)
        assert refusal.code == "version_conflict"
        assert "version 2" in refusal.message
        assert "expected_version 2" in refusal.message
        (same,) = await kello.publish(words.change(customer, 2, name="Ada Muster"))
        await kello.expect(CommandAccepted, command_id=same)
        profile = (await kello.events(CustomerProfile, customer_id=customer))[-1]
        assert (profile.version, profile.name) == (2, "Ada Muster")


async def test_no_event_but_the_profile_carries_personal_data(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("customer"):
        await kello.publish(words.registration(customer), words.change(customer, 1, name="Ada Muster"))
        await kello.publish(words.contact_point(customer, uuid4(), "ada.muster@example.org"))
        await kello.expect(ContactPointAdded, customer_id=customer)
        values = b"".join(record.value or b"" for record in await kello.records("customer.events"))
    assert b"Ada" not in values
    assert b"example.org" not in values
    assert b"Hauptplatz" not in values
    assert b"1990" not in values


async def test_contact_points_come_and_go_and_a_removed_address_is_forgotten(kello: Kello) -> None:
    customer, point = uuid4(), uuid4()
    async with kello.running("customer"):
        add = words.contact_point(customer, point)
        await kello.publish(words.registration(customer), add)
        assert (await kello.expect(ContactPointAdded, contact_point_id=point)).channel is Channel.SMS
        (same,) = await kello.publish(add)
        await kello.expect(CommandAccepted, command_id=same)
        (other,) = await kello.publish(words.contact_point(customer, point, "+43 1 99999999"))
        assert await rejected(kello, other) == "contact_point_exists"
        remove = RemoveContactPoint(issued_by=CLERK, customer_id=customer, contact_point_id=point)
        await kello.publish(remove)
        assert (await kello.expect(ContactPointRemoved, contact_point_id=point)).version == 3
        (again,) = await kello.publish(remove)
        await kello.expect(CommandAccepted, command_id=again)
        (reused,) = await kello.publish(add)
        assert await rejected(kello, reused) == "contact_point_exists"
        (unknown,) = await kello.publish(remove.model_copy(update={"contact_point_id": uuid4()}))
        assert await rejected(kello, unknown) == "unknown_contact_point"
        rows = await kello.rows("customer", "SELECT value, removed_at FROM contact_point WHERE id = $1", point)
        assert rows[0]["value"] is None
        assert rows[0]["removed_at"] is not None
        profile = (await kello.events(CustomerProfile, customer_id=customer))[-1]
        assert [each.value for each in profile.contact_points] == ["ada@example.org"]


async def test_preferred_channels_are_kept_in_their_order(kello: Kello) -> None:
    customer = uuid4()

    def prefer(*channels: Channel) -> SetPreferredChannels:
        return SetPreferredChannels(issued_by=CLERK, customer_id=customer, channels=channels)

    async with kello.running("customer"):
        await kello.publish(words.registration(customer), prefer(Channel.SMS, Channel.EMAIL, Channel.SMS))
        assert (await kello.expect(CustomerUpdated, customer_id=customer)).changed == ("preferred_channels",)
        assert (await kello.expect(CustomerProfile, version=2)).preferred_channels == (Channel.SMS, Channel.EMAIL)
        (same,) = await kello.publish(prefer(Channel.SMS, Channel.EMAIL))
        await kello.expect(CommandAccepted, command_id=same)


async def test_a_deactivated_customer_is_left_as_it_is(kello: Kello) -> None:
    customer = uuid4()
    stop = DeactivateCustomer(issued_by=CLERK, customer_id=customer, reason="moved-away")
    async with kello.running("customer"):
        await kello.publish(words.registration(customer), stop)
        assert (await kello.expect(CustomerDeactivated, customer_id=customer)).reason == "moved-away"
        assert (await kello.expect(CustomerProfile, version=2)).status == "inactive"
        (again,) = await kello.publish(stop)
        await kello.expect(CommandAccepted, command_id=again)
        for command in (
            words.change(customer, 2, name="New Name"),
            words.contact_point(customer, uuid4()),
            SetPreferredChannels(issued_by=CLERK, customer_id=customer, channels=(Channel.SMS,)),
        ):
            (told,) = await kello.publish(command)
            assert await rejected(kello, told) == "customer_inactive"


async def test_a_command_about_somebody_unknown_is_refused_and_leaves_nothing(kello: Kello) -> None:
    stranger = uuid4()
    commands = (
        words.change(stranger, 1, name="Nobody"),
        words.contact_point(stranger, uuid4()),
        words.consent(stranger),
        words.tagging(stranger, "vip"),
    )
    async with kello.running("customer"):
        for told in await kello.publish(*commands):
            assert await rejected(kello, told) == "unknown_customer"
        assert (await kello.get("customer", f"/customers/{stranger}"))[0] == 404
        assert not await kello.rows("customer", "SELECT FROM party")


async def test_what_cannot_be_read_is_answered_and_kept_as_a_dead_letter(kello: Kello) -> None:
    customer = uuid4()
    header = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"broken-1"),
        ("ce_source", b"tests"),
        ("ce_type", RegisterCustomer.ce_type.encode()),
        ("ce_time", b"2026-01-01T00:00:00Z"),
        ("content-type", b"application/json"),
    ]
    async with kello.running("customer"):
        await kello.publish_raw("customer.commands", str(customer).encode(), b'{"name": "Eve', header)
        answer = await kello.expect(CommandRejected, command_id="broken-1")
        (letter,) = await kello.dead_letters("customer", 1)
        await kello.publish(words.registration(customer))
        await kello.expect(CustomerRegistered, customer_id=customer)
    assert answer.key == str(customer)
    assert letter.value == b'{"name": "Eve'


async def test_versions_of_a_customer_count_without_gap_and_equal_those_of_the_profile(kello: Kello) -> None:
    customers = [uuid4() for _ in range(5)]
    async with kello.running("customer"):
        for customer in customers:
            await kello.publish(
                words.registration(customer),
                words.tagging(customer, "loud"),
                words.consent(customer),
                words.change(customer, 3, name="Changed"),
                words.untagging(customer, "loud"),
                twice=True,
            )
        await kello.settled()
        for customer in customers:
            told = [event for event in await kello.events(CustomerEvent) if event.customer_id == customer]
            assert [event.version for event in told if event.subject == f"customer/{customer}"] == [1, 2, 3, 4, 5]
            profiles = await kello.events(CustomerProfile, customer_id=customer)
            assert [profile.version for profile in profiles] == [1, 2, 3, 4, 5]
        await profiles_equal_the_table(kello, customers)


async def profiles_equal_the_table(kello: Kello, customers: list[UUID]) -> None:
    """The last profile of each customer on the topic says what the database says."""
    for customer in customers:
        profile = (await kello.events(CustomerProfile, customer_id=customer))[-1]
        _, body = await kello.get("customer", f"/customers/{customer}")
        published = profile.model_dump(mode="json")
        for name in ("version", "kind", "status", "name", "locale", "country", "zone", "address", "tax_id"):
            assert published[name] == body[name]
        assert published["preferred_channels"] == body["preferred_channels"]
        assert list(published["tags"]) == [tag["tag"] for tag in body["tags"]]
        assert {purpose: said["status"] for purpose, said in published["consents"].items()} == {
            said["purpose"]: said["status"] for said in body["consents"]
        }
        assert [(point["id"], point["value"]) for point in published["contact_points"]] == [
            (point["id"], point["value"]) for point in body["contact_points"]
        ]
