"""What becomes of a message when mail server or SMS provider fail: nothing lost, and nothing said twice."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from deploy.local.sandboxes import MailBehaviour
from shared.harness.kello import Kello
from shared.schemas.notify import NotificationFailed, NotificationSent, NotificationUnknown
from shared.schemas.standards import Channel
from tests.notify.said import CONSENT, email, invoice, phone, profile, request


async def known(kello: Kello, *points: Any, **more: Any) -> UUID:
    """Somebody whose profile has arrived."""
    customer = uuid4()
    await kello.publish(profile(customer, *points, **more))
    await kello.settled()
    return customer


async def retried(kello: Kello, times: int) -> None:
    """Waits until calls have failed and been scheduled again, so often in all."""

    async def were_tried() -> bool:
        rows = await kello.rows("notify", "SELECT coalesce(sum(attempts), 0) AS n FROM messaging.task")
        return bool(rows[0]["n"] >= times)

    await kello.until(were_tried, f"{times} calls")


async def test_while_the_mail_server_is_down_mail_waits_and_each_goes_out_once_afterwards(kello: Kello) -> None:
    async with kello.running("notify"):
        customers = [await known(kello, email(f"c{n}@example.com"), phone()) for n in range(5)]
        kello.sandboxes.mailbox.outage(down=True)
        for customer in customers:
            await kello.publish(invoice(customer))
        await retried(kello, 10)
        assert await kello.events(NotificationSent) == []
        kello.sandboxes.mailbox.outage(down=False)
        await kello.expect(NotificationSent, count=5, channel=Channel.EMAIL)
        await kello.settled()
    summary = kello.sandboxes.mailbox.summary()
    assert (summary["mails"], summary["message_ids"]) == (5, 5)
    assert kello.sandboxes.sms.messages() == []


async def test_a_line_that_drops_after_data_leads_to_the_same_message_id_again(kello: Kello) -> None:
    async with kello.running("notify"):
        customer = await known(kello, email("ada@lost-reply.example.com"))
        await kello.publish(invoice(customer))
        unknown = await kello.expect(NotificationUnknown, recipient_id=customer)
        sent = await kello.expect(NotificationSent, recipient_id=customer)
        await kello.settled()
        assert len(await kello.events(NotificationSent)) == 1
    assert (unknown.version, sent.version) == (1, 2)
    first, second = kello.sandboxes.mailbox.mails()
    assert first.message_id == second.message_id == sent.message_id
    assert kello.sandboxes.mailbox.raw(first.n) == kello.sandboxes.mailbox.raw(second.n)


async def test_a_mail_that_is_lost_with_the_line_is_sent_again(kello: Kello) -> None:
    async with kello.running("notify"):
        customer = await known(kello, email("ada@lost-mail.example.com"))
        await kello.publish(invoice(customer))
        await kello.expect(NotificationSent, recipient_id=customer, version=2)
        await kello.settled()
    assert len(kello.sandboxes.mailbox.mails()) == 1


async def test_marketing_of_which_nobody_knows_whether_it_arrived_is_given_up(kello: Kello) -> None:
    async with kello.running("notify"):
        customer = await known(kello, email("ada@lost-reply.example.com"), consents=CONSENT)
        await kello.publish(request(customer, "newsletter"))
        failed = await kello.expect(NotificationFailed, recipient_id=customer, reason="uncertain")
        await kello.settled()
        assert await kello.events(NotificationSent) == []
    assert failed.version == 2
    assert len(kello.sandboxes.mailbox.mails()) == 1


async def test_a_mail_server_that_never_answers_is_not_asked_for_ever(kello: Kello) -> None:
    kello.sandboxes.mailbox.script(MailBehaviour(lose_replies=1000), to="ada@example.com")
    async with kello.running("notify"):
        customer = await known(kello, email())
        await kello.publish(invoice(customer))
        await kello.expect(NotificationFailed, recipient_id=customer, reason="uncertain", within=60)
        await kello.settled()
    summary = kello.sandboxes.mailbox.summary()
    assert summary["message_ids"] == 1
    assert summary["mails"] == 6


@pytest.mark.parametrize("address", ["ada@greylist.example.com", "ada@slow.example.com"])
async def test_a_mail_server_that_asks_for_patience_gets_it(kello: Kello, address: str) -> None:
    async with kello.running("notify"):
        customer = await known(kello, email(address))
        await kello.publish(invoice(customer))
        await kello.expect(NotificationSent, recipient_id=customer, channel=Channel.EMAIL, version=1)
        await kello.settled()
    assert len(kello.sandboxes.mailbox.mails(address)) == 1


async def test_one_recipient_who_is_refused_does_not_break_the_line_for_the_next(kello: Kello) -> None:
    async with kello.running("notify"):
        refused = await known(kello, email("ada@refused.example.com"))
        bounced = await known(kello, email("ada@bounce.example.com"))
        fine = await known(kello, email("fine@example.com"))
        await kello.publish(invoice(refused), invoice(bounced), invoice(fine))
        await kello.expect(NotificationSent, recipient_id=refused, channel=Channel.IN_APP)
        await kello.expect(NotificationSent, recipient_id=bounced, channel=Channel.IN_APP)
        await kello.expect(NotificationSent, recipient_id=fine, channel=Channel.EMAIL)
        await kello.settled()
    assert [mail.to for mail in kello.sandboxes.mailbox.mails()] == [("fine@example.com",)]


@pytest.mark.parametrize(
    ("number", "versions"),
    [
        ("+4366012340001", 2),  # the reply is lost: asked about, and there
        ("+4366012340002", 2),  # the request is lost: asked about, and sent again
        ("+4366012340003", 1),  # throttled: later
        ("+4366012340004", 1),  # unavailable: later
    ],
)
async def test_a_text_message_is_sent_once_whatever_the_provider_does(kello: Kello, number: str, versions: int) -> None:
    async with kello.running("notify"):
        customer = await known(kello, phone(number))
        await kello.publish(invoice(customer))
        sent = await kello.expect(NotificationSent, recipient_id=customer, channel=Channel.SMS)
        await kello.settled()
        assert len(await kello.events(NotificationSent)) == 1
    (message,) = kello.sandboxes.sms.messages()
    assert (sent.version, sent.message_id) == (versions, message.id)


async def test_a_killed_process_loses_no_mail_and_sends_none_under_two_message_ids(kello: Kello) -> None:
    customers = [uuid4() for _ in range(20)]
    kello.sandboxes.mailbox.latency(0.2)
    await kello.publish(*(profile(each, email(f"c{n}@example.com")) for n, each in enumerate(customers)))
    async with kello.spawned("notify") as killed:
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
