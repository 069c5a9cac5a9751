"""The SMS provider over real sockets: one message per idempotency key, whatever goes wrong."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deploy.local.sandboxes import Behaviour, Sms
from deploy.local.sandboxes.sms import BY_LAST_DIGITS, open_sms


@pytest.fixture
async def sms(tmp_path: Path) -> AsyncIterator[Sms]:
    async with open_sms(tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(sms: Sms) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sms.url) as opened:
        yield opened


async def send(client: httpx.AsyncClient, key: str, to: str = "+4915112345678", text: str = "Hi") -> httpx.Response:
    return await client.post("/messages", json={"to": to, "text": text}, headers={"Idempotency-Key": key})


async def test_a_message_is_sent_once_and_can_be_read_by_its_key(client: httpx.AsyncClient, sms: Sms) -> None:
    first, second = await send(client, "notify:sms/1"), await send(client, "notify:sms/1")
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert (first.json()["state"], first.json()["to"], first.json()["text"]) == ("accepted", "+4915112345678", "Hi")
    assert (await client.get("/messages/by-key/notify%3Asms%2F1")).json() == first.json()
    assert (await client.get("/messages", params={"idempotency_key": "notify:sms/1"})).json() == first.json()
    [message] = sms.messages()
    assert (message.n, message.key, message.to, message.text) == (1, "notify:sms/1", "+4915112345678", "Hi")
    assert message.requests == 2


async def test_a_key_that_was_never_seen_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.get("/messages/by-key/nobody")
    assert (answer.status_code, answer.json()["code"]) == (404, "message_not_found")


@pytest.mark.parametrize(("digits", "code"), [("0000", "invalid_destination"), ("0006", "opted_out")])
async def test_a_number_that_cannot_be_reached_is_refused_for_good(
    client: httpx.AsyncClient, sms: Sms, digits: str, code: str
) -> None:
    first, second = await send(client, "k", f"+4915100{digits}"), await send(client, "k", f"+4915100{digits}")
    assert first.status_code == second.status_code == 400
    assert (first.json()["code"], first.json()["message"]["state"]) == (code, "rejected")
    assert first.json() == second.json()
    assert (await client.get("/messages/by-key/k")).json()["state"] == "rejected"
    assert sms.messages() == []


async def test_a_lost_reply_was_sent(client: httpx.AsyncClient, sms: Sms) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await send(client, "k", "+49151000001")
    assert (await client.get("/messages/by-key/k")).json()["state"] == "accepted"
    assert (await send(client, "k", "+49151000001")).status_code == 201
    assert len(sms.messages()) == 1


async def test_a_lost_request_was_not_sent(client: httpx.AsyncClient, sms: Sms) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await send(client, "k", "+49151000002")
    assert (await client.get("/messages/by-key/k")).status_code == 404
    assert sms.messages() == []
    assert (await send(client, "k", "+49151000002")).status_code == 201


@pytest.mark.parametrize(("digits", "status", "times"), [("0003", 429, 1), ("0004", 503, 2)])
async def test_who_is_turned_away_may_come_back(
    client: httpx.AsyncClient, sms: Sms, digits: str, status: int, times: int
) -> None:
    answers = [await send(client, "k", f"+4915100{digits}") for _ in range(times + 1)]
    assert [answer.status_code for answer in answers] == [status] * times + [201]
    assert answers[0].headers["retry-after"] == "1"
    assert len(sms.messages()) == 1


async def test_slow_is_two_seconds() -> None:
    assert BY_LAST_DIGITS["0005"].delay_seconds == 2


@pytest.mark.parametrize(("to", "text"), [("015112345678", "Hi"), ("+49", "Hi"), ("+4915112345678", "")])
async def test_what_is_no_message_is_refused(client: httpx.AsyncClient, to: str, text: str) -> None:
    answer = await send(client, "k", to, text)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_number_can_be_scripted_over_http(client: httpx.AsyncClient, sms: Sms) -> None:
    script = {"to": "+4915112345678", "pending_polls": 1, "decline_code": "unreachable"}
    assert (await client.post("/admin/script", json=script)).status_code == 204
    assert (await send(client, "a")).status_code == 202
    states = [(await client.get("/messages/by-key/a")).json()["state"] for _ in range(2)]
    assert states == ["pending", "rejected"]
    assert (await client.delete("/admin/script")).status_code == 204
    assert (await send(client, "b")).status_code == 201
    sms.script(Behaviour(decline_code="landline"), to="+4915112345678")
    assert (await send(client, "c")).json()["code"] == "landline"
    expected = {"messages": 1, "rejected": 2, "pending": 0, "requests": 3}
    assert (await client.get("/admin/summary")).json() == expected


async def test_an_outage_answers_nothing_until_it_is_lifted(client: httpx.AsyncClient, sms: Sms) -> None:
    await client.post("/admin/outage", json={"down": True})
    assert (await send(client, "k")).status_code == 503
    sms.outage(down=False)
    assert (await send(client, "k")).status_code == 201


async def test_messages_can_be_read_by_number(client: httpx.AsyncClient) -> None:
    await send(client, "a")
    await send(client, "b", "+4915187654321")
    everything = (await client.get("/admin/messages")).json()
    assert [row["key"] for row in everything["messages"]] == ["a", "b"]
    [only] = (await client.get("/admin/messages", params={"to": "+4915187654321"})).json()["messages"]
    assert (only["n"], only["key"], only["requests"]) == (2, "b", 1)


async def test_a_restart_goes_on_from_what_happened(tmp_path: Path) -> None:
    async with open_sms(tmp_path / "state") as sms, httpx.AsyncClient(base_url=sms.url) as client:
        await send(client, "k")
        before = sms.messages()
    async with open_sms(tmp_path / "state") as sms, httpx.AsyncClient(base_url=sms.url) as client:
        assert sms.messages() == before
        assert (await send(client, "k")).headers["idempotency-replayed"] == "true"
