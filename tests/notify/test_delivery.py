"""What becomes of a message when mail server or SMS provider fail: nothing lost, and nothing said twice."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from deploy.local.sandboxes import MailBehaviour
from services.notify.domain.tasks import GivenUp, SendEmail
from services.notify.effects import RESENDS_MAX, MailCalls
from services.notify.mail import Postbox
from shared.harness.kello import Kello
from shared.messaging.tasks import NOT_DONE, TaskCall
from shared.schemas.notify import Category, NotificationFailed, NotificationSent, NotificationUnknown
from shared.schemas.standards import Channel
from tests.notify.said import CONSENT, address, email, invoice, number, phone, profile, request


async def known(notify: Kello, *points: Any, **more: Any) -> UUID:
    """Somebody whose profile has arrived."""
    customer = uuid4()
    await notify.publish(profile(customer, *points, **more))
    await notify.settled()
    return customer


async def retried(notify: Kello, times: int) -> None:
    """Waits until calls have failed and been scheduled again, so often in all."""

    async def were_tried() -> bool:
        rows = await notify.rows("notify", "SELECT coalesce(sum(attempts), 0) AS n FROM messaging.task")
        return bool(rows[0]["n"] >= times)

    await notify.until(were_tried, f"{times} calls")


async def test_while_the_mail_server_is_down_mail_waits_and_each_goes_out_once_afterwards(notify: Kello) -> None:
    addresses, texts_before = [address() for _ in range(5)], len(notify.sandboxes.sms.messages())
    customers = [await known(notify, email(each), phone()) for each in addresses]
    notify.sandboxes.mailbox.outage(down=True)
    for customer in customers:
        await notify.publish(invoice(customer))
    await retried(notify, 10)
    assert not any([await notify.events(NotificationSent, recipient_id=customer) for customer in customers])
    notify.sandboxes.mailbox.outage(down=False)
    for customer in customers:
        await notify.expect(NotificationSent, recipient_id=customer, channel=Channel.EMAIL)
    await notify.settled()
    assert [len(notify.sandboxes.mailbox.mails(each)) for each in addresses] == [1] * 5
    assert len(notify.sandboxes.sms.messages()) == texts_before


async def test_a_line_that_drops_after_data_leads_to_the_same_message_id_again(notify: Kello) -> None:
    to = address("lost-reply.example.com")
    customer = await known(notify, email(to))
    await notify.publish(invoice(customer))
    unknown = await notify.expect(NotificationUnknown, recipient_id=customer)
    sent = await notify.expect(NotificationSent, recipient_id=customer)
    await notify.settled()
    assert len(await notify.events(NotificationSent, recipient_id=customer)) == 1
    assert (unknown.version, sent.version) == (1, 2)
    first, second = notify.sandboxes.mailbox.mails(to)
    assert first.message_id == second.message_id == sent.message_id
    assert notify.sandboxes.mailbox.raw(first.n) == notify.sandboxes.mailbox.raw(second.n)


async def test_a_mail_that_is_lost_with_the_line_is_sent_again(notify: Kello) -> None:
    to = address("lost-mail.example.com")
    customer = await known(notify, email(to))
    await notify.publish(invoice(customer))
    await notify.expect(NotificationSent, recipient_id=customer, version=2)
    await notify.settled()
    assert len(notify.sandboxes.mailbox.mails(to)) == 1


async def test_marketing_of_which_nobody_knows_whether_it_arrived_is_given_up(notify: Kello) -> None:
    to = address("lost-reply.example.com")
    customer = await known(notify, email(to), consents=CONSENT)
    await notify.publish(request(customer, "newsletter"))
    failed = await notify.expect(NotificationFailed, recipient_id=customer, reason="uncertain")
    await notify.settled()
    assert await notify.events(NotificationSent, recipient_id=customer) == []
    assert failed.version == 2
    assert len(notify.sandboxes.mailbox.mails(to)) == 1


async def test_a_mail_server_that_never_answers_is_not_asked_for_ever(notify: Kello) -> None:
    to = address()
    notify.sandboxes.mailbox.script(MailBehaviour(lose_replies=1000), to=to)
    customer = await known(notify, email(to))
    await notify.publish(invoice(customer))
    await notify.expect(NotificationFailed, recipient_id=customer, reason="uncertain", within=60)
    await notify.settled()
    mails = notify.sandboxes.mailbox.mails(to)
    assert len(mails) == 4
    assert len({mail.message_id for mail in mails}) == 1


@pytest.mark.parametrize(
    ("category", "reconciliations", "expected"),
    [
        ("transactional", 1, NOT_DONE),
        ("security", RESENDS_MAX, NOT_DONE),
        ("service", RESENDS_MAX + 1, GivenUp()),
        ("marketing", 1, GivenUp()),
    ],
)
async def test_attempts_during_an_outage_do_not_count_as_mails_without_an_answer(
    category: Category, reconciliations: int, expected: object
) -> None:
    mail = SendEmail(
        notification_id=uuid4(),
        template="service-message",
        category=category,
        language="en",
        to=address(),
        name="Ada",
        dated=datetime.now(UTC),
        subject="s",
        text="t",
        html="h",
    )
    call = TaskCall("send-email", "1", 5_000, "notify:send-email:1", reconciliations)
    calls = MailCalls(Postbox("127.0.0.1", 1, "kello@example.com", "Kello"))
    assert await calls.reconcile(mail, call) == expected


@pytest.mark.parametrize("domain", ["greylist.example.com", "slow.example.com"])
async def test_a_mail_server_that_asks_for_patience_gets_it(notify: Kello, domain: str) -> None:
    to = address(domain)
    customer = await known(notify, email(to))
    await notify.publish(invoice(customer))
    await notify.expect(NotificationSent, recipient_id=customer, channel=Channel.EMAIL, version=1)
    await notify.settled()
    assert len(notify.sandboxes.mailbox.mails(to)) == 1


async def test_an_address_beyond_ascii_is_reached(notify: Kello) -> None:
    to = f"jürgen.{address('bücher.example.com')}"
    customer = await known(notify, email(to))
    await notify.publish(invoice(customer))
    await notify.expect(NotificationSent, recipient_id=customer, channel=Channel.EMAIL)
    assert len(notify.sandboxes.mailbox.mails(to)) == 1


async def test_one_recipient_who_is_refused_does_not_break_the_line_for_the_next(notify: Kello) -> None:
    to, before = address(), len(notify.sandboxes.mailbox.mails())
    refused = await known(notify, email(address("refused.example.com")))
    bounced = await known(notify, email(address("bounce.example.com")))
    fine = await known(notify, email(to))
    await notify.publish(invoice(refused), invoice(bounced), invoice(fine))
    await notify.expect(NotificationSent, recipient_id=refused, channel=Channel.IN_APP)
    await notify.expect(NotificationSent, recipient_id=bounced, channel=Channel.IN_APP)
    await notify.expect(NotificationSent, recipient_id=fine, channel=Channel.EMAIL)
    await notify.settled()
    assert [mail.to for mail in notify.sandboxes.mailbox.mails()[before:]] == [(to,)]


@pytest.mark.parametrize(
    ("last_digits", "versions"),
    [
        ("0001", 2),  # the reply is lost: asked about, and there
        ("0002", 2),  # the request is lost: asked about, and sent again
        ("0003", 1),  # throttled: later
        ("0004", 1),  # unavailable: later
    ],
)
async def test_a_text_message_is_sent_once_whatever_the_provider_does(
    notify: Kello, last_digits: str, versions: int
) -> None:
    to = number(last_digits)
    customer = await known(notify, phone(to))
    await notify.publish(invoice(customer))
    sent = await notify.expect(NotificationSent, recipient_id=customer, channel=Channel.SMS)
    await notify.settled()
    assert len(await notify.events(NotificationSent, recipient_id=customer)) == 1
    (message,) = [each for each in notify.sandboxes.sms.messages() if each.to == to]
    assert (sent.version, sent.message_id) == (versions, message.id)


@pytest.mark.timeout(300)
async def test_a_killed_process_loses_no_mail_and_sends_none_under_two_message_ids(kello: Kello) -> None:
    customers = [uuid4() for _ in range(20)]
    kello.sandboxes.mailbox.latency(0.2)
    await kello.publish(*(profile(each, email(f"c{n}@example.com")) for n, each in enumerate(customers)))
    async with kello.spawned("notify", environment={"KELLO_MAIL_TIMEOUT_SECONDS": "3"}) as killed:
        await kello.publish(*(invoice(each) for each in customers))

        async def some_are_sent() -> bool:
            return len(kello.sandboxes.mailbox.mails()) >= 3

        await kello.until(some_are_sent, "some mails are sent", within=60)
        killed.kill()
        await killed.wait()
    async with kello.running("notify"):
        await kello.expect(NotificationSent, count=20, within=90)
        await kello.settled(within=60)
        assert len(await kello.events(NotificationSent)) == 20
    mails = kello.sandboxes.mailbox.mails()
    assert {mail.to for mail in mails} == {(f"c{n}@example.com",) for n in range(20)}
    assert len({mail.message_id for mail in mails}) == 20
