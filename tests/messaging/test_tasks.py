"""Tasks: one effect at the provider whatever is lost on the way, timers, no queue behind a slow call."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from deploy.local.sandboxes import Behaviour
from shared.harness.kello import Kello
from shared.messaging import task_store
from shared.messaging.handlers import Handlers
from shared.messaging.tasks import TaskKind, TaskRunner
from tests.messaging import probe
from tests.messaging.probe import PAY_SECONDS, Add, Added, Paid, Reminded
from tests.messaging.sending import add


def pay(token: str) -> Add:
    return add(amount=7, pay=True, text=token)


async def states(kello: Kello, counter: UUID) -> list[str]:
    return [paid.state for paid in await kello.events(Paid, counter_id=counter)]


def captures(kello: Kello, token: str) -> int:
    return sum(capture.token == token for capture in kello.sandboxes.gateway.captures())


async def tasks(kello: Kello) -> list[asyncpg.Record]:
    return await kello.rows("probe", "SELECT * FROM messaging.task ORDER BY kind, key")


async def test_every_way_of_a_provider_ends_in_one_effect_and_the_truth(kello: Kello) -> None:
    kello.sandboxes.gateway.script(Behaviour(unavailable_times=100), token="tok_never")
    ways = {
        "tok_ok": (["paid"], 1),
        "tok_declined": (["declined"], 0),
        "tok_down": (["paid"], 1),  # 503 twice: nothing was done, it is tried again
        "tok_throttled": (["paid"], 1),
        "tok_duplicate": (["paid"], 1),
        "tok_lost_reply": (["unknown", "paid"], 1),
        "tok_lost_request": (["unknown", "paid"], 1),  # the provider never saw it: performed again, same key
        "tok_slow": (["unknown", "paid"], 1),  # slower than the call may take
        "tok_pending": (["unknown", "paid"], 1),
        "tok_pending_declined": (["unknown", "declined"], 0),
        "tok_unknown": (["unknown", "paid"], 1),
        "tok_never": (["exhausted"], 0),
    }
    kello.sandboxes.gateway.script(Behaviour(delay_seconds=2 * PAY_SECONDS), token="tok_slow")
    commands = {token: pay(token) for token in ways}
    async with kello.running_service(probe.service()):
        await kello.publish(*commands.values())
        await kello.settled()
    for token, (expected, captured) in ways.items():
        told = await states(kello, commands[token].counter_id)
        assert list(dict.fromkeys(told)) == expected, token  # unknown may be told twice
        assert captures(kello, token) == captured, token
    assert not await tasks(kello)


async def test_no_more_is_claimed_than_may_be_called_at_once(kello: Kello) -> None:
    """Whatever plan PostgreSQL makes of the claim."""
    await kello.rows(
        "probe",
        """
        INSERT INTO messaging.task (kind, key, root, payload, due_at, cause_source, cause_id, correlation_id, state)
        SELECT 'pay', n || state, 'r', '{}', now(), 's', 'i', 'c', state
        FROM generate_series(1, 300) AS n, unnest(ARRAY['waiting', 'unknown']) AS state
        """,
    )
    connection: Any = await asyncpg.connect((await kello.database("probe")).url)
    try:
        for method in ("hashjoin", "mergejoin", "indexscan", "bitmapscan", "material", "memoize"):
            await connection.execute(f"SET enable_{method} = off")
            assert len(await task_store.claim_due(connection, "pay", 7, uuid4(), 30)) == 7
            assert len(await task_store.claim_unknown(connection, "pay", 7, uuid4(), 30)) == 7
    finally:
        await connection.close()


async def test_a_slow_provider_does_not_slow_the_partition(kello: Kello) -> None:
    kello.sandboxes.gateway.script(Behaviour(delay_seconds=1.2), token="tok_crawl")
    async with kello.running_service(probe.service()):
        await kello.publish(*(pay("tok_crawl") for _ in range(60)))
        await kello.until(lambda: tasks(kello), "payments are under way")
        later = [add() for _ in range(5)]
        await kello.publish(*later)
        for command in later:
            await kello.expect(Added, counter_id=command.counter_id)
        assert await tasks(kello), "what came after the payments was decided before they had ended"
        await kello.settled()
    assert captures(kello, "tok_crawl") == 60


async def test_an_expired_lease_is_unknown_and_is_asked_about(kello: Kello) -> None:
    """One died before its call, one after it: neither is simply done again."""
    kello.sandboxes.gateway.script(Behaviour(deliveries=1), token="tok_dead")
    before, after = pay("tok_before"), pay("tok_dead")
    async with kello.running_service(probe.service(), roles=("consumer", "relay", "api")):
        await kello.publish(before, after)
        await kello.expect(Added, counter_id=before.counter_id)
        await kello.expect(Added, counter_id=after.counter_id)
        await kello.rows(
            "probe",
            """
            UPDATE messaging.task SET state = 'started', attempts = 1, lease = gen_random_uuid(),
                lease_until = clock_timestamp() - interval '1 second'
            """,
        )
    async with kello.running_service(probe.service()):
        for command in (before, after):
            await kello.expect(Paid, counter_id=command.counter_id, state="paid")
        await kello.settled()
    assert (captures(kello, "tok_before"), captures(kello, "tok_dead")) == (1, 1)


@asynccontextmanager
async def locked(kello: Kello, counter: UUID) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The root of a counter in somebody else's hands, until that one lets go."""
    connection = await asyncpg.connect((await kello.database("probe")).admin_url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT FROM counter WHERE id = $1 FOR UPDATE", counter)
        yield transaction.rollback
    finally:
        await connection.close()


async def is_waited_for(kello: Kello) -> bool:
    """Whether somebody waits for a row that another one has locked."""
    return bool(
        await kello.rows(
            "probe",
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
    )


async def test_an_outcome_whose_lease_is_lost_meanwhile_is_rolled_back(kello: Kello) -> None:
    command, asked = pay("tok_ok"), questions_answered()
    async with kello.running_service(probe.service(), roles=("consumer", "relay", "api")):
        await kello.publish(command)
        await kello.expect(Added, counter_id=command.counter_id)
    async with locked(kello, command.counter_id) as let_go, kello.running_service(probe.service()):
        await kello.until(lambda: captured(kello, "tok_ok"), "the gateway has it")
        await kello.until(lambda: is_waited_for(kello), "its outcome waits for the root")
        assert await kello.rows(
            "probe",
            """
            UPDATE messaging.task SET state = 'unknown', lease = NULL, lease_until = NULL, due_at = now()
            WHERE state = 'started' RETURNING key
            """,
        )
        await let_go()
        await kello.expect(Paid, counter_id=command.counter_id, state="paid")
        await kello.settled()
    assert (await states(kello, command.counter_id)).count("paid") == 1
    assert captures(kello, "tok_ok") == 1
    assert questions_answered() == asked + 1, "nobody asked: an outcome without a lease was saved"


def questions_answered() -> float:
    """How often the gateway was asked about a payment, in this process, and said how it had ended."""
    labels = {"service": "probe", "kind": probe.PAY, "act": "asked", "end": "answered"}
    return REGISTRY.get_sample_value("kello_task_call_seconds_count", labels) or 0


async def captured(kello: Kello, token: str) -> bool:
    return captures(kello, token) == 1


async def test_a_timer_follows_the_business_clock_and_can_be_moved_and_taken_back(kello: Kello) -> None:
    kept, moved, taken_back, both = uuid4(), uuid4(), uuid4(), uuid4()
    async with kello.running_service(probe.service()):
        await kello.publish(*(add(counter, remind_days=3) for counter in (kept, moved, taken_back, both)))
        await kello.settled()
        await kello.publish(add(moved, remind_days=10), add(taken_back, remind_days=-1))
        await kello.publish(add(both, remind_days=-1), add(both, remind_days=2))
        await kello.settled()
        assert len(await tasks(kello)) == 3
        await kello.clock.move("probe", days=2, hours=23)
        await kello.expect(Reminded, counter_id=both, days=2)
        await kello.settled()
        assert len(await kello.events(Reminded)) == 1
        await kello.clock.move("probe", hours=2)
        await kello.expect(Reminded, counter_id=kept, days=3)
        await kello.clock.move("probe", days=8)
        await kello.expect(Reminded, counter_id=moved, days=10)
        await kello.settled()
        assert len(await kello.events(Reminded)) == 3


async def test_a_bug_in_the_decision_on_an_outcome_loses_nothing(kello: Kello) -> None:
    command, reminder = pay("tok_bug"), add(remind_days=0)
    probe.broken.update({"paid", "reminded"})
    try:
        async with kello.running_service(probe.service()):
            await kello.publish(command, reminder)

            async def failed() -> Any:
                rows = await tasks(kello)
                return [row["state"] for row in rows if row["last_reason"]] == ["unknown", "waiting"]

            await kello.until(failed, "both decisions failed")
            probe.broken.clear()
            await kello.rows("probe", "UPDATE messaging.task SET due_at = now()")
            await kello.expect(Paid, counter_id=command.counter_id, state="paid")
            await kello.expect(Reminded, counter_id=reminder.counter_id)
            await kello.settled()
    finally:
        probe.broken.clear()
    assert captures(kello, "tok_bug") == 1


async def test_a_task_that_cannot_be_read_stops_nobody(kello: Kello) -> None:
    command = pay("tok_ok")
    async with kello.running_service(probe.service()):
        await kello.rows(
            "probe",
            """
            INSERT INTO messaging.task (kind, key, root, payload, due_at, cause_source, cause_id, correlation_id)
            SELECT kind, 'broken', 'r', '{}', now(), 's', 'i', 'c' FROM unnest(ARRAY['pay', 'remind']) AS kind
            """,
        )

        async def is_put_aside() -> bool:
            return [row["state"] for row in await tasks(kello)] == ["unknown", "waiting"]

        await kello.until(is_put_aside, "the tasks are put aside")
        await kello.publish(command)
        await kello.expect(Paid, counter_id=command.counter_id, state="paid")


def test_a_task_without_a_decision_is_found_at_the_start() -> None:
    unit: Any = None
    with pytest.raises(TypeError, match="without"):
        TaskRunner(unit, unit, Handlers(), [TaskKind("nobody", probe.Reminder)])
