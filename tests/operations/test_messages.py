"""`kello send` and `kello tail`: nothing leaves that breaks its contract, and what comes is shown decoded."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from shared.harness.kello import Kello
from shared.schemas.billing import InvoiceIssued
from shared.schemas.sales import PurchaseRecorded
from tests.billing.orders import issue_invoice, known_customer, purchase
from tests.operations.conftest import Command

PURCHASE = PurchaseRecorded.ce_type


def structured(payload: Any, **attributes: str) -> bytes:
    event = {"specversion": "1.0", "type": payload.ce_type, "data": payload.model_dump(mode="json"), **attributes}
    return orjson.dumps(event)


async def test_a_payload_and_a_whole_event_are_published_where_their_contract_says(
    kello: Kello, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "purchase.json"
    async with kello.running("billing"):
        customer = await known_customer(kello)
        file.write_text(purchase(customer).model_dump_json())
        said = (await command("send", str(file), "--type", PURCHASE, "--json")).document
        assert (said["done"], said["topic"], said["key"]) == (False, "sales.events", str(customer))
        assert not await kello.records("sales.events")
        await command("send", str(file), "--type", PURCHASE, "--yes")
        file.write_bytes(structured(purchase(customer), id="mine", source="shop", time="2026-01-31T12:00:00Z"))
        said = (await command("send", str(file), "--yes", "--json")).document
        assert said["id"] == "mine"
        await kello.expect(InvoiceIssued, customer_id=customer, count=2)
    sent = [dict(record.headers) for record in await kello.records("sales.events")]
    assert {headers["ce_type"] for headers in sent} == {PURCHASE.encode()}
    assert {headers["ce_source"] for headers in sent} == {b"operator", b"shop"}


async def test_what_breaks_its_contract_does_not_leave(kello: Kello, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "purchase.json"
    good = purchase(uuid4()).model_dump(mode="json")
    for content, told in (
        (orjson.dumps({**good, "customer_id": "nobody"}), "customer_id: must be a UUID"),
        (orjson.dumps({**good, "lines": []}), "lines"),
        (b"[]", "one JSON object"),
        (b"{", "no JSON"),
        (b'{"specversion": "1.0", "type": "kello.sales.purchase.v1", "data": {}}', "unknown-type"),
    ):
        file.write_bytes(content)
        said = await command("send", str(file), "--type", PURCHASE, "--yes", code=1)
        assert told in said.err
    await command("send", str(file), code=1)
    file.write_text("{}")
    await command("send", str(file), code=2)
    await command("send", str(tmp_path / "nothing"), code=2)
    assert not await kello.records("sales.events")


async def test_the_answer_to_a_command_is_shown(kello: Kello, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "command.json"
    async with kello.running("billing"):
        customer = await known_customer(kello)
        first = issue_invoice(customer)
        other = first.model_copy(update={"lines": first.lines * 2})
        for message, code in ((first, 0), (other, 1)):
            file.write_bytes(structured(message))
            said = await command("send", str(file), "--yes", "--json", code=code)
            assert said.document["answer"]["causation_id"] == said.document["id"]
            assert said.document["answer"]["type"].endswith("rejected.v1") == bool(code)
    file.write_bytes(structured(issue_invoice(customer)))
    said = await command("send", str(file), "--yes", "--wait", "0.2", code=1)
    assert "no answer" in said.out


async def test_records_are_shown_decoded_whatever_they_are(kello: Kello, command: Command) -> None:
    customer = uuid4()
    good = purchase(customer)
    await kello.publish(good, source="shop")
    await kello.publish_raw("sales.events", b"\x1b[31mred", b"{", [("ce_type", b"x")])
    await kello.publish_raw("customer.profiles", str(customer).encode(), None, [("kello_version", b"7")])
    said = await command("tail", "sales.events", "customer.profiles", "--from", "begin", "--no-follow", "--json")
    records = [orjson.loads(line) for line in said.out.splitlines()]
    assert len(records) == 3
    (read,) = [each for each in records if each["type"] == PURCHASE]
    assert (read["key"], read["source"], read["fault"]) == (str(customer), "shop", None)
    assert read["payload"]["purchase_id"] == str(good.purchase_id)
    assert "missing-ce_specversion" in next(each["fault"] for each in records if each["fault"])
    said = await command("tail", "sales.events", "--from", "1h", "--no-follow")
    assert "\x1b" not in said.out
    assert PURCHASE in said.out
    said = await command("tail", "sales.events", "--from", "begin", "--key", str(customer), "--count", "1", "--json")
    assert orjson.loads(said.out)["key"] == str(customer)
    await command("tail", "sales.events", "--from", "begin", "--no-follow", "--type", "booking", code=1)
    await command("tail", "sales.event", code=1)
    await command("tail", "sales.events", "--from", "yesterday", code=2)


async def test_tail_waits_for_what_comes(kello: Kello, command: Command) -> None:
    waiting = asyncio.ensure_future(command("tail", "sales.events", "--count", "1", "--json"))
    while not waiting.done():
        await kello.publish(purchase(uuid4()))
        await asyncio.wait({waiting}, timeout=0.2)
    assert orjson.loads((await waiting).out)["type"] == PURCHASE
