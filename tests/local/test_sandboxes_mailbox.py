"""The mail server over real sockets: it keeps what it accepts, byte for byte, and fails as mail servers do."""

import asyncio
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from aiosmtplib import (
    SMTP,
    SMTPConnectResponseError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPServerDisconnected,
)

from deploy.local.sandboxes import MailBehaviour, Mailbox
from deploy.local.sandboxes.mail_server import BY_DOMAIN
from deploy.local.sandboxes.mailbox import open_mailbox

SENDER = "billing@kello.example.com"
ADA = "ada@example.com"


@pytest.fixture
async def mailbox(tmp_path: Path) -> AsyncIterator[Mailbox]:
    async with open_mailbox(tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(mailbox: Mailbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=mailbox.url) as opened:
        yield opened


def connection(mailbox: Mailbox) -> SMTP:
    return SMTP(hostname=mailbox.smtp_host, port=mailbox.smtp_port, timeout=5)


def letter(to: str = ADA, message_id: str = "<1@kello.example.com>", subject: str = "Rechnung über 19,99 €") -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"], message["Message-ID"] = SENDER, to, subject, message_id
    message.set_content("Grüße.\n.a line that begins with a dot\n")
    message.add_alternative("<p>Grüße</p>", subtype="html")
    message.set_boundary("part")
    return message.as_bytes().replace(b"\n", b"\r\n")


async def send(mailbox: Mailbox, to: str = ADA, message_id: str = "<1@kello.example.com>") -> None:
    async with connection(mailbox) as smtp:
        await smtp.sendmail(SENDER, [to], letter(to, message_id))


async def test_a_mail_is_kept_byte_for_byte(mailbox: Mailbox, client: httpx.AsyncClient) -> None:
    await send(mailbox)
    [mail] = mailbox.mails()
    assert (mail.n, mail.sender, mail.to) == (1, SENDER, (ADA,))
    assert (mail.message_id, mail.subject) == ("<1@kello.example.com>", "Rechnung über 19,99 €")
    assert mail.size == len(mailbox.raw(1))
    raw = await client.get("/admin/mails/1/raw")
    assert raw.content == mailbox.raw(1) == letter()
    assert raw.headers["content-type"] == "message/rfc822"
    shown = (await client.get("/admin/mails/1")).json()
    assert (shown["from"], shown["to"], shown["subject"]) == (SENDER, [ADA], mail.subject)
    assert shown["text"].splitlines() == ["Grüße.", ".a line that begins with a dot"]
    assert shown["html"].strip() == "<p>Grüße</p>"
    assert ["Message-ID", "<1@kello.example.com>"] in shown["headers"]


async def test_mails_can_be_read_by_recipient_by_message_id_and_in_pages(
    mailbox: Mailbox, client: httpx.AsyncClient
) -> None:
    async with connection(mailbox) as smtp:
        for n in range(5):
            to = "odd@example.com" if n % 2 else "even@example.com"
            await smtp.sendmail(SENDER, [to], letter(to, f"<{n}@kello.example.com>"))
    odd = (await client.get("/admin/mails", params={"to": "odd@example.com"})).json()["mails"]
    assert [row["n"] for row in odd] == [2, 4]
    [third] = (await client.get("/admin/mails", params={"message_id": "<2@kello.example.com>"})).json()["mails"]
    assert third["n"] == 3
    first = (await client.get("/admin/mails", params={"limit": 2})).json()
    rest = (await client.get("/admin/mails", params={"after": first["next"]})).json()
    assert [row["n"] for row in first["mails"] + rest["mails"]] == [1, 2, 3, 4, 5]
    assert rest["next"] is None
    assert [mail.n for mail in mailbox.mails(to="even@example.com")] == [1, 3, 5]


async def test_a_mail_that_is_not_there_is_not_found(mailbox: Mailbox, client: httpx.AsyncClient) -> None:
    for path in ("/admin/mails/1", "/admin/mails/1/raw", "/admin/mails/0"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "mail_not_found")
    with pytest.raises(LookupError):
        mailbox.raw(1)


@pytest.mark.parametrize(
    ("domain", "code"), [("bounce.example.com", 550), ("full.example.com", 552), ("busy.example.com", 451)]
)
async def test_some_recipients_are_always_refused(mailbox: Mailbox, domain: str, code: int) -> None:
    for _ in range(2):
        with pytest.raises(SMTPRecipientsRefused) as refused:
            await send(mailbox, f"ada@{domain}")
        assert refused.value.recipients[0].code == code
    assert mailbox.mails() == []
    assert mailbox.summary()["refused"] == 2


async def test_a_refused_recipient_does_not_hold_up_the_others(mailbox: Mailbox) -> None:
    async with connection(mailbox) as smtp:
        refused, _ = await smtp.sendmail(SENDER, [ADA, "bob@bounce.example.com"], letter())
    assert list(refused) == ["bob@bounce.example.com"]
    assert [mail.to for mail in mailbox.mails()] == [(ADA,)]


async def test_a_greylisted_address_is_accepted_the_second_time(mailbox: Mailbox) -> None:
    with pytest.raises(SMTPRecipientsRefused) as refused:
        await send(mailbox, "ada@greylist.example.com")
    assert refused.value.recipients[0].code == 451
    await send(mailbox, "ada@greylist.example.com")
    assert len(mailbox.mails()) == 1


async def test_content_can_be_refused_after_data(mailbox: Mailbox) -> None:
    with pytest.raises(SMTPDataError) as refused:
        await send(mailbox, "ada@refused.example.com")
    assert refused.value.code == 554
    assert mailbox.mails() == []


async def test_a_lost_reply_leaves_the_mail_there_and_a_second_try_repeats_it(
    mailbox: Mailbox, client: httpx.AsyncClient
) -> None:
    with pytest.raises(SMTPServerDisconnected):
        await send(mailbox, "ada@lost-reply.example.com")
    assert len(mailbox.mails()) == 1
    await send(mailbox, "ada@lost-reply.example.com")
    await send(mailbox, message_id="<2@kello.example.com>")
    assert (await client.get("/admin/summary")).json() == {
        "mails": 3,
        "message_ids": 2,
        "repeated": {"<1@kello.example.com>": 2},
        "refused": 0,
    }


async def test_a_lost_mail_arrives_when_it_is_sent_again(mailbox: Mailbox) -> None:
    with pytest.raises(SMTPServerDisconnected):
        await send(mailbox, "ada@lost-mail.example.com")
    assert mailbox.mails() == []
    await send(mailbox, "ada@lost-mail.example.com")
    assert len(mailbox.mails()) == 1


async def test_an_address_can_be_scripted_over_http(mailbox: Mailbox, client: httpx.AsyncClient) -> None:
    script = {"to": "Ada@example.com", "data_reply": "452 4.3.1 disk full"}
    assert (await client.post("/admin/script", json=script)).status_code == 204
    with pytest.raises(SMTPDataError) as refused:
        await send(mailbox)
    assert refused.value.code == 452
    assert (await client.delete("/admin/script")).status_code == 204
    await send(mailbox)
    assert (await client.post("/admin/script", json={"to": ADA, "data_reply": "hello"})).status_code == 422


async def test_a_slow_mail_is_kept_before_it_is_answered(mailbox: Mailbox) -> None:
    assert BY_DOMAIN["slow.example.com"].delay_seconds == 2
    mailbox.script(MailBehaviour(delay_seconds=600), to=ADA)
    await assert_kept_and_not_answered(mailbox)


async def test_latency_delays_the_answer_to_every_mail(mailbox: Mailbox, client: httpx.AsyncClient) -> None:
    await client.post("/admin/latency", json={"seconds": 600})
    await assert_kept_and_not_answered(mailbox)
    mailbox.latency(0)
    await send(mailbox, message_id="<2@kello.example.com>")


async def assert_kept_and_not_answered(mailbox: Mailbox) -> None:
    sending = asyncio.create_task(send(mailbox))
    async with asyncio.timeout(30):
        while not mailbox.mails():  # noqa: ASYNC110  # the other side of a socket sets no event
            await asyncio.sleep(0.01)
    assert not sending.done()
    sending.cancel()
    assert len(mailbox.mails()) == 1


async def test_while_it_is_down_open_lines_are_cut_and_new_ones_told_so(
    mailbox: Mailbox, client: httpx.AsyncClient
) -> None:
    open_line = connection(mailbox)
    await open_line.connect()
    assert (await client.post("/admin/outage", json={"down": True})).status_code == 204
    with pytest.raises(SMTPException):
        await open_line.sendmail(SENDER, [ADA], letter())
    with pytest.raises(SMTPConnectResponseError) as told:
        await send(mailbox)
    assert told.value.code == 421
    await client.post("/admin/outage", json={"down": False})
    await send(mailbox)
    assert len(mailbox.mails()) == 1


@pytest.mark.parametrize(
    ("raw", "message_id", "subject"),
    [
        (b"just text\r\n", "", ""),
        (b"Subject: =?nonsense?b?!!!?=\r\n\r\nx\r\n", "", "=?nonsense?b?!!!?="),
        (b"Message-ID:\r\n <folded@example.com>\r\nSubject: a\r\n b\r\n\r\nx\r\n", "<folded@example.com>", "a b"),
        ("Subject: größer\r\n\r\nx\r\n".encode(), "", "größer"),
        (b"Content-Type: text/plain; charset=klingon\r\n\r\nx\r\n", "", ""),
        (b"Subject: \xff\xfe\r\n\r\n\xff\r\n", "", "\ufffd\ufffd"),
    ],
)
async def test_any_bytes_are_kept(
    mailbox: Mailbox, client: httpx.AsyncClient, raw: bytes, message_id: str, subject: str
) -> None:
    async with connection(mailbox) as smtp:
        await smtp.sendmail(SENDER, [ADA], raw)
    [mail] = mailbox.mails()
    assert (mail.message_id, mail.subject) == (message_id, subject)
    assert mailbox.raw(1) == raw
    assert (await client.get("/admin/mails/1")).status_code == 200


async def test_an_address_may_be_written_in_any_script(mailbox: Mailbox) -> None:
    async with connection(mailbox) as smtp:
        await smtp.sendmail(SENDER, ["grüße@example.com"], letter(), mail_options=["SMTPUTF8"])
    assert mailbox.mails()[0].to == ("grüße@example.com",)


async def test_a_restart_keeps_every_mail_and_what_was_refused(tmp_path: Path) -> None:
    async with open_mailbox(tmp_path / "state") as mailbox:
        await send(mailbox)
        with pytest.raises(SMTPRecipientsRefused):
            await send(mailbox, "ada@greylist.example.com")
        before, summary = mailbox.mails(), mailbox.summary()
    async with open_mailbox(tmp_path / "state") as mailbox:
        assert mailbox.mails() == before
        assert mailbox.summary() == summary
        assert mailbox.raw(1) == letter()
        await send(mailbox, "ada@greylist.example.com")
        assert len(mailbox.mails()) == 2


async def test_it_stops_at_once_although_lines_are_open(tmp_path: Path) -> None:
    async with asyncio.timeout(5):
        async with open_mailbox(tmp_path / "state") as mailbox:
            idle, slow = connection(mailbox), connection(mailbox)
            await idle.connect()
            await slow.connect()
            mailbox.latency(600)
            sending = asyncio.create_task(slow.sendmail(SENDER, [ADA], letter()))
            while not mailbox.mails():  # noqa: ASYNC110  # the other side of a socket sets no event
                await asyncio.sleep(0.01)
        with pytest.raises(SMTPServerDisconnected):
            await sending
        idle.close()
