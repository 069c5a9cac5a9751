"""`kello tasks`: an unknown payment is listed, asked about, and ended by an operator's word as by its provider's."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from deploy.local.sandboxes import Behaviour
from shared.harness.kello import Kello
from shared.schemas.billing import PaymentFailed, PaymentReceived, PaymentUnknown
from tests.billing.audit import assert_the_books_are_right
from tests.billing.orders import known_customer, purchase
from tests.operations.conftest import Command, Said

KIND = "capture-payment"


@pytest.fixture
async def billing(kello: Kello) -> AsyncIterator[Kello]:
    """Billing, whose gateway says for ever that it is still at it."""
    kello.sandboxes.gateway.script(Behaviour(pending_polls=100_000), token="tok_for_ever")
    async with kello.running("billing"):
        yield kello


async def unknown_payment(kello: Kello) -> UUID:
    customer = await known_customer(kello)
    await kello.publish(purchase(customer, payment_token="tok_for_ever"))
    return (await kello.expect(PaymentUnknown, customer_id=customer)).payment_id


async def resolved(command: Command, payment: UUID, *words: str) -> Said:
    return await command("tasks", "resolve", "billing", KIND, str(payment), *words, "--json")


async def task_of(kello: Kello, payment: UUID) -> Any:
    rows = await kello.rows("billing", "SELECT * FROM messaging.task WHERE key = $1", str(payment))
    return rows[0] if rows else None


async def test_an_unknown_payment_is_listed_and_ends_as_the_operator_was_told(billing: Kello, command: Command) -> None:
    taken, refused = await unknown_payment(billing), await unknown_payment(billing)
    listed = (await command("tasks", "list", "billing", "--kind", KIND, "--json")).document
    assert {row["key"] for row in listed} == {str(taken), str(refused)}
    assert {row["idempotency_key"] for row in listed} == {f"billing:{KIND}:{taken}", f"billing:{KIND}:{refused}"}
    said = await resolved(command, taken, "--as", "captured", "--with", '{"reference": "pay_81"}')
    assert not said.document["done"]
    assert "kello.billing.payment-received.v1" in {event["type"] for event in said.document["events"]}
    assert not await billing.events(PaymentReceived, payment_id=taken)
    assert await task_of(billing, taken) is not None  # the rehearsal left no trace
    await resolved(command, taken, "--as", "captured", "--with", '{"reference": "pay_81"}', "--yes")
    await resolved(command, refused, "--as", "declined", "--with", '{"code": "card_stolen"}', "--yes")
    await billing.expect(PaymentReceived, payment_id=taken)
    assert (await billing.expect(PaymentFailed, payment_id=refused)).code == "card_stolen"
    await billing.settled()
    await command("tasks", "list", "billing", code=1)
    await command("tasks", "resolve", "billing", KIND, str(taken), "--as", "given-up", "--yes", code=1)
    await assert_the_books_are_right(billing)


async def test_what_was_never_done_is_done_again_and_what_is_given_up_fails(billing: Kello, command: Command) -> None:
    again, over = await unknown_payment(billing), await unknown_payment(billing)
    before = await task_of(billing, again)
    await resolved(command, again, "--as", "not-done", "--yes")
    await billing.until(lambda: was_tried(billing, again, before["attempts"] + 1), "the payment is tried again")
    await resolved(command, over, "--as", "given-up", "--yes")
    assert (await billing.expect(PaymentFailed, payment_id=over)).code == "gateway_unreachable"
    captures = [each for each in billing.sandboxes.gateway.captures() if each.key.endswith(str(again))]
    assert not captures  # the gateway is at it for ever, and knows the key


async def was_tried(kello: Kello, payment: UUID, attempts: int) -> bool:
    return bool((await task_of(kello, payment))["attempts"] >= attempts)


async def test_a_retry_asks_at_once(billing: Kello, command: Command) -> None:
    payment = await unknown_payment(billing)
    await billing.rows("billing", "UPDATE messaging.task SET due_at = now() + '1 day' WHERE state = 'unknown'")
    await billing.until(lambda: waits_for_a_day(billing, payment), "nobody asks")
    before = (await task_of(billing, payment))["reconciliations"]
    assert "add --yes" in (await command("tasks", "retry", "billing", KIND)).out
    await command("tasks", "retry", "billing", KIND, str(payment), "--yes")
    await billing.until(lambda: was_asked(billing, payment, before + 1), "it is asked")
    await command("tasks", "retry", "billing", KIND, "another", code=1)


async def waits_for_a_day(kello: Kello, payment: UUID) -> bool:
    rows = await kello.rows(
        "billing",
        """
        UPDATE messaging.task SET due_at = now() + '1 day'
        WHERE key = $1 AND state = 'unknown' RETURNING key
        """,
        str(payment),
    )
    return bool(rows)


async def was_asked(kello: Kello, payment: UUID, times: int) -> bool:
    return bool((await task_of(kello, payment))["reconciliations"] >= times)


async def test_what_no_decision_knows_is_refused(billing: Kello, command: Command) -> None:
    payment = str(await unknown_payment(billing))
    said = await command("tasks", "resolve", "billing", KIND, payment, "--as", "stolen", code=2)
    assert "captured, declined" in said.err
    said = await command("tasks", "resolve", "billing", KIND, payment, "--as", "captured", "--with", "{}", code=2)
    assert "reference" in said.err
    said = await command("tasks", "resolve", "billing", "capture", payment, "--as", "captured", code=1)
    assert KIND in said.err
