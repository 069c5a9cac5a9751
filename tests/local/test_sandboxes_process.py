"""The sandboxes as one process, and as one context in a test's event loop."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosmtplib
import httpx
import pytest

from deploy.local.sandboxes import Ports, Sandboxes

CHECKOUT = Path(__file__).parents[2]
PAYMENT = {"kind": "payout", "amount": 250_000, "currency": "EUR", "token": "tok_ok", "reference": "payslip-7"}


@asynccontextmanager
async def running(state: Path, *options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """The process and the addresses that it printed; killed at the end if it is still there."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local.sandboxes", "--state", str(state), *options),
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdout is None:
            raise AssertionError("stdout is a pipe")
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def use(addresses: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": "k"}
    async with httpx.AsyncClient(headers=headers) as client:
        assert (await client.post(f"{addresses['gateway']}/payments", json=PAYMENT)).status_code == 201
        text = {"to": "+4915112345678", "text": "Hi"}
        assert (await client.post(f"{addresses['sms']}/messages", json=text)).status_code == 201
    async with aiosmtplib.SMTP(hostname=addresses["smtp_host"], port=addresses["smtp_port"], timeout=5) as smtp:
        await smtp.sendmail("a@example.com", ["b@example.com"], "Message-ID: <1@example.com>\r\n\r\nHi\r\n")


async def counts(addresses: dict[str, Any]) -> tuple[int, int, int]:
    async with httpx.AsyncClient() as client:
        captures = (await client.get(f"{addresses['gateway']}/admin/summary")).json()["captures"]
        messages = (await client.get(f"{addresses['sms']}/admin/summary")).json()["messages"]
        mails = (await client.get(f"{addresses['mailbox']}/admin/summary")).json()["mails"]
    return captures, messages, mails


async def test_a_killed_process_forgets_nothing_that_it_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, addresses):
        await use(addresses)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
    async with running(tmp_path) as (_, addresses):
        assert await counts(addresses) == (1, 1, 1)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{addresses['gateway']}/payments/by-key/k")).json()["state"] == "succeeded"


@pytest.mark.parametrize("told_by", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_quietly_when_told(tmp_path: Path, told_by: signal.Signals) -> None:
    async with running(tmp_path) as (process, addresses):
        await use(addresses)
        process.send_signal(told_by)
        async with asyncio.timeout(10):
            out, err = await process.communicate()
        assert (process.returncode, out, err) == (0, b"", b"")


async def test_the_process_loses_replies_as_well(tmp_path: Path) -> None:
    """It runs on uvloop, whose connections are others than those of the other tests."""
    async with running(tmp_path) as (_, addresses):
        async with httpx.AsyncClient(headers={"Idempotency-Key": "k"}) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(f"{addresses['gateway']}/payments", json=PAYMENT | {"token": "tok_lost_reply"})
        async with aiosmtplib.SMTP(hostname=addresses["smtp_host"], port=addresses["smtp_port"], timeout=5) as smtp:
            with pytest.raises(aiosmtplib.SMTPServerDisconnected):
                await smtp.sendmail(
                    "a@example.com", ["b@lost-reply.example.com"], "Message-ID: <1@example.com>\r\n\r\n"
                )
        assert await counts(addresses) == (1, 0, 1)


async def test_it_listens_again_where_it_did(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, addresses):
        process.terminate()
        await process.wait()
    ports = [
        *("--gateway-port", addresses["gateway"].rpartition(":")[2], "--sms-port", addresses["sms"].rpartition(":")[2]),
        *("--smtp-port", str(addresses["smtp_port"]), "--mailbox-port", addresses["mailbox"].rpartition(":")[2]),
    ]
    async with running(tmp_path, *ports) as (_, again):
        assert again == addresses


async def test_in_one_event_loop_they_are_scripted_and_read_directly(tmp_path: Path) -> None:
    async with Sandboxes(tmp_path) as sandboxes:
        addresses = sandboxes.addresses()
        await use(addresses)
        assert await counts(addresses) == (1, 1, 1)
        assert [capture.amount for capture in sandboxes.gateway.captures()] == [250_000]
        assert [message.text for message in sandboxes.sms.messages()] == ["Hi"]
        assert [mail.message_id for mail in sandboxes.mailbox.mails()] == ["<1@example.com>"]
        async with httpx.AsyncClient() as client:
            for url in (sandboxes.gateway.url, sandboxes.sms.url, sandboxes.mailbox.url):
                assert (await client.get(f"{url}/healthz")).json() == {"status": "ok"}


async def test_what_was_opened_is_closed_when_the_rest_cannot_start(tmp_path: Path) -> None:
    async with Sandboxes(tmp_path / "first") as first:
        taken = first.mailbox.smtp_port
        with pytest.raises(OSError, match="in use"):
            async with Sandboxes(tmp_path / "second", Ports(smtp=taken)):
                pass
        async with Sandboxes(tmp_path / "second"):
            pass
