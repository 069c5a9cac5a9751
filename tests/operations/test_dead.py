"""`kello dead`: letters of every kind, seen, mended, replayed and dropped, while billing runs."""

from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from shared.harness.kello import Kello
from shared.schemas.billing import CommandRejected, InvoiceIssued
from shared.schemas.sales import PurchaseRecorded
from tests.billing.orders import issue_invoice, known_customer, letters_of, purchase
from tests.messaging.sending import headers_of
from tests.operations.conftest import Command


async def of_kind(command: Command, kind: str) -> dict[str, Any]:
    (letter,) = (await command("dead", "list", "billing", "--kind", kind, "--json")).document
    found: dict[str, Any] = letter
    return found


async def spoil(kello: Kello, customer: UUID) -> PurchaseRecorded:
    """A purchase that nobody can read."""
    bought = purchase(customer)
    value = orjson.dumps({**orjson.loads(bought.model_dump_json()), "currency": "nothing"})
    await kello.publish_raw("sales.events", bought.kafka_key.encode(), value, headers_of(bought))
    return bought


async def test_a_refused_event_is_mended_rehearsed_and_replayed_once(
    kello: Kello, command: Command, tmp_path: Path
) -> None:
    async with kello.running("billing"):
        customer = await known_customer(kello)
        abroad = purchase(customer, country="AQ")
        await kello.publish(abroad)
        await letters_of(kello, customer, 1)
        (later,) = await kello.publish(purchase(customer))
        await kello.expect(InvoiceIssued, customer_id=customer)

        letter = await of_kind(command, "refused")
        assert (letter["code"], letter["key"], letter["state"]) == ("unknown_tax_rate", str(customer), "open")
        (group,) = (await command("dead", "groups", "billing", "--json")).document
        assert (group["letters"], group["type"], group["first_id"]) == (1, PurchaseRecorded.ce_type, letter["id"])
        assert "unknown_tax_rate" in (await command("dead", "groups", "billing")).out
        shown = (await command("dead", "show", "billing", letter["id"][:13], "--json")).document
        assert shown["value"] == orjson.loads(abroad.model_dump_json())
        assert [each["id"] for each in shown["handled_since"]] == [later]

        said = await command("dead", "replay", "billing", letter["id"], code=1)
        assert "still refused (unknown_tax_rate)" in said.out
        mended = tmp_path / "mended.json"
        mended.write_text(abroad.model_copy(update={"country": "nowhere"}).model_dump_json())
        said = await command("dead", "edit", "billing", letter["id"], "--payload", str(mended), "--yes", code=1)
        assert "still be poison" in said.err
        mended.write_text(abroad.model_copy(update={"country": "AT"}).model_dump_json())
        await command("dead", "edit", "billing", letter["id"], "--payload", str(mended))
        assert (await of_kind(command, "refused"))["state"] == "open", "without --yes nothing changes"
        await command("dead", "edit", "billing", letter["id"], "--payload", str(mended), "--by", "ada", "--yes")
        assert (await of_kind(command, "refused"))["state"] == "edited"

        said = await command("dead", "replay", "billing", letter["id"], "--dry-run", "--yes")
        at = [said.out.index(word) for word in (later, "row    Invoice", "event  kello.billing.invoice-issued.v1")]
        assert at == sorted(at), "what was handled since is named first"
        assert len(await kello.events(InvoiceIssued, customer_id=customer)) == 1
        said = await command("dead", "replay", "billing", letter["id"], "--by", "ada", "--yes", "--json")
        (outcome,) = said.document["letters"]
        assert (outcome["edit"], outcome["handled_since_count"], outcome["why"]) == (1, 1, None)
        assert {row["row"] for row in outcome["effect"]["rows"]} >= {"Invoice", "Account"}
        issued = await kello.expect(InvoiceIssued, customer_id=customer, count=2)
        assert issued.customer_id == customer
        said = await command("dead", "replay", "billing", letter["id"], "--yes", code=1)
        assert "replayed by ada" in said.out
        (ended,) = (await command("dead", "list", "billing", "--ended", "--json")).document
        assert (ended["state"], ended["ended_by"]) == ("replayed", "ada")
        await kello.settled()
        assert len(await kello.events(InvoiceIssued, customer_id=customer)) == 2
        assert len(await kello.records("sales.events")) == 2, "nothing goes back to a topic"


async def test_a_bug_is_replayed_by_its_group_once_it_is_mended(kello: Kello, command: Command) -> None:
    async with kello.running("billing"):
        customer = await known_customer(kello)
        (entity,) = await kello.rows("billing", "DELETE FROM legal_entity RETURNING *")
        first, second, asked = purchase(customer), purchase(customer), issue_invoice(customer)
        await kello.publish(first, second, asked)
        await letters_of(kello, customer, 3)
        said = await command("dead", "replay", "billing", "--kind", "bug", "--yes", "--json", code=1)
        why = [outcome["why"] for outcome in said.document["letters"]]
        assert ["LookupError" in each for each in why] == [True, False, False]
        assert all("waits behind" in each for each in why[1:]), "the key's letters keep their order"

        await kello.rows("billing", "INSERT INTO legal_entity VALUES ($1, $2, $3, $4)", *entity.values())
        await command("dead", "replay", "billing", code=2)
        said = await command("dead", "replay", "billing", "--kind", "bug", "--yes", "--json")
        assert [outcome["why"] for outcome in said.document["letters"]] == [None] * 3
        await kello.expect(InvoiceIssued, customer_id=customer, count=3)
        await command("dead", "replay", "billing", "--all", "--yes", code=1)
        assert (await command("dead", "list", "billing", "--json")).document == []


async def test_poison_is_dropped_and_an_answered_command_replayed_only_where_that_is_said(
    kello: Kello, command: Command
) -> None:
    async with kello.running("billing"):
        customer = await known_customer(kello)
        await spoil(kello, customer)
        wish = issue_invoice(customer)
        other = str(UUID(int=1))
        await kello.publish_raw("billing.commands", other.encode(), wish.model_dump_json().encode(), headers_of(wish))
        await kello.expect(CommandRejected, key=other)
        await letters_of(kello, customer, 1)

        wrong_key = ("--code", "wrong-key", "--json")
        (answered,) = (await command("dead", "list", "billing", *wrong_key)).document
        assert (await command("dead", "show", "billing", answered["id"], "--json")).document["was_answered"]
        await command("dead", "edit", "billing", answered["id"], "--key", str(customer), "--yes")
        said = await command("dead", "replay", "billing", answered["id"], "--yes", code=1)
        assert "--although-answered" in said.out
        await command("dead", "replay", "billing", answered["id"], "--although-answered", "--yes")
        await kello.expect(InvoiceIssued, invoice_id=wish.invoice_id)

        unread = ("--code", "breaks-contract")
        said = await command("dead", "replay", "billing", *unread, "--yes", code=1)
        assert "still poison" in said.out
        (poison,) = (await command("dead", "list", "billing", *unread, "--json")).document
        await command("dead", "drop", "billing", poison["id"], "--reason", "a test")
        await command("dead", "drop", "billing", poison["id"], "--reason", "a test", "--yes")
        said = await command("dead", "drop", "billing", poison["id"], "--reason", "a test", "--yes", code=1)
        assert "dropped by" in said.err
        await command("dead", "replay", "billing", poison["id"], "--yes", code=1)
        await command("dead", "show", "billing", "no-such-letter", code=1)
