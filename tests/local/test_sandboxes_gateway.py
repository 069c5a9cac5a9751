"""The payment gateway over real sockets: one effect per idempotency key, whatever goes wrong."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.sandboxes import Behaviour, Gateway
from deploy.local.sandboxes.gateway import BY_TOKEN, open_gateway
from deploy.local.sandboxes.wire import BODY_BYTES_MAX

OK = "tok_ok"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with open_gateway(tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as opened:
        yield opened


def payment(token: str = OK, **changes: Any) -> dict[str, Any]:
    common = {"kind": "capture", "amount": 1999, "currency": "EUR", "token": token, "reference": "invoice-7"}
    return common | changes


async def pay(client: httpx.AsyncClient, key: str, token: str = OK, **changes: Any) -> httpx.Response:
    return await client.post("/payments", json=payment(token, **changes), headers={"Idempotency-Key": key})


async def state(client: httpx.AsyncClient, key: str) -> str:
    answer = await client.get(f"/payments/by-key/{key}")
    assert answer.status_code == 200
    found: str = answer.json()["state"]
    return found


async def until_state(client: httpx.AsyncClient, key: str, wanted: str) -> None:
    async with asyncio.timeout(5):
        while (await client.get(f"/payments/by-key/{key}")).json().get("state") != wanted:  # noqa: ASYNC110  # it is remote
            await asyncio.sleep(0.01)


async def test_a_payment_is_captured_and_can_be_read_by_its_key(client: httpx.AsyncClient, gateway: Gateway) -> None:
    answer = await pay(client, "billing:capture-payment:1/a")
    assert answer.status_code == 201
    assert answer.json()["state"] == "succeeded"
    assert payment().items() <= answer.json().items()
    by_path = await client.get("/payments/by-key/billing%3Acapture-payment%3A1%2Fa")
    by_query = await client.get("/payments", params={"idempotency_key": "billing:capture-payment:1/a"})
    assert by_path.json() == by_query.json() == answer.json()
    [capture] = gateway.captures()
    assert (capture.n, capture.key, capture.amount, capture.currency) == (1, "billing:capture-payment:1/a", 1999, "EUR")
    assert (capture.kind, capture.token, capture.reference, capture.requests) == ("capture", "tok_ok", "invoice-7", 1)
    assert capture.id == answer.json()["id"]


async def test_a_key_that_was_never_seen_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.get("/payments/by-key/nobody")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "payment_not_found"


async def test_the_same_request_again_is_answered_from_memory(client: httpx.AsyncClient, gateway: Gateway) -> None:
    first, second = await pay(client, "k"), await pay(client, "k")
    assert second.status_code == 201
    assert second.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    [capture] = gateway.captures()
    assert capture.requests == 2


async def test_the_same_key_with_another_body_is_refused(client: httpx.AsyncClient, gateway: Gateway) -> None:
    await pay(client, "k")
    answer = await pay(client, "k", amount=2000)
    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency_key_reused"
    assert [capture.amount for capture in gateway.captures()] == [1999]


async def test_a_body_is_the_same_however_it_is_written(client: httpx.AsyncClient, gateway: Gateway) -> None:
    await pay(client, "k")
    written_otherwise = json.dumps(dict(reversed(payment().items())), indent=4)
    answer = await client.post("/payments", content=written_otherwise, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 201
    assert len(gateway.captures()) == 1


async def test_of_many_at_once_with_one_key_one_is_captured(client: httpx.AsyncClient, gateway: Gateway) -> None:
    gateway.script(Behaviour(delay_seconds=5), reference="invoice-7")
    paying = asyncio.create_task(pay(client, "k"))
    await until_state(client, "k", "pending")
    answers = await asyncio.gather(*(pay(client, "k") for _ in range(19)))
    assert {answer.status_code for answer in answers} == {409}
    assert answers[0].json()["code"] == "in_flight"
    assert answers[0].headers["retry-after"] == "1"
    assert (await paying).status_code == 201
    [capture] = gateway.captures()
    assert capture.requests == 20


async def test_a_request_in_flight_is_pending_for_who_asks(client: httpx.AsyncClient, gateway: Gateway) -> None:
    gateway.script(Behaviour(delay_seconds=5), token="tok_ok")
    paying = asyncio.create_task(pay(client, "k"))
    await until_state(client, "k", "pending")
    assert gateway.captures() == []
    other_body = await pay(client, "k", amount=1)
    assert other_body.json()["code"] == "idempotency_key_reused"
    assert (await paying).status_code == 201
    assert await state(client, "k") == "succeeded"


async def test_who_gives_up_waiting_is_charged_all_the_same(client: httpx.AsyncClient, gateway: Gateway) -> None:
    gateway.script(Behaviour(delay_seconds=0.3), token="tok_ok")
    with pytest.raises(httpx.ReadTimeout):
        await client.post(
            "/payments", json=payment(), headers={"Idempotency-Key": "k"}, timeout=httpx.Timeout(5, read=0.1)
        )
    await until_state(client, "k", "succeeded")
    assert len(gateway.captures()) == 1


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("tok_declined", "card_declined"),
        ("tok_declined-42", "card_declined"),
        ("tok_insufficient_funds", "insufficient_funds"),
        ("tok_expired_card", "expired_card"),
    ],
)
async def test_a_declined_payment_stays_declined(
    client: httpx.AsyncClient, gateway: Gateway, token: str, code: str
) -> None:
    first, second = await pay(client, "k", token), await pay(client, "k", token)
    assert first.status_code == second.status_code == 402
    assert first.json() == second.json()
    assert (first.json()["code"], first.json()["payment"]["state"]) == (code, "declined")
    answer = (await client.get("/payments/by-key/k")).json()
    assert (answer["state"], answer["code"], answer["captured_at"]) == ("declined", code, None)
    assert gateway.captures() == []


async def test_a_lost_reply_was_captured_and_is_answered_next_time(client: httpx.AsyncClient, gateway: Gateway) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await pay(client, "k", "tok_lost_reply")
    assert await state(client, "k") == "succeeded"
    assert (await pay(client, "k", "tok_lost_reply")).status_code == 201
    [capture] = gateway.captures()
    assert capture.requests == 2


async def test_a_lost_request_was_not_captured_until_it_comes_again(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await pay(client, "k", "tok_lost_request")
    assert (await client.get("/payments/by-key/k")).status_code == 404
    assert gateway.captures() == []
    assert (await pay(client, "k", "tok_lost_request")).status_code == 201
    [capture] = gateway.captures()
    assert capture.requests == 2


async def test_only_the_connection_of_the_lost_reply_is_dropped(client: httpx.AsyncClient, gateway: Gateway) -> None:
    gateway.script(Behaviour(delay_seconds=0.3), token="tok_ok")
    patient = asyncio.create_task(pay(client, "patient"))
    with pytest.raises(httpx.RemoteProtocolError):
        await pay(client, "k", "tok_lost_reply")
    assert (await patient).status_code == 201


@pytest.mark.parametrize(("token", "status", "times"), [("tok_down", 503, 2), ("tok_throttled", 429, 1)])
async def test_who_is_turned_away_may_come_back(
    client: httpx.AsyncClient, gateway: Gateway, token: str, status: int, times: int
) -> None:
    answers = [await pay(client, "k", token) for _ in range(times + 1)]
    assert [answer.status_code for answer in answers] == [status] * times + [201]
    assert answers[0].headers["retry-after"] == "1"
    [capture] = gateway.captures()
    assert capture.requests == times + 1


@pytest.mark.parametrize(("token", "end"), [("tok_pending", "succeeded"), ("tok_pending_declined", "declined")])
async def test_a_pending_payment_ends_when_it_was_asked_about_often_enough(
    client: httpx.AsyncClient, gateway: Gateway, token: str, end: str
) -> None:
    answer = await pay(client, "k", token)
    assert answer.status_code == 202
    assert answer.json()["state"] == "pending"
    assert gateway.captures() == []
    assert [await state(client, "k") for _ in range(4)] == ["pending", "pending", end, end]
    assert len(gateway.captures()) == (end == "succeeded")
    assert (await pay(client, "k", token)).status_code == (201 if end == "succeeded" else 402)


async def test_an_unknown_outcome_has_neither_reply_nor_end_at_first(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await pay(client, "k", "tok_unknown")
    assert (await pay(client, "k", "tok_unknown")).status_code == 202
    assert (await pay(client, "k", "tok_unknown")).status_code == 202
    assert (await pay(client, "k", "tok_unknown")).status_code == 201
    assert len(gateway.captures()) == 1


async def test_a_request_that_the_network_repeats_is_captured_once(client: httpx.AsyncClient, gateway: Gateway) -> None:
    assert (await pay(client, "k", "tok_duplicate")).status_code == 201
    [capture] = gateway.captures()
    assert capture.requests == 2


async def test_slow_is_two_seconds() -> None:
    assert BY_TOKEN["tok_slow"].delay_seconds == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "gift"},
        {"amount": 0},
        {"amount": -1},
        {"amount": 10**15 + 1},
        {"amount": 19.99},
        {"amount": "1999"},
        {"amount": True},
        {"currency": "eur"},
        {"token": ""},
        {"reference": "x" * 256},
        {"card_number": "4242"},
    ],
)
async def test_what_is_no_payment_is_refused_and_leaves_the_key_free(
    client: httpx.AsyncClient, gateway: Gateway, changes: dict[str, Any]
) -> None:
    answer = await pay(client, "k", **changes)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"
    assert next(iter(changes)) in answer.json()["detail"]
    assert (await pay(client, "k")).status_code == 201
    assert len(gateway.captures()) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b" " * (BODY_BYTES_MAX + 1)])
async def test_a_body_that_cannot_be_read_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/payments", content=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "idempotency_key_missing"),
        ({"Idempotency-Key": ""}, "idempotency_key_invalid"),
        ({"Idempotency-Key": "with a space"}, "idempotency_key_invalid"),
        ({"Idempotency-Key": "k" * 256}, "idempotency_key_invalid"),
    ],
)
async def test_a_payment_needs_a_usable_key(client: httpx.AsyncClient, headers: dict[str, str], code: str) -> None:
    answer = await client.post("/payments", json=payment(), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["code"] == code


async def test_an_outage_answers_nothing_until_it_is_lifted(client: httpx.AsyncClient, gateway: Gateway) -> None:
    await pay(client, "before")
    assert (await client.post("/admin/outage", json={"down": True})).status_code == 204
    assert (await pay(client, "k")).status_code == 503
    assert (await client.get("/payments/by-key/before")).status_code == 503
    await client.post("/admin/outage", json={"down": False})
    assert (await pay(client, "k")).status_code == 201
    assert [capture.key for capture in gateway.captures()] == ["before", "k"]


async def test_latency_delays_every_payment(client: httpx.AsyncClient, gateway: Gateway) -> None:
    assert (await client.post("/admin/latency", json={"seconds": 0.5})).status_code == 204
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/payments/by-key/k", timeout=httpx.Timeout(5, read=0.2))
    gateway.latency(0)
    assert (await client.get("/payments/by-key/k")).status_code == 404


async def test_a_reference_can_be_scripted_over_http_and_goes_before_the_token(client: httpx.AsyncClient) -> None:
    script = {"reference": "payslip-7", "decline_code": "account_closed"}
    assert (await client.post("/admin/script", json=script)).status_code == 204
    assert (await pay(client, "a", reference="payslip-7")).json()["code"] == "account_closed"
    assert (await pay(client, "b", reference="payslip-8")).status_code == 201
    assert (await client.delete("/admin/script")).status_code == 204
    assert (await pay(client, "c", reference="payslip-7")).status_code == 201


@pytest.mark.parametrize(
    "script", [{}, {"token": "a", "reference": "b"}, {"token": "a", "delay_seconds": -1}, {"token": "a", "nonsense": 1}]
)
async def test_a_script_that_means_nothing_is_refused(client: httpx.AsyncClient, script: dict[str, Any]) -> None:
    assert (await client.post("/admin/script", json=script)).status_code == 422


async def test_captures_can_be_filtered_and_paged(client: httpx.AsyncClient) -> None:
    for n in range(5):
        await pay(client, f"k{n}", kind="payout" if n % 2 else "capture", reference=f"r{n}")
    payouts = (await client.get("/admin/captures", params={"kind": "payout"})).json()
    assert [(row["n"], row["key"]) for row in payouts["captures"]] == [(2, "k1"), (4, "k3")]
    assert payouts["next"] is None
    first = (await client.get("/admin/captures", params={"limit": 3})).json()
    second = (await client.get("/admin/captures", params={"limit": 3, "after": first["next"]})).json()
    assert [row["key"] for row in first["captures"] + second["captures"]] == ["k0", "k1", "k2", "k3", "k4"]
    assert second["next"] is None
    assert (await client.get("/admin/captures", params={"limit": "many"})).status_code == 422
    [only] = (await client.get("/admin/captures", params={"reference": "r3"})).json()["captures"]
    assert only["key"] == "k3"


async def test_the_summary_tells_sums_and_references_captured_again(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    await pay(client, "a", amount=100)
    await pay(client, "b", amount=200)
    await pay(client, "c", kind="payout", currency="CHF", reference="payslip-7")
    await pay(client, "d", "tok_declined")
    await pay(client, "e", "tok_pending")
    assert (await client.get("/admin/summary")).json() == {
        "captures": 3,
        "declined": 1,
        "pending": 1,
        "requests": 5,
        "totals": {"capture": {"EUR": 300}, "payout": {"CHF": 1999}},
        "references_captured_again": ["invoice-7"],
    }
    payments = (await client.get("/admin/payments")).json()["payments"]
    assert [row["state"] for row in payments] == ["succeeded", "succeeded", "succeeded", "declined", "pending"]
    assert [row["key"] for row in gateway.payments()] == ["a", "b", "c", "d", "e"]


async def test_a_restart_goes_on_from_what_happened(tmp_path: Path) -> None:
    async with open_gateway(tmp_path / "state") as gateway, httpx.AsyncClient(base_url=gateway.url) as client:
        for token in ("tok_ok", "tok_declined", "tok_pending", "tok_down", "tok_slow"):
            gateway.script(BY_TOKEN["tok_ok"], token="tok_slow")
            await pay(client, token, token)
        with pytest.raises(httpx.RemoteProtocolError):
            await pay(client, "tok_lost_request", "tok_lost_request")
        assert await state(client, "tok_pending") == "pending"
        before, summary = gateway.captures(), gateway.summary()
    async with open_gateway(tmp_path / "state") as gateway, httpx.AsyncClient(base_url=gateway.url) as client:
        assert gateway.captures() == before
        assert gateway.summary() == summary
        assert (await pay(client, "tok_ok")).headers["idempotency-replayed"] == "true"
        assert (await pay(client, "tok_declined", "tok_declined")).status_code == 402
        assert [await state(client, "tok_pending") for _ in range(2)] == ["pending", "succeeded"]
        assert [(await pay(client, "tok_down", "tok_down")).status_code for _ in range(2)] == [503, 201]
        assert (await pay(client, "tok_lost_request", "tok_lost_request")).status_code == 201


async def test_two_gateways_never_share_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.sandboxes.journal.LOCK_WAIT_SECONDS", 0.05)
    async with open_gateway(tmp_path):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            async with open_gateway(tmp_path):
                pass


async def test_what_happened_cannot_be_changed(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as gateway, httpx.AsyncClient(base_url=gateway.url) as client:
        await pay(client, "k")
    journal = sqlite3.connect(tmp_path / "gateway.sqlite")
    try:
        for change in ("UPDATE entry SET key = 'x'", "DELETE FROM entry"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                journal.execute(change)
    finally:
        journal.close()


async def test_it_stops_quietly_although_requests_are_in_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("deploy.local.sandboxes.wire.STOP_SECONDS", 0.05)
    async with asyncio.timeout(10), open_gateway(tmp_path / "state") as gateway:
        gateway.script(Behaviour(delay_seconds=600), token=OK)
        async with httpx.AsyncClient(base_url=gateway.url) as client:
            paying = asyncio.create_task(pay(client, "k"))
            await until_state(client, "k", "pending")
            await gateway.front.listener.__aexit__()
            with pytest.raises(httpx.RemoteProtocolError):
                await paying
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


async def test_a_client_that_goes_away_in_the_middle_is_no_error(
    client: httpx.AsyncClient, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    writer.write(b"POST /payments HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await pay(client, "k")).status_code == 201
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []
