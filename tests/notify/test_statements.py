"""A batch costs the same number of statements, whatever its size."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from deploy.local.databases import Database
from services.notify.consumers import handlers, load, save
from services.notify.domain.tasks import (
    FORGET_LETTERS,
    RECIPIENT_UNKNOWN,
    SEND_EMAIL,
    HandedOver,
    LettersUntil,
    TurnedAway,
    Waiting,
)
from shared.messaging.decision import Due, Ids, Message, Outcome, Task
from shared.schemas.base import Payload
from shared.schemas.customer import ProfileErased
from tests.notify.said import email, hired, invoice, phone, profile, request, salary

NOW = datetime.now(UTC)


def message(payload: Payload) -> Message[Any]:
    return Message(
        payload, str(uuid4()), "tests", payload.ce_type, NOW, payload.kafka_key, payload.topic, 0, 0, "c", None
    )


def outcome(task: Task, result: Any) -> Message[Any]:
    payload = Outcome(task.kind, task.key, 1, task.payload, result)
    kind = f"task/{task.kind}"
    return Message(payload, str(uuid4()), "task/tests", kind, NOW, task.root, kind, 0, 0, "c", None)


async def run(tx: "asyncpg.Connection[Any]", messages: Sequence[Message[Any]]) -> tuple[int, list[Task]]:
    """One batch as the kit runs it; returns how many statements load and save sent, and the tasks."""
    sent: list[str] = []
    tasks: list[Task] = []
    with tx.query_logger(lambda query: sent.append(query.query)):
        state = await load(tx, messages)
        for each in messages:
            outcomes = isinstance(each.payload, Outcome)
            chain = handlers.of_outcome(each.payload.kind) if outcomes else handlers.of_type(each.type)
            for decide in chain:
                decision = decide(state, each, NOW, Ids("notify", each.source, each.id, each.time))
                for change in decision.changes:
                    state.put(change)
                tasks += [task for task in decision.tasks if isinstance(task, Task)]
            state.keep()
        await save(tx, state)
    return len(sent), tasks


async def story(tx: "asyncpg.Connection[Any]", size: int) -> list[int]:
    """The statements of each batch in the life of `size` customers and as many employees."""
    people: list[UUID] = [uuid4() for _ in range(size)]
    staff: list[UUID] = [uuid4() for _ in range(size)]
    counts = []

    async def batch(messages: Sequence[Message[Any]]) -> list[Task]:
        count, tasks = await run(tx, messages)
        counts.append(count)
        return tasks

    waiting = await batch([message(invoice(each)) for each in people])
    sends = await batch([message(profile(each, email(), phone())) for each in people])
    await batch([message(hired(each)) for each in staff])
    await batch([message(each) for pair in zip(map(salary, staff), map(request, people), strict=True) for each in pair])
    mails = [task for task in sends if task.kind == SEND_EMAIL]
    await batch([outcome(task, TurnedAway("no-such-address", address_is_bad=True)) for task in mails])
    salaries = await batch([message(salary(each)) for each in staff])
    await batch([outcome(task, HandedOver("id")) for task in salaries if task.kind == SEND_EMAIL])
    await batch([outcome(task, Due()) for task in waiting if task.kind == RECIPIENT_UNKNOWN])
    await batch([message(profile(each, email(), version=2)) for each in people])
    await batch([message(ProfileErased(customer_id=each, version=3)) for each in people])
    await batch([outcome(Task(FORGET_LETTERS, "hour", "hour", LettersUntil(until=NOW)), Due())])
    assert all(isinstance(task.payload, Waiting) for task in waiting)
    return counts


async def test_two_hundred_messages_cost_no_more_statements_than_one(
    database: Callable[[str], Awaitable[Database]],
) -> None:
    connection = await asyncpg.connect((await database("notify")).url, timeout=5)
    try:
        async with connection.transaction():
            await story(connection, 1)  # the first time, asyncpg asks PostgreSQL about types
            one = await story(connection, 1)
            two_hundred = await story(connection, 200)
    finally:
        await connection.close()
    assert one == two_hundred == [4, 5, 2, 5, 5, 4, 3, 1, 2, 5, 1]
