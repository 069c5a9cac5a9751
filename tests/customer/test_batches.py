"""A batch is a handful of statements whatever its size, and holds every kind of message at once."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from deploy.local.databases import Database
from services.customer import consumers
from shared.messaging.decision import Ids, Message
from shared.schemas.base import Payload
from shared.schemas.customer import AddNote, RecordFeedback, RecordInteraction
from tests.customer import words
from tests.customer.words import CLERK

STATEMENTS = [14, 17, 28, 6, 5]
"""Of a batch of each kind."""
NOT_OURS = ("BEGIN", "COMMIT", "typeinfo_tree", "'jit'")
"""The transaction is the kit's, and asyncpg asks once per connection what an array of jsonb is."""
NOW = datetime(2026, 6, 1, tzinfo=UTC)


async def test_two_hundred_messages_of_each_kind_take_as_many_statements_as_one(
    database: Callable[[str], Awaitable[Database]],
) -> None:
    few = await statements_of((await database("customer")).url, customers=1)
    many = await statements_of((await database("customer")).url, customers=200)
    assert [len(batch) for batch in few] == [len(batch) for batch in many] == STATEMENTS


async def test_facts_alone_read_no_profile(database: Callable[[str], Awaitable[Database]]) -> None:
    connection = await asyncpg.connect((await database("customer")).url)
    try:
        made = await statements(connection, [words.purchase(uuid4()) for _ in range(50)])
    finally:
        await connection.close()
    assert [statement.split()[0] for statement in made] == ["SELECT", "INSERT", "INSERT"]


async def statements_of(url: str, customers: int) -> list[list[str]]:
    """The statements of three batches: all that can happen to so many, once, again, and their salaries."""
    people = [uuid4() for _ in range(customers)]
    staff = [(uuid4(), uuid4()) for _ in range(customers)]
    connection = await asyncpg.connect(url)
    try:
        return [
            await statements(connection, [words.payment(person, 90_000) for person in people]),
            await statements(connection, [each for person in people for each in first_day(person)]),
            await statements(connection, [each for person in people for each in second_day(person)]),
            await statements(connection, [words.salary_failed(*each, 2) for each in staff]),
            await statements(connection, [words.salary_paid(*each, 3) for each in staff]),
        ]
    finally:
        await connection.close()


def first_day(person: UUID) -> list[Payload]:
    return [words.registration(person), words.tagging(person, "loud"), words.consent(person), words.purchase(person)]


def second_day(person: UUID) -> list[Payload]:
    about = {"issued_by": CLERK, "customer_id": person}
    call = {"kind": "call", "direction": "inbound", "occurred_at": NOW, "summary": "Hello"}
    ticket = uuid4()
    return [
        words.change(person, 3, name="Somebody"),
        words.contact_point(person, uuid4()),
        words.untagging(person, "loud"),
        words.consent(person, status="withdrawn"),
        AddNote(**about, note_id=uuid4(), text="Likes tea"),
        RecordInteraction(**about, interaction_id=uuid4(), **call),
        RecordFeedback(**about, feedback_id=uuid4(), kind="nps", score=10),
        words.ticket(person, ticket),
        words.resolving(person, ticket),
        words.purchase(person),
        words.sent(person),
        words.balance(person, uuid4(), 1, 500),
        words.payment(person, 20_000),
    ]


async def statements(connection: Any, payloads: Sequence[Payload]) -> list[str]:
    """Loads, decides and saves as the unit of work does; returns the SQL that it took."""
    made: list[str] = []
    with connection.query_logger(lambda record: made.append(record.query)):
        async with connection.transaction():
            messages = [_message(payload) for payload in payloads]
            state = await consumers.load(connection, messages)
            for message in messages:
                ids = Ids("customer", message.source, message.id, message.time)
                for decide in consumers.handlers.of_type(message.type):
                    for row in decide(state, message, NOW, ids).changes:
                        state.put(row)
                state.keep()
            await consumers.save(connection, state)
    return [statement for statement in made if not any(each in statement for each in NOT_OURS)]


def _message(payload: Payload) -> Message[Any]:
    return Message(
        payload, str(uuid4()), "tests", payload.ce_type, NOW, payload.kafka_key, payload.topic, 0, 0, "", None
    )
