"""What `kello` offers to a test: what it tells when a wait was in vain, its clock, its sandboxes, its event loop."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.local.containers import engine_answers
from deploy.local.processes import StartError
from deploy.local.stack import Stack
from shared.harness import Behaviour, Kello
from shared.schemas.billing import CommandRejected, InvoiceIssued, InvoicePaid

SOON = 0.2


def paid(**fields: Any) -> InvoicePaid:
    return InvoicePaid(
        **{
            "customer_id": uuid4(),
            "invoice_id": uuid4(),
            "version": 1,
            "currency": "EUR",
            "total": 100,
            "paid_on": "2026-01-31",
            **fields,
        }
    )


async def test_a_wait_in_vain_tells_what_came_instead(kello: Kello) -> None:
    customer, other = uuid4(), uuid4()
    await kello.database("billing")
    await kello.publish(
        paid(customer_id=other),
        CommandRejected(
            key=str(customer),
            command_id="c-1",
            command_type="kello.billing.issue-invoice.v1",
            code="unknown_country",
            message="name a country with a tax rate",
        ),
    )
    reason = [("ce_type", b"kello.sales.purchase-recorded.v1"), ("kello_dead_code", b"future")]
    await kello.publish_raw("billing.dead-letters", b"k", b"{}", reason)
    with pytest.raises(AssertionError) as failure:
        await kello.expect(InvoicePaid, within=SOON, customer_id=customer, total=100)
    told = str(failure.value)
    assert f"0 of 1 InvoicePaid(customer_id={customer!r}, total=100)" in told
    assert f"customer_id is {other!r}, not {customer!r}" in told
    assert "total is" not in told
    assert "unknown_country: name a country with a tax rate" in told
    assert "kello.sales.purchase-recorded.v1 of ?:  future" in told


async def test_a_field_that_an_event_does_not_have_is_an_error_at_once(kello: Kello) -> None:
    with pytest.raises(TypeError, match="InvoiceIssued has no customer: its fields are version, customer_id"):
        await kello.expect(InvoiceIssued, customer=uuid4())


async def test_a_record_is_read_once_however_often_a_test_looks(kello: Kello) -> None:
    await kello.publish(paid(), twice=True)
    first = await kello.expect(InvoicePaid, count=2)
    assert (await kello.events(InvoicePaid))[0] is first
    later = paid()
    waits = [kello.expect(InvoicePaid, invoice_id=later.invoice_id), kello.expect(InvoicePaid, count=3)]
    both = asyncio.gather(*waits)
    await kello.publish(later)
    assert await both == [later, first]


async def test_a_mail_that_does_not_come_is_told_with_those_that_did(kello: Kello) -> None:
    with pytest.raises(AssertionError, match=r"a mail to ada@example.com: not within .*\n  nothing"):
        await kello.expect_mail("ada@example.com", within=SOON)


async def test_the_clock_moves_for_all_services_and_for_those_that_come_later(kello: Kello) -> None:
    await kello.database("billing")
    await kello.clock.move(days=3)
    await kello.database("notify")
    moved = await kello.clock.now("notify") - await kello.clock.now("billing")
    assert abs(moved) < timedelta(minutes=1)
    await kello.clock.move("notify", hours=-1)
    moved = await kello.clock.now("billing") - await kello.clock.now("notify")
    assert timedelta(minutes=59) < moved < timedelta(minutes=61)


async def test_the_sandboxes_are_this_tests_own_and_do_as_they_are_told(kello: Kello) -> None:
    assert [*kello.gateway.captures(), *kello.mailbox.mails(), *kello.sms.messages()] == []
    kello.gateway.script(Behaviour(decline_code="card_stolen"), token="tok_bob")
    payment = {"kind": "capture", "amount": 1, "currency": "EUR", "token": "tok_bob", "reference": "invoice-1"}
    async with httpx.AsyncClient(base_url=kello.gateway.url) as client:
        answer = await client.post("/payments", json=payment, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (402, "card_stolen")


async def test_a_test_in_another_event_loop_is_told_so(kello: Kello) -> None:
    with pytest.raises(RuntimeError, match="another event loop than the fixture"):
        await asyncio.to_thread(asyncio.run, kello.records("billing.events"))


@pytest.mark.kello("notify", dead_run_max=7)
async def test_a_mark_says_which_services_run_and_how(kello: Kello) -> None:
    (process,) = kello.processes["notify"]
    assert process.settings.dead_run_max == 7
    assert list(kello.processes) == ["notify"]


def test_without_an_engine_the_servers_are_embedded_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    stack = Stack(tmp_path, said.append, {"KELLO_SERVERS": "docker"})
    assert not engine_answers()
    assert stack.broker
    assert stack.server
    assert said == ["No Docker engine answers: Kafka and PostgreSQL are embedded"]


def test_servers_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="KELLO_SERVERS is podman; it may be embedded or docker"):
        Stack(tmp_path, environment={"KELLO_SERVERS": "podman"})
