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
    address,
    email,
    failed_payment,
    failed_salary,
    hired,
    invoice,
    number,
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


async def test_an_invoice_leads_to_one_mail_even_when_it_is_published_twice(notify: Kello) -> None:
    ada, to = uuid4(), address()
    await notify.publish(profile(ada, email(to), locale="de-AT"))
    await notify.settled()
    await notify.publish(invoice(ada), twice=True)
    sent = await notify.expect(NotificationSent, recipient_id=ada)
    await notify.settled()
    assert len(await notify.events(NotificationSent, recipient_id=ada)) == 1
    (mail,) = notify.sandboxes.mailbox.mails(to)
    (shown,) = await told(notify, ada)
    assert (sent.version, sent.channel, sent.template) == (1, Channel.EMAIL, "invoice-issued")
    assert (sent.category, sent.cause_type) == ("transactional", "kello.billing.invoice-issued.v1")
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
async def test_what_happens_to_a_customer_is_told(notify: Kello, event: Callable[[UUID], Event], template: str) -> None:
    ada, to = uuid4(), address()
    await notify.publish(profile(ada, email(to)), event(ada))
    await notify.expect(NotificationSent, recipient_id=ada, template=template, channel=Channel.EMAIL)
    await notify.settled()
    assert len(notify.sandboxes.mailbox.mails(to)) == 1


async def test_an_employee_is_told_of_the_salary_in_the_language_of_the_employee(notify: Kello) -> None:
    grete, to = uuid4(), address()
    await notify.publish(hired(grete, email=to), salary(grete), failed_salary(grete))
    await notify.expect(NotificationSent, recipient_id=grete, template="salary-paid")
    await notify.expect(NotificationSent, recipient_id=grete, template="salary-payment-failed")
    await notify.settled()
    paid = next(m for m in notify.sandboxes.mailbox.mails(to) if "überwiesen" in m.subject)
    content = message_from_bytes(notify.sandboxes.mailbox.raw(paid.n), policy=policy.default)
    text = content.get_body(("plain",))
    assert text is not None
    assert "Netto: € 2.123,45" in " ".join(text.get_content().split())
    assert "Guten Tag Grete Hermann" in text.get_content()


async def test_an_employee_who_changes_the_address_is_told_there(notify: Kello) -> None:
    grete, old, new = uuid4(), address(), address()
    await notify.publish(hired(grete, email=old), EmployeeChanged(employee_id=grete, version=2, email=new))
    await notify.settled()
    await notify.publish(salary(grete))
    await notify.expect(NotificationSent, recipient_id=grete)
    assert [len(notify.sandboxes.mailbox.mails(each)) for each in (old, new)] == [0, 1]


async def test_a_preference_for_sms_is_followed(notify: Kello) -> None:
    ada, to, mobile = uuid4(), address(), number()
    await notify.publish(profile(ada, email(to), phone(mobile), preferred_channels=("sms", "email")), invoice(ada))
    sent = await notify.expect(NotificationSent, recipient_id=ada, channel=Channel.SMS)
    await notify.settled()
    (message,) = [each for each in notify.sandboxes.sms.messages() if each.to == mobile]
    assert message.id == sent.message_id
    assert message.text == "Invoice MAIN-2026-000001: €120.00, due on March 31, 2026."
    assert notify.sandboxes.mailbox.mails(to) == []


async def test_an_address_that_bounces_falls_back_to_sms_and_is_not_tried_again(notify: Kello) -> None:
    ada, refused_before = uuid4(), notify.sandboxes.mailbox.summary()["refused"]
    await notify.publish(profile(ada, email(address("bounce.example.com")), phone()))
    await notify.settled()
    await notify.publish(invoice(ada))
    await notify.expect(NotificationSent, recipient_id=ada, channel=Channel.SMS)
    await notify.settled()
    await notify.publish(payment(ada))
    await notify.expect(NotificationSent, recipient_id=ada, template="payment-received", channel=Channel.SMS)
    await notify.settled()
    first, second = await told(notify, ada)
    assert notify.sandboxes.mailbox.summary()["refused"] - refused_before == 1
    assert [step["verdict"] for step in first["decisions"]] == ["sending", "sending", "sent"]
    assert first["decisions"][1]["reasons"][0] == "email:no-such-address"
    assert "email:bounced-no-such-address" in second["decisions"][0]["reasons"]


async def test_a_full_mailbox_falls_back_and_is_tried_again_the_next_time(notify: Kello) -> None:
    ada, refused_before = uuid4(), notify.sandboxes.mailbox.summary()["refused"]
    await notify.publish(profile(ada, email(address("full.example.com"))), invoice(ada))
    await notify.expect(NotificationSent, recipient_id=ada, channel=Channel.IN_APP)
    await notify.publish(payment(ada))
    await notify.expect(NotificationSent, recipient_id=ada, template="payment-received")
    await notify.settled()
    assert notify.sandboxes.mailbox.summary()["refused"] - refused_before == 2


async def test_who_has_no_address_finds_it_in_the_inbox_of_the_app(notify: Kello) -> None:
    ada = uuid4()
    await notify.publish(profile(ada), invoice(ada))
    sent = await notify.expect(NotificationSent, recipient_id=ada, channel=Channel.IN_APP)
    status, body = await notify.get("notify", f"/recipients/{ada}/inbox")
    assert status == 200
    (message,) = body["messages"]
    assert message["id"] == sent.message_id
    assert message["text"].startswith("Invoice MAIN-2026-000001")


async def test_when_the_only_channel_that_was_asked_for_is_refused_it_has_failed(notify: Kello) -> None:
    ada, to = uuid4(), address()
    wish = request(ada, channels=(Channel.SMS,))
    await notify.publish(profile(ada, email(to), phone(number("0000"))), wish)
    failed = await notify.expect(NotificationFailed, notification_id=wish.notification_id)
    await notify.settled()
    assert (failed.channel, failed.reason, failed.version) == (Channel.SMS, "invalid-destination", 1)
    assert notify.sandboxes.mailbox.mails(to) == []


async def test_an_old_cause_is_recorded_as_expired_and_mails_nobody(notify: Kello) -> None:
    ada, to = uuid4(), address()
    await notify.publish(profile(ada, email(to)))
    await notify.publish(invoice(ada), time=datetime.now(UTC) - timedelta(days=8))
    await notify.expect(NotificationSuppressed, recipient_id=ada, reason="expired")
    await notify.settled()
    (shown,) = await told(notify, ada)
    assert (shown["state"], shown["reason"]) == ("suppressed", "expired")
    assert notify.sandboxes.mailbox.mails(to) == []


async def test_what_is_for_somebody_unknown_waits_and_is_told_in_order(notify: Kello) -> None:
    ada = uuid4()
    numbers = [f"MAIN-2026-00000{n}" for n in range(1, 6)]
    await notify.publish(*(invoice(ada, each) for each in numbers))
    await notify.settled()
    assert [each["state"] for each in await told(notify, ada)] == ["deferred"] * 5
    await notify.publish(profile(ada))
    await notify.expect(NotificationSent, recipient_id=ada, count=5)
    shown = await told(notify, ada)
    sent = [each.notification_id for each in await notify.events(NotificationSent, recipient_id=ada)]
    assert [str(each) for each in sent] == [each["id"] for each in shown]
    assert [each for each, told_of in zip(numbers, shown, strict=True) if each in told_of["letter"]["text"]] == numbers


async def test_what_is_for_somebody_who_never_comes_is_suppressed_after_three_days(kello: Kello) -> None:
    ada = uuid4()
    wish = request(ada)
    async with kello.running("notify"):
        await kello.publish(wish)
        await kello.expect(CommandAccepted, key=str(ada))
        await kello.clock.move("notify", days=2)
        await kello.settled()
        assert await kello.events(NotificationSuppressed) == []
        await kello.clock.move("notify", days=1, minutes=1)
        await kello.expect(NotificationSuppressed, recipient_id=ada, reason="unknown-recipient", version=1)
        await kello.publish(profile(ada, email()))
        await kello.settled()
    assert kello.sandboxes.mailbox.mails() == []


async def test_marketing_without_consent_is_suppressed_and_says_so(notify: Kello) -> None:
    ada, bob, to, bobs = uuid4(), uuid4(), address(), address()
    unasked, asked = request(ada, "newsletter"), request(bob, "newsletter")
    await notify.publish(profile(ada, email(to)), profile(bob, email(bobs), consents=CONSENT))
    await notify.publish(unasked, asked)
    await notify.expect(NotificationSuppressed, notification_id=unasked.notification_id, reason="no-consent")
    await notify.expect(NotificationSent, notification_id=asked.notification_id)
    await notify.settled()
    status, shown = await notify.get("notify", f"/notifications/{unasked.notification_id}")
    assert [len(notify.sandboxes.mailbox.mails(each)) for each in (to, bobs)] == [0, 1]
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
async def test_a_request_that_cannot_be_carried_out_is_refused(
    notify: Kello, change: dict[str, Any], code: str
) -> None:
    ada, to = uuid4(), address()
    await notify.publish(profile(ada, email(to)), request(ada, **change))
    await notify.expect(CommandRejected, key=str(ada), code=code)
    await notify.settled()
    assert await notify.rows("notify", "SELECT FROM notification WHERE recipient_id = $1", ada) == []
    assert notify.sandboxes.mailbox.mails(to) == []


async def test_a_second_request_with_the_same_id_sends_nothing_more(notify: Kello) -> None:
    ada, to = uuid4(), address()
    wish = request(ada)
    await notify.publish(profile(ada, email(to)), wish, wish)
    await notify.expect(CommandAccepted, key=str(ada), count=2)
    await notify.publish(request(ada, "security-alert", notification_id=wish.notification_id))
    await notify.expect(CommandRejected, key=str(ada), code="id-taken")
    await notify.settled()
    assert len(notify.sandboxes.mailbox.mails(to)) == 1


async def test_an_erased_customer_leaves_no_words_behind_and_is_told_nothing_more(notify: Kello) -> None:
    ada, to, name = uuid4(), address(), "Ada the Erased"
    await notify.publish(profile(ada, email(to), name=name), invoice(ada))
    sent = await notify.expect(NotificationSent, recipient_id=ada)
    await notify.publish_raw(
        "customer.profiles",
        str(ada).encode(),
        None,
        [
            ("kello_version", b"2"),
            ("ce_id", str(uuid4()).encode()),
            ("ce_source", b"tests"),
            ("ce_type", b"kello.customer.profile-erased.v1"),
            ("ce_specversion", b"1.0"),
            ("ce_time", datetime.now(UTC).isoformat().encode()),
        ],
    )
    await _until_erased(notify, ada)
    await notify.publish(payment(ada), profile(ada, email(), version=1))
    await notify.expect(NotificationSuppressed, recipient_id=ada, reason="erased")
    await notify.settled()
    assert (await notify.get("notify", f"/recipients/{ada}/notifications"))[0] == 404
    assert (await notify.get("notify", f"/notifications/{sent.notification_id}"))[0] == 404
    for query in (
        "SELECT to_jsonb(t)::text AS row FROM recipient AS t",
        "SELECT to_jsonb(t)::text AS row FROM notification AS t",
        "SELECT to_jsonb(t)::text AS row FROM letter AS t",
        "SELECT to_jsonb(t)::text AS row FROM step AS t",
        "SELECT convert_from(payload, 'UTF8') AS row FROM messaging.task",
    ):
        rows = await notify.rows("notify", query)
        assert not any(to in row["row"] or name in row["row"] for row in rows)
    assert len(notify.sandboxes.mailbox.mails(to)) == 1


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
        await kello.clock.move("notify", days=29)
        await kello.settled()
        assert not await no_letter()
        await kello.clock.move("notify", days=1, hours=2)
        await kello.until(no_letter, "the letter is forgotten")
        (shown,) = await told(kello, ada)
    assert shown["letter"] is None
    assert shown["state"] == "sent"


async def test_an_older_profile_does_not_undo_a_newer_one(notify: Kello) -> None:
    ada, old, new = uuid4(), address(), address()
    await notify.publish(profile(ada, email(new), version=3), profile(ada, email(old)))
    await notify.publish(invoice(ada))
    await notify.expect(NotificationSent, recipient_id=ada)
    await notify.settled()
    assert [len(notify.sandboxes.mailbox.mails(each)) for each in (old, new)] == [0, 1]


async def test_pages_follow_one_another_without_gap_or_repetition(notify: Kello) -> None:
    ada = uuid4()
    await notify.publish(profile(ada), *(invoice(ada) for _ in range(7)))
    await notify.expect(NotificationSent, recipient_id=ada, count=7)
    pages = [item async for item in _pages(lambda path: notify.get("notify", path), ada)]
    everything = await told(notify, ada)
    assert (await notify.get("notify", f"/recipients/{uuid4()}/notifications"))[0] == 404
    assert (await notify.get("notify", f"/recipients/{ada}/notifications", token=None))[0] == 401
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
