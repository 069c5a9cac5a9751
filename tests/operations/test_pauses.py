"""`kello pause`, `kello resume` and `kello offsets`: what an operator says counts at once and lasts."""

from uuid import uuid4

import pytest

from shared.harness.kello import Kello
from tests.billing.orders import purchase
from tests.operations.conftest import Command


@pytest.mark.parametrize("name", ["pause", "resume"])
async def test_an_unknown_service_is_named(command: Command, name: str) -> None:
    said = await command(name, "biling", code=2)
    assert "billing" in said.err


async def test_a_pause_lasts_until_it_is_resumed(kello: Kello, command: Command) -> None:
    said = await command("pause", "billing")
    assert "add --yes" in said.out
    await command("resume", "billing", code=1)
    said = await command("pause", "billing", "--reason", "tonight", "--yes", "--json")
    assert said.document == {"service": "billing", "reason": "tonight", "done": True}
    said = await command("resume", "billing")
    assert "tonight" in said.out
    said = await command("resume", "billing", "--yes")
    assert "goes on" in said.out
    await command("resume", "billing", code=1)


async def test_where_a_service_goes_on_is_an_operators_word(kello: Kello, command: Command) -> None:
    customer = uuid4()
    async with kello.running("billing"):
        await kello.publish(*(purchase(customer) for _ in range(3)))
        await kello.settled()
    rows = (await command("offsets", "show", "billing", "--json")).document
    (place,) = [row for row in rows if row["end_offset"]]
    assert (place["topic"], place["next_offset"], place["end_offset"]) == ("sales.events", 3, 3)
    where = ["offsets", "reset", "billing", "sales.events", str(place["partition"])]
    await command(*where, "4", "--yes", code=1)
    await command(*where[:4], "99", "0", "--yes", code=1)
    document = (await command(*where, "1", "--json")).document
    assert [(move["from"], move["to"], document["done"]) for move in document["moves"]] == [(3, 1, False)]
    document = (await command(*where[:4], "--json")).document
    assert {move["to"] for move in document["moves"]} == {0}
    await command(*where, "1", "--yes")
    (lag,) = (await command("lag", "billing", "--json")).document
    assert lag["records"] == 2
    async with kello.running("billing"):
        await kello.settled()
    drafts = await kello.rows("billing", "SELECT count(*) AS n FROM messaging.inbox")
    assert drafts[0]["n"] == 3  # what was read again had no second effect
