"""Consents, tags, notes, interactions and feedback."""

from datetime import UTC, date, datetime
from uuid import uuid4

from shared.harness.kello import Kello
from shared.schemas.base import Event
from shared.schemas.customer import (
    AddNote,
    CommandAccepted,
    CommandRejected,
    ConsentRecorded,
    CustomerCommand,
    CustomerProfile,
    CustomerTagged,
    CustomerUntagged,
    FeedbackReceived,
    InteractionRecorded,
    NoteAdded,
    RecordFeedback,
    RecordInteraction,
)
from tests.customer import words
from tests.customer.words import CLERK


async def test_every_word_on_a_consent_is_kept_and_the_last_one_counts(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("customer"):
        await kello.publish(
            words.registration(customer),
            words.consent(customer, evidence="form 12", valid_until=date(2030, 1, 1)),
            words.consent(customer, "profiling"),
            words.consent(customer, status="withdrawn"),
        )
        await kello.expect(ConsentRecorded, customer_id=customer, status="withdrawn", version=4)
        profile = await kello.expect(CustomerProfile, customer_id=customer, version=4)
        _, body = await kello.get("customer", f"/customers/{customer}")
        rights = "SELECT has_table_privilege('customer', 'consent', 'UPDATE') AS to_change"
        assert not (await kello.rows("customer", rights))[0]["to_change"]
    assert {purpose: said.status for purpose, said in profile.consents.items()} == {
        "marketing": "withdrawn",
        "profiling": "granted",
    }
    assert [(said["purpose"], said["status"], said["is_current"]) for said in body["consent_history"]] == [
        ("marketing", "withdrawn", True),
        ("profiling", "granted", True),
        ("marketing", "granted", False),
    ]
    assert body["consent_history"][2]["evidence"] == "form 12"
    assert {said["purpose"]: said["status"] for said in body["consents"]} == {
        "marketing": "withdrawn",
        "profiling": "granted",
    }


async def test_a_tag_is_there_once_and_comes_back_after_it_was_taken_off(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("customer"):
        await kello.publish(words.registration(customer), words.tagging(customer, "loud"))
        (again,) = await kello.publish(words.tagging(customer, "loud"))
        await kello.expect(CommandAccepted, command_id=again)
        await kello.publish(words.untagging(customer, "loud"))
        await kello.expect(CustomerUntagged, customer_id=customer)
        (missing,) = await kello.publish(words.untagging(customer, "loud"))
        await kello.expect(CommandAccepted, command_id=missing)
        assert (await kello.get("customer", f"/customers/{customer}"))[1]["tags"] == []
        await kello.publish(words.tagging(customer, "loud"))
        await kello.expect(CustomerTagged, customer_id=customer, version=4)
        status, listed = await kello.get("customer", "/customers?tag=loud")
        assert (status, [each["id"] for each in listed["customers"]]) == (200, [str(customer)])
        assert (await kello.expect(CustomerProfile, version=4)).tags == ("loud",)


NOTE = AddNote(issued_by=CLERK, customer_id=uuid4(), note_id=uuid4(), text="Likes tea", pinned=True)
CALL = RecordInteraction(
    issued_by=CLERK,
    customer_id=uuid4(),
    interaction_id=uuid4(),
    kind="call",
    direction="inbound",
    occurred_at=datetime(2026, 5, 4, 12, tzinfo=UTC),
    summary="Asked for the parcel",
)
PRAISE = RecordFeedback(
    issued_by=CLERK, customer_id=uuid4(), feedback_id=uuid4(), kind="nps", score=9, text="Fine", purchase_id=uuid4()
)


RECORDS: list[tuple[CustomerCommand, dict[str, object], type[Event], str]] = [
    (NOTE, {"text": "Likes coffee"}, NoteAdded, "note_exists"),
    (CALL, {"summary": "Asked for more"}, InteractionRecorded, "interaction_exists"),
    (PRAISE, {"score": 2}, FeedbackReceived, "feedback_exists"),
]


async def test_what_care_writes_down_is_kept_once_under_its_id(kello: Kello) -> None:
    async with kello.running("customer"):
        for command, other, event, code in RECORDS:
            customer = command.customer_id
            (early,) = await kello.publish(command)
            assert (await kello.expect(CommandRejected, command_id=early)).code == "unknown_customer"
            await kello.publish(words.registration(customer), command)
            await kello.expect(event, customer_id=customer, version=1)
            (same,) = await kello.publish(command)
            await kello.expect(CommandAccepted, command_id=same)
            (changed,) = await kello.publish(command.model_copy(update=other))
            assert (await kello.expect(CommandRejected, command_id=changed)).code == code
            assert len(await kello.events(event)) == 1


async def test_the_view_of_a_customer_shows_what_care_wrote_down_the_pinned_note_first(kello: Kello) -> None:
    customer = uuid4()
    about = {"customer_id": customer}
    later = NOTE.model_copy(update={**about, "note_id": uuid4(), "text": "Moved", "pinned": False})
    async with kello.running("customer"):
        await kello.publish(
            words.registration(customer),
            NOTE.model_copy(update=about),
            later,
            CALL.model_copy(update=about),
            PRAISE.model_copy(update=about),
        )
        await kello.expect(FeedbackReceived, customer_id=customer)
        _, body = await kello.get("customer", f"/customers/{customer}")
    assert [note["text"] for note in body["notes"]] == ["Likes tea", "Moved"]
    assert body["notes"][0]["written_by"] == CLERK
    assert (body["interactions"][0]["kind"], body["interactions"][0]["summary"]) == ("call", "Asked for the parcel")
    assert (body["feedback"][0]["kind"], body["feedback"][0]["score"]) == ("nps", 9)
