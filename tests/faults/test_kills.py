"""SIGKILL at every step of a batch, of the relay and of a task, and a frozen process that wakes up too late.

The probe runs as three processes, one for each role; each is killed at one point after the other while commands come
in. KELLO_FAULT_ROUNDS repeats the whole (default 1; `make faults` takes more).
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from shared.harness.kello import Kello
from tests.messaging import probe
from tests.messaging.conftest import kello as kello  # noqa: PLC0414 - the fixture of the probe
from tests.messaging.probe import Paid
from tests.messaging.sending import add, assert_told_exactly_once, distinct, header

ROUNDS = int(os.environ.get("KELLO_FAULT_ROUNDS", "1"))

REACHED_SECONDS = 100  # a process takes its time to start on a busy machine

POINTS = {
    "consumer": [
        "shared.messaging.offsets.claim:after:1",
        "shared.messaging.offsets.advance:after:1",
        "shared.messaging.inbox.remember:after:1",
        "tests.messaging.probe.load:after:1",
        "tests.messaging.probe.save:after:1",
        "shared.messaging.outbox.append:before:1",
        "shared.messaging.outbox.append:after:2",
        "shared.messaging.unit.Unit.run:after:1",
        "aiokafka.AIOKafkaConsumer.commit:before:1",
        "aiokafka.AIOKafkaConsumer.commit:after:1",
    ],
    "relay": [
        "shared.messaging.relay.adopt_what_kafka_has:after:1",
        "aiokafka.AIOKafkaProducer.send_batch:before:2",
        "aiokafka.AIOKafkaProducer.send_batch:after:2",
        "shared.messaging.relay.delete:before:2",
        "shared.messaging.relay.delete:after:2",
    ],
    "tasks": [
        "shared.messaging.task_store.claim_due:after:1",
        "httpx.AsyncClient.post:before:2",
        "httpx.AsyncClient.post:after:2",
        "shared.messaging.task_store.settle:before:1",
        "shared.messaging.task_store.settle:after:1",
        "shared.messaging.unit.Unit.run:after:1",
    ],
}


@asynccontextmanager
async def victim(kello: Kello, role: str, kill: str | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {"VICTIM_SESSION_SECONDS": "2", "KELLO_ROLES": f'["{role}"]'}
    if kill is not None:
        environment["VICTIM_KILL"] = kill
    async with kello.spawned("probe", "-m", "tests.messaging.victim", environment=environment) as child:
        yield child


async def killed_at_each(kello: Kello, role: str, points: Sequence[str], others: asyncio.Barrier) -> None:
    """One process after the other, each until it dies where it should; then one that lives until all are through."""
    for point in points:
        async with victim(kello, role, point) as child:
            try:
                await asyncio.wait_for(child.wait(), REACHED_SECONDS)
            except TimeoutError:
                pytest.fail(f"{point} was never reached")
            assert child.returncode == -signal.SIGKILL, point
    async with victim(kello, role):
        await others.wait()


@pytest.mark.timeout(300 * ROUNDS)
async def test_whoever_is_killed_wherever_everything_happens_once(kello: Kello) -> None:
    expected: dict[UUID, int] = {uuid4(): 0 for _ in range(15)}
    paid: set[UUID] = set()

    async def load() -> None:
        while True:
            for counter in expected:
                command = add(counter, amount=20)
                await kello.publish(command, twice=True)
                expected[counter] += 20
            payment = add(pay=True, text="tok_ok")
            await kello.publish(payment)
            paid.add(payment.counter_id)
            await asyncio.sleep(0.05)

    loading = asyncio.create_task(load())
    through = asyncio.Barrier(len(POINTS))
    async with asyncio.TaskGroup() as roles:
        for role, points in POINTS.items():
            roles.create_task(killed_at_each(kello, role, points * ROUNDS, through))
    loading.cancel()
    await asyncio.wait({loading})
    async with kello.running_service(probe.service()):
        await kello.settled(within=60)
    everything = {**expected, **dict.fromkeys(paid, 1)}
    sums = {row["id"]: row["total"] for row in await kello.rows("probe", "SELECT id, total FROM counter")}
    late = {counter for counter in sums if sums[counter] != everything.get(counter)}
    assert len(late) <= 1  # the one that was being sent when the load ended
    await assert_told_exactly_once(kello, sums)
    assert not await kello.dead_letters("probe")
    told = [
        Paid.model_validate_json(record.value)
        for record in distinct(await kello.records("probe.events"))
        if header(record, "ce_type") == Paid.ce_type
    ]
    done = [each.counter_id for each in told if each.state == "paid"]
    assert len(done) == len(set(done))
    assert paid <= set(done)
    captures = [capture.reference for capture in kello.sandboxes.gateway.captures()]
    assert len(captures) == len(set(captures)) == len(done)


@pytest.mark.timeout(5 * REACHED_SECONDS)
async def test_a_frozen_process_that_wakes_up_after_its_successor_changes_nothing(kello: Kello) -> None:
    counters = [uuid4() for _ in range(20)]

    async def send() -> None:
        await kello.publish(*(add(counter) for counter in counters))

    async def total() -> int:
        rows = await kello.rows("probe", "SELECT coalesce(sum(total), 0)::bigint AS n FROM counter")
        return int(rows[0]["n"])

    async def reaches(n: int) -> bool:
        return await total() == n

    async with victim(kello, "consumer") as first:
        await send()
        await kello.until(lambda: reaches(20), "the first works", within=REACHED_SECONDS)
        await send()
        first.send_signal(signal.SIGSTOP)  # with records in hand, as likely as not
        await send()
        async with victim(kello, "consumer") as second:
            await kello.until(lambda: reaches(60), "the second takes over", within=REACHED_SECONDS)
            first.send_signal(signal.SIGCONT)
            await send()
            await kello.until(lambda: reaches(80), "both go on", within=REACHED_SECONDS)
            second.send_signal(signal.SIGTERM)
            assert await second.wait() == 0
        await send()
        await kello.until(lambda: reaches(100), "the first has joined again", within=REACHED_SECONDS)
        assert first.returncode is None
    async with kello.running_service(probe.service()):
        await kello.settled()
    await assert_told_exactly_once(kello, dict.fromkeys(counters, 5))
