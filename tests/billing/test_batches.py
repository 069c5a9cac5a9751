"""Many at once: statements that do not grow with the batch, and two processes that bill the same customers."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from deploy.local.databases import Database
from services.billing import consumers
from shared.harness.kello import Kello
from shared.messaging.decision import Ids, Message
from shared.schemas.base import Payload
from shared.schemas.billing import InvoiceIssued, PaymentReceived
from tests.billing.audit import assert_the_books_are_right
from tests.billing.orders import line, profile, purchase, transfer

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def message(payload: Payload) -> Message[Any]:
    return Message(
        payload, str(uuid4()), "tests", payload.ce_type, NOW, payload.kafka_key, payload.topic, 0, 0, "", None
    )


async def statements_of(connection: "asyncpg.Connection[asyncpg.Record]", payloads: Sequence[Payload]) -> int:
    """Saves the payloads as one batch, in one transaction; how many statements that took."""
    seen: list[str] = []

    def note(query: Any) -> None:
        seen.append(query.query)

    copy = asyncpg.Connection.copy_records_to_table

    async def noted_copy(self: Any, table: str, **arguments: Any) -> str:
        seen.append(f"COPY {table}")  # which the query logger does not tell
        return await copy(self, table, **arguments)

    messages = [message(payload) for payload in payloads]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.Connection, "copy_records_to_table", noted_copy)
        await _run(connection, messages, note)
    return len(seen)


async def _run(
    connection: "asyncpg.Connection[asyncpg.Record]", messages: Sequence[Message[Any]], note: Callable[[Any], None]
) -> None:
    async with connection.transaction():
        connection.add_query_logger(note)
        state = await consumers.load(connection, messages)
        for each in messages:
            ids = Ids("billing", each.source, each.id, each.time)
            for decide in consumers.handlers.of_type(each.type):
                for row in decide(state, each, NOW, ids).changes:
                    state.put(row)
            state.keep()
        await consumers.save(connection, state)
        connection.remove_query_logger(note)


async def test_a_batch_of_200_takes_as_many_statements_as_a_batch_of_1(
    database: Callable[[str], Awaitable[Database]],
) -> None:
    one, many, somebody = [uuid4()], [uuid4() for _ in range(200)], uuid4()
    kinds: list[tuple[Callable[[UUID], Payload], int]] = [
        (profile, 6),
        (purchase, 9),
        (lambda customer: purchase(customer, line(100), line(200)), 9),
        (lambda customer: purchase(customer, payment_token="tok_ok"), 10),
        (lambda customer: transfer(customer, 1000), 11),
        (lambda customer: profile(customer, 2, name="Ada Married"), 5),
    ]
    connection = await asyncpg.connect((await database("billing")).url)
    try:
        # The series is there from now on, and asyncpg knows every type.
        await statements_of(
            connection, [profile(somebody), purchase(somebody), purchase(somebody, payment_token="tok_ok")]
        )
        await statements_of(connection, [transfer(somebody, 1)])
        taken = [
            [await statements_of(connection, [kind(customer) for customer in customers]) for customers in (one, many)]
            for kind, _ in kinds
        ]
    finally:
        await connection.close()
    assert taken == [[statements, statements] for _, statements in kinds]


async def test_two_processes_number_without_a_gap(kello: Kello) -> None:
    """Every customer's profile and purchases lie on different topics, so both processes meet on the same roots."""
    customers = [uuid4() for _ in range(20)]
    async with kello.running("billing", "billing"):
        for _ in range(3):
            await kello.publish(*(purchase(customer) for customer in customers))
        await kello.publish(*(profile(customer) for customer in customers))
        await kello.publish(*(purchase(customer) for customer in customers))
        await kello.publish(*(transfer(customer, 100) for customer in customers[:10]))
        await kello.expect(InvoiceIssued, count=80)
        await kello.settled()
    issued = await kello.events(InvoiceIssued)
    assert sorted(each.number[-6:] for each in issued) == [f"{n:06d}" for n in range(1, 81)]
    assert all(each.amount == 100 for each in await kello.events(PaymentReceived))
    await assert_the_books_are_right(kello)
