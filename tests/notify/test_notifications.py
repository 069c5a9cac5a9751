"""Who is told what, through topics, HTTP and a real mail server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.harness.kello import Kello
from shared.schemas.base import Event
from shared.schemas.hr import EmployeeChanged
from shared.schemas.notify import (
    CommandAccepted,
    CommandRejected,
    NotificationFailed,
    NotificationSent,
    NotificationSuppressed,
)
from shared.schemas.standards import Channel
from tests.notify.said import (
    CONSENT,
    email,
    failed_payment,
    failed_salary,
    hired,
    invoice,
    payment,
    phone,
    profile,
    request,
    salary,
    ticket,
)


async def told(kello: Kello, recipient_id: UUID) -> list[dict[str, Any]]:
    """What HTTP says that somebody was told, the oldest first."""
    status, body = await kello.get("notify", f"/recipients/{recipient_id}/notifications")
    assert status == 200
    return list(reversed(body["notifications"]))


async def test_an_invoice_leads_to_one_mail_even_when_it_is_published_twice(kello: Kello) -> None:
    ada = uuid4()
    async with kello.running("notify"):
        await kello.publish(profile(ada, email(), locale="de-AT"))
        await kello.settled()
        await kello.publish(invoice(ada), twice=True)
        sent = await kello.expect(NotificationSent, recipient_id=ada)
        await kello.settled()
        assert len(await kello.events(NotificationSent)) == 1
        (mail,) = kello.sandboxes.mailbox.mails()
        (shown,) = await told(kello, ada)
    assert (sent.version, sent.channel, sent.template) == (1, Channel.EMAIL, "invoice-issued")
    assert (sent.category, sent.cause_type) == ("transactional", "kello.billing.invoice-issued.v1")
    assert mail.to == ("ada@example.com",)
    assert mail.message_id == sent.message_id == f"<{sent.notification_id}@example.com>"
    assert " ".join(mail.subject.split()) == "Ihre Rechnung MAIN-2026-000001 über € 120,00"
    assert shown["letter"]["subject"] == mail.subject
    assert [step["verdict"] for step in shown["decisions"]] == ["sending", "sent"]
    assert shown["decisions"][0]["reasons"] == [
        "category:transactional",
        "consent:not-needed",
        "channels:default:email,sms,in_app",
        "email:chosen",
    ]


@pytest.mark.parametrize(
    ("event", "template"),
    [(payment, "payment-received"), (failed_payment, "payment-failed"), (ticket, "ticket-opened")],
)
async def test_what_happens_to_a_customer_is_told(kello: Kello, event: Callable[[UUID], Event], template: str) -> None:
    ada = uuid4()
    async with kello.running("notify"):
        await kello.publish(profile(ada, email()), event(ada))
        await kello.expect(NotificationSent, recipient_id=ada, template=template, channel=Channel.EMAIL)
        await kello.settled()
    assert len(kello.sandboxes.mailbox.mails("ada@example.com")) == 1


async def test_an_employee_is_told_of_the_salary_in_the_language_of_the_employee(kello: Kello) -> None:
    grete = uuid4()
    async with kello.running("notify"):
        await kello.publish(hired(grete), salary(grete), failed_salary(grete))
        await kello.expect(NotificationSent, recipient_id=grete, template="salary-paid")
        await kello.expect(NotificationSent, recipient_id=grete, template="salary-payment-failed")
        await kello.settled()
    paid = next(m for m in kello.sandboxes.mailbox.mails("grete@example.com") if "überwiesen" in m.subject)
    content = message_from_bytes(kello.sandboxes.mailbox.raw(paid.n), policy=policy.default)
    text = content.get_body(("plain",))
    assert text is not None
    assert "Netto: € 2.123,45" in " ".join(text.get_content().split())
    assert "Guten Tag Grete Hermann" in text.get_content()


async def test_an_employee_who_changes_the_address_is_told_there(kello: Kello) -> None:
    grete = uuid4()
    async with kello.running("notify"):
        await kello.publish(hired(grete), EmployeeChanged(employee_id=grete, version=2, email="new@example.com"))
        await kello.settled()
        await kello.publish(salary(grete))
        await kello.expect(NotificationSent, recipient_id=grete)
    assert [mail.to for mail in kello.sandboxes.mailbox.mails()] == [("new@example.com",)]


async def test_a_preference_for_sms_is_followed(kello: Kello) -> None:
    ada = uuid4()
    async with kello.running("notify"):
        await kello.publish(profile(ada, email(), phone(), preferred_channels=("sms", "email")), invoice(ada))
        sent = await kello.expect(NotificationSent, recipient_id=ada, channel=Channel.SMS)
        await kello.settled()
    (message,) = kello.sandboxes.sms.messages()
    assert (message.to, message.id) == ("+4366012345678", sent.message_id)
    assert message.text == "Invoice MAIN-2026-000001: €120.00, due on March 31, 2026."
    assert kello.sandboxes.mailbox.mails() == []


async def test_an_address_that_bounces_falls_back_to_sms_and_is_not_tried_again(kello: Kello) -> None:
    ada = uuid4()
    async with kello.running("notify"):
        await kello.publish(profile(ada, email("ada@bounce.example.com"), phone()))
        await kello.settled()
        await kello.publish(invoice(ada))
        await kello.expect(NotificationSent, recipient_id=ada, channel=Channel.SMS)
        await kello.settled()
        await kello.publish(payment(ada))
        await kello.expect(NotificationSent, recipient_id=ada, template="payment-received", channel=Channel.SMS)
        await kello.settled()
        first, second = await told(kello, ada)
    assert kello.sandboxes.mailbox.summary()["refused"] == 1
    assert [step["verdict"] for step in first["decisions"]] == ["sending", "sending", "sent"]
    assert first["decisions"][1]["reasons"][0] == "email:no-such-address"
    assert "email:bounced-no-such-address" in second["decisions"][0]["reasons"]


async def test_a_full_mailbox_falls_back_and_is_tried_again_the_next_time(kello: Kello) -> None:
    ada = uuid4()
    async with kello.running("notify"):
        await kello.publish(profile(ada, email("ada@full.example.com")), invoice(ada))
        await kello.expect(NotificationSent, recipient_id=ada, channel=Channel.IN_APP)
        await kello.publish(payment(ada))
        await kello.expect(NotificationSent, recipient_id=ada, template="payment-received")
        await kello.settled()
    assert kello.sandboxes.mailbox.summary()["refused"] == 2


async def test_who_has_no_address_finds_it_in_the_inbox_of_the_app(kello: Kello) -> None:
    ada = uuid4()
    async with kello.running("notify"):
        await kello.publish(profile(ada), invoice(ada))
        sent = await kello.expect(NotificationSent, recipient_id=ada, channel=Channel.IN_APP)
        status, body = await kello.get("notify", f"/recipients/{ada}/inbox")
    assert status == 200
    (message,) = body["messages"]
    assert message["id"] == sent.message_id
    assert message["text"].startswith("Invoice MAIN-2026-000001")


async def test_when_the_only_channel_that_was_asked_for_is_refused_it_has_failed(kello: Kello) -> None:
    ada = uuid4()
    wish = request(ada, channels=(Channel.SMS,))
    async with kello.running("notify"):
        await kello.publish(profile(ada, email(), phone("+4366012340000")), wish)
        failed = await kello.expect(NotificationFailed, notification_id=wish.notification_id)
        await kello.settled()
    assert (failed.channel, failed.reason, failed.version) == (Channel.SMS, "invalid-destination", 1)
    assert kello.sandboxes.mailbox.mails() == []


async def test_an_old_cause_is_recorded_as_expired_and_mails_nobody(kello: Kello) -> None:
    ada = uuid4()
    async with kello.running("notify"):
        await kello.publish(profile(ada, email()))
        await kello.publish(invoice(ada), time=datetime.now(UTC) - timedelta(days=8))
        await kello.expect(NotificationSuppressed, recipient_id=ada, reason="expired")
        await kello.settled()
        (shown,) = await told(kello, ada)
    assert (shown["state"], shown["reason"]) == ("suppressed", "expired")
    assert kello.sandboxes.mailbox.mails() == []


async def test_what_is_for_somebody_unknown_waits_and_is_told_in_order(kello: Kello) -> None:
    ada = uuid4()
    numbers = [f"MAIN-2026-00000{n}" for n in range(1, 6)]
    async with kello.running("notify"):
        for number in numbers:
            await kello.publish(invoice(ada, number))
        await kello.settled()
        assert [each["state"] for each in await told(kello, ada)] == ["deferred"] * 5
        await kello.publish(profile(ada))
        await kello.expect(NotificationSent, recipient_id=ada, count=5)
        shown = await told(kello, ada)
        sent = [each.notification_id for each in await kello.events(NotificationSent)]
    assert [str(each) for each in sent] == [each["id"] for each in shown]
    assert [number for number, each in zip(numbers, shown, strict=True) if number in each["letter"]["text"]] == numbers


async def test_what_is_for_somebody_who_never_comes_is_suppressed_after_three_days(kello: Kello) -> None:
    ada = uuid4()
    wish = request(ada)
    async with kello.running("notify"):
        await kello.publish(wish)
        await kello.expect(CommandAccepted, key=str(ada))
        await kello.move_clock("notify", days=2)
        await kello.settled()
        assert await kello.events(NotificationSuppressed) == []
        await kello.move_clock("notify", days=1, minutes=1)
        await kello.expect(NotificationSuppressed, recipient_id=ada, reason="unknown-recipient", version=1)
        await kello.publish(profile(ada, email()))
        await kello.settled()
    assert kello.sandboxes.mailbox.mails() == []


async def test_marketing_without_consent_is_suppressed_and_says_so(kello: Kello) -> None:
    ada, bob = uuid4(), uuid4()
    unasked, asked = request(ada, "newsletter"), request(bob, "newsletter")
    async with kello.running("notify"):
        await kello.publish(profile(ada, email()), profile(bob, email("bob@example.com"), consents=CONSENT))
        await kello.publish(unasked, asked)
        await kello.expect(NotificationSuppressed, notification_id=unasked.notification_id, reason="no-consent")
        await kello.expect(NotificationSent, notification_id=asked.notification_id)
        await kello.settled()
        status, shown = await kello.get("notify", f"/notifications/{unasked.notification_id}")
    assert [mail.to for mail in kello.sandboxes.mailbox.mails()] == [("bob@example.com",)]
    assert status == 200
    assert shown["decisions"][-1]["reasons"] == ["category:marketing", "consent:missing"]
    assert shown["letter"] is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"template": "no-such"}, "unknown-template"),
        ({"data": {"title": "Hello"}}, "missing-field"),
        ({"template": "newsletter", "category": "transactional"}, "wrong-category"),
    ],
)
async def test_a_request_that_cannot_be_carried_out_is_refused(kello: Kello, change: dict[str, Any], code: str) -> None:
    ada = uuid4()
    async with kello.running("notify"):
        await kello.publish(profile(ada, email()), request(ada, **change))
        await kello.expect(CommandRejected, key=str(ada), code=code)
        await kello.settled()
        assert await kello.rows("notify", "SELECT FROM notification") == []
    assert kello.sandboxes.mailbox.mails() == []


async def test_a_second_request_with_the_same_id_sends_nothing_more(kello: Kello) -> None:
    ada = uuid4()
    wish = request(ada)
    async with kello.running("notify"):
        await kello.publish(profile(ada, email()), wish, wish)
        await kello.expect(CommandAccepted, key=str(ada), count=2)
        await kello.publish(request(ada, "security-alert", notification_id=wish.notification_id))
        await kello.expect(CommandRejected, key=str(ada), code="id-taken")
        await kello.settled()
    assert len(kello.sandboxes.mailbox.mails()) == 1


async def test_an_erased_customer_leaves_no_words_behind_and_is_told_nothing_more(kello: Kello) -> None:
    ada = uuid4()
    async with kello.running("notify"):
        await kello.publish(profile(ada, email("ada@erased.example.com")), invoice(ada))
        sent = await kello.expect(NotificationSent, recipient_id=ada)
        await kello.publish_raw(
            "customer.profiles",
            str(ada).encode(),
            None,
            [
                ("kello_version", b"2"),
                ("ce_id", b"erasure"),
                ("ce_source", b"tests"),
                ("ce_type", b"kello.customer.profile-erased.v1"),
                ("ce_specversion", b"1.0"),
                ("ce_time", datetime.now(UTC).isoformat().encode()),
            ],
        )
        await _until_erased(kello, ada)
        await kello.publish(payment(ada), profile(ada, email(), version=1))
        await kello.expect(NotificationSuppressed, recipient_id=ada, reason="erased")
        await kello.settled()
        assert (await kello.get("notify", f"/recipients/{ada}/notifications"))[0] == 404
        assert (await kello.get("notify", f"/notifications/{sent.notification_id}"))[0] == 404
        for table in ("recipient", "notification", "letter", "step", "messaging.task"):
            rows = await kello.rows("notify", f"SELECT to_jsonb(t)::text AS row FROM {table} AS t")  # noqa: S608 - names of tables above
            assert not any("erased.example.com" in row["row"] or "Lovelace" in row["row"] for row in rows)
    assert len(kello.sandboxes.mailbox.mails()) == 1


async def _until_erased(kello: Kello, recipient_id: UUID) -> None:
    async def is_erased() -> bool:
        rows = await kello.rows("notify", "SELECT FROM recipient WHERE id = $1 AND status = 'erased'", recipient_id)
        return len(rows) == 1

    await kello.until(is_erased, "erased")


async def test_words_are_forgotten_after_thirty_days_and_the_decision_is_not(kello: Kello) -> None:
    ada = uuid4()

    async def no_letter() -> bool:
        return not await kello.rows("notify", "SELECT FROM letter")

    async with kello.running("notify"):
        await kello.publish(profile(ada, email()), invoice(ada))
        await kello.expect(NotificationSent, recipient_id=ada)
        await kello.move_clock("notify", days=29)
        await kello.settled()
        assert not await no_letter()
        await kello.move_clock("notify", days=1, hours=2)
        await kello.until(no_letter, "the letter is forgotten")
        (shown,) = await told(kello, ada)
    assert shown["letter"] is None
    assert shown["state"] == "sent"


async def test_an_older_profile_does_not_undo_a_newer_one(kello: Kello) -> None:
    ada = uuid4()
    async with kello.running("notify"):
        await kello.publish(profile(ada, email("new@example.com"), version=3), profile(ada, email("old@example.com")))
        await kello.publish(invoice(ada))
        await kello.expect(NotificationSent, recipient_id=ada)
        await kello.settled()
    assert [mail.to for mail in kello.sandboxes.mailbox.mails()] == [("new@example.com",)]


async def test_pages_follow_one_another_without_gap_or_repetition(kello: Kello) -> None:
    ada = uuid4()
    async with kello.running("notify"):
        await kello.publish(profile(ada), *(invoice(ada) for _ in range(7)))
        await kello.expect(NotificationSent, recipient_id=ada, count=7)
        pages = [item async for item in _pages(lambda path: kello.get("notify", path), ada)]
        everything = await told(kello, ada)
        assert (await kello.get("notify", f"/recipients/{uuid4()}/notifications"))[0] == 404
        assert (await kello.get("notify", f"/recipients/{ada}/notifications", token=None))[0] == 401
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [item["id"] for page in pages for item in page] == [item["id"] for item in reversed(everything)]


async def _pages(get: Callable[[str], Awaitable[tuple[int, Any]]], recipient_id: UUID) -> AsyncIterator[Any]:
    after = ""
    while True:
        _, body = await get(f"/recipients/{recipient_id}/notifications?limit=3{after}")
        yield body["notifications"]
        if body["next"] is None:
            return
        after = f"&after={body['next']}"
