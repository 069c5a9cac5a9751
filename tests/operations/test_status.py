"""`kello status`, `lag`, `top` and `outbox` name every fault, and the command that goes on from there."""

from typing import Any

import orjson
import ormsgpack
import pytest

from deploy.local.sandboxes import Behaviour
from shared.harness.kello import Kello
from shared.operations import problems
from shared.schemas.billing import PaymentUnknown
from tests.billing.orders import known_customer, purchase
from tests.operations.conftest import Command

AT_WORK = ("billing", "notify")
TOO_LARGE = 3 * 1024 * 1024


def told(document: Any, service: str) -> dict[str, str]:
    """The command of each problem of a service, by its sentence."""
    return {each["what"]: each["command"] for each in document["problems"] if each["service"] == service}


def state(document: Any, service: str) -> Any:
    return next(each for each in document["services"] if each["service"] == service)


async def test_a_system_at_work_needs_nobody(kello: Kello, command: Command) -> None:
    async with kello.running(*AT_WORK):
        await kello.publish(purchase(await known_customer(kello)))
        await kello.settled()
        assert "nothing needs an operator" in (await command("status", *AT_WORK)).out
        document = (await command("status", *AT_WORK, "--json")).document
        assert not document["problems"]
        for name in AT_WORK:
            assert (state(document, name)["processes"], state(document, name)["has_relay"]) == (1, True)
        assert state(document, "billing")["last_record_at"] is not None
        assert state(document, "billing")["published_records"] > 0
        assert "nothing lags" in (await command("lag", *AT_WORK)).out
        assert "taken/s" in (await command("top", *AT_WORK, "--count", "2", "--every", "0.2")).out


async def test_every_fault_is_named_with_what_to_do(
    kello: Kello, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "LAG_SECONDS", 0)
    kello.sandboxes.gateway.script(Behaviour(pending_polls=100_000), token="tok_for_ever")
    async with kello.running("billing"):
        customer = await known_customer(kello)
        await kello.publish(purchase(customer, payment_token="tok_for_ever"))
        await kello.expect(PaymentUnknown, customer_id=customer)
        await kello.publish_raw("sales.events", b"k", b"{")
        await kello.dead_letters("billing", 1)
        await block_the_outbox(kello)
    await kello.rows("billing", "UPDATE messaging.task SET created_at = now() - interval '1 hour'")
    await kello.publish(*(purchase(customer) for _ in range(3)))
    await command("pause", "notify", "--reason", "the provider moves", "--yes")
    environment = {"KELLO_DEAD_RUN_MAX": "1"}
    document = (await command("status", "--json", code=1, environment=environment)).document
    found = told(document, "billing")
    assert found == {
        "no process of it is in its consumer group": "python -m services.billing; its last log line says why it ended",
        "1 partition stopped after too many dead letters in a row": "kello dead groups billing",
        "1 dead letter to decide about": "kello dead groups billing",
        "1 key behind a row that Kafka never takes": "kello outbox show billing",
        "1 capture-payment without a known outcome": "kello tasks list billing --state unknown",
    }
    assert told(document, "notify")["it is paused: the provider moves"] == "kello resume notify --yes"
    assert state(document, "billing")["lag_records"] == 3
    document = (await command("status", "billing", "--json", code=1)).document
    assert any(what.startswith("the oldest record has waited") for what in told(document, "billing"))
    (lag,) = [each for each in (await command("lag", "billing", "--json")).document if each["records"]]
    assert (lag["topic"], lag["records"]) == ("sales.events", 3)
    assert lag["waiting_seconds"] > 0
    assert "is paused: the provider moves" in (await command("status", code=1)).out
    await command("dead", "drop", "billing", await letter_id(command), "--reason", "a test", "--yes")
    document = (await command("status", "billing", "--json", code=1)).document
    assert state(document, "billing")["dead_letters"] == 0


async def test_a_topic_that_ends_before_what_was_read_is_named(kello: Kello, command: Command) -> None:
    async with kello.running("billing"):
        await kello.publish(purchase(await known_customer(kello)))
        await kello.settled()
    await kello.rows(
        "billing", "UPDATE messaging.consumer_offset SET next_offset = next_offset + 7 WHERE topic = 'sales.events'"
    )
    document = (await command("status", "billing", "--json", code=1)).document
    assert "kello offsets reset billing sales.events" in told(document, "billing").values()


async def letter_id(command: Command) -> str:
    (letter,) = (await command("dead", "list", "billing", "--json")).document
    return str(letter["id"])


async def block_the_outbox(kello: Kello) -> None:
    """A row that no topic takes, as a topic whose limit was lowered would refuse one."""
    await kello.rows(
        "billing",
        """
        INSERT INTO messaging.outbox (topic, key, records) VALUES ('billing.events', $1, $2)
        """,
        b"a key",
        ormsgpack.packb([(b" " * TOO_LARGE, [("ce_type", b"kello.billing.invoice-issued.v1")])]),
    )
    await kello.until(lambda: blocked(kello), "the relay finds that it cannot be sent")


async def blocked(kello: Kello) -> Any:
    return await kello.rows("billing", "SELECT id, blocked_at FROM messaging.outbox_blocked")


async def test_a_row_that_blocks_its_key_is_shown_and_tried_again(kello: Kello, command: Command) -> None:
    assert "empty" in (await command("outbox", "show", "billing")).out
    await command("outbox", "retry", "billing", "--yes", code=1)
    async with kello.running("billing"):
        await block_the_outbox(kello)
        ((_, before),) = await blocked(kello)
        (row,) = (await command("outbox", "show", "billing", "--json")).document
        assert (row["key"], row["rows"], row["oldest_type"]) == ("a key", 1, "kello.billing.invoice-issued.v1")
        assert "MessageSizeTooLarge" in row["reason"]
        await command("outbox", "retry", "billing")
        assert (await blocked(kello))[0]["blocked_at"] == before
        await command("outbox", "retry", "billing", "--yes")
        await kello.until(lambda: blocked_after(kello, before), "the relay tries it again")


async def blocked_after(kello: Kello, before: object) -> bool:
    rows = await blocked(kello)
    return bool(rows) and rows[0]["blocked_at"] != before


async def test_what_does_not_answer_is_told(command: Command) -> None:
    said = await command("status", code=3, environment={"KELLO_KAFKA": "127.0.0.1:1"})
    assert "127.0.0.1:1" in said.err
    nowhere = orjson.dumps({"billing": "postgresql://billing:secret@127.0.0.1:1/billing"}).decode()
    document = (await command("status", "--json", code=1, environment={"KELLO_DATABASES": nowhere})).document
    ((what, _),) = told(document, "billing").items()
    assert "127.0.0.1:1/billing" in what
    assert "secret" not in str(document)
    said = await command("status", code=2, environment={"KELLO_DATABASES": "{"})
    assert "KELLO_DATABASES" in said.err or "databases" in said.err
