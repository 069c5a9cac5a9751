"""Fenced offsets: whoever was overtaken changes nothing, an unknown commit is settled, and no topic is jumped over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete

from deploy.local.topics import admin_client, create_topics, delete_topics
from shared.harness.kello import Kello
from shared.messaging import offsets
from shared.messaging.claims import TopicChanged
from shared.messaging.database import connect_pool
from shared.messaging.offsets import Partition
from shared.messaging.service import Process
from shared.messaging.topics import partitions_of
from shared.operations.wire import members_of
from tests.messaging import probe
from tests.messaging.conftest import probe_topics
from tests.messaging.probe import Added
from tests.messaging.sending import add, assert_told_exactly_once, headers_of, totals


@asynccontextmanager
async def cutting_proxy(  # noqa: C901 - one proxy, its two ways
    database_url: str, cut_every: int
) -> AsyncIterator[tuple[str, list[int]]]:
    """PostgreSQL behind a line that breaks after every n-th COMMIT has gone through: nobody hears what came of it.

    Yields the address to use, and a list that grows with every cut.
    """
    parts = urlsplit(database_url)
    commits, cuts = 0, list[int]()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool) -> None:
        nonlocal commits
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
            if is_client and b"COMMIT;" in data:
                commits += 1
                if commits % cut_every == 0:
                    await asyncio.sleep(0.05)  # PostgreSQL has it by now; what it says is lost
                    cuts.append(commits)
                    return

    async def serve(client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        reader, server = await asyncio.open_connection(parts.hostname, parts.port)
        ways = [
            asyncio.create_task(pass_on(client_reader, server, is_client=True)),
            asyncio.create_task(held(reader, client)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for each in ways:
            each.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for each_writer in (client, server):
            each_writer.transport.abort()

    async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The way back; what answers a commit that will be cut must not slip through."""
        while data := await reader.read(65536):
            if (commits + 1) % cut_every == 0 and b"COMMIT" in data:
                await asyncio.sleep(0.2)
            writer.write(data)
            await writer.drain()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl(), cuts
        listening.close()


async def test_a_commit_whose_outcome_nobody_heard_is_settled_by_trying_again(kello: Kello) -> None:
    counters = [uuid4() for _ in range(10)]
    url = (await kello.database("probe")).url
    async with (
        cutting_proxy(url, cut_every=4) as (through_proxy, cuts),
        kello.running_service(probe.service(), database_url=through_proxy, batch_records_max=20),
    ):
        rounds = 0
        while len(cuts) < 5:
            await kello.publish(*(add(counter) for counter in counters for _ in range(3)))
            await kello.settled()
            rounds += 1
            assert rounds < 40
    await assert_told_exactly_once(kello, dict.fromkeys(counters, 3 * rounds))
    assert not await kello.dead_letters("probe")


async def test_a_batch_in_hand_survives_that_its_partition_goes_and_comes_back(kello: Kello) -> None:
    counters = [uuid4() for _ in range(30)]
    url = (await kello.database("probe")).admin_url
    async with kello.running_service(probe.service()):
        await kello.publish(*(add(counter) for counter in counters))
        await kello.settled()
        for _ in range(2):
            connection = await asyncpg.connect(url)
            async with connection.transaction():
                await connection.execute("SELECT FROM counter FOR UPDATE")  # holds every batch in hand
                await kello.publish(*(add(counter) for counter in counters))
                await asyncio.sleep(0.2)
                async with kello.running_service(probe.service()) as other:  # takes some partitions, and leaves again
                    await kello.until(partial(has_partitions, other), "the other joins")
                    await kello.publish(*(add(counter) for counter in counters))
                await connection.execute("SELECT 1")
            await connection.close()
        await kello.settled()
    await assert_told_exactly_once(kello, dict.fromkeys(counters, 5))


async def has_partitions(process: Process[Any, Any]) -> bool:
    """Whether the group has let it in: one that leaves before is missed by nobody until its session ends."""
    kafka = process._claims.kafka() if process._claims is not None else None
    return kafka is not None and bool(kafka.assignment())


async def test_who_stops_leaves_the_group_at_once(kello: Kello) -> None:
    async with kello.running_service(probe.service()) as stays:

        async def has_everything() -> bool:
            kafka = stays._claims.kafka() if stays._claims is not None else None
            return kafka is not None and len(kafka.assignment()) == 9

        async with kello.running_service(probe.service()) as leaves:
            await kello.until(lambda: has_partitions(leaves), "it joins")
        async with admin_client(kello.kafka) as admin:
            group = f"{kello.prefix}probe"
            assert await members_of(admin, [group]) == {group: 1}  # nobody waits until a session ends
        await kello.until(has_everything, "the other has everything")


async def test_two_processes_that_create_the_same_roots_at_once_both_succeed(kello: Kello) -> None:
    async with kello.running_service(probe.service()), kello.running_service(probe.service()):
        expected: dict[UUID, int] = {}
        for _ in range(8):
            counters = [uuid4() for _ in range(25)]
            expected |= dict.fromkeys(counters, 3)
            commands = [add(counter) for counter in counters]
            notes = [probe.Noted(counter_id=each, note_id=uuid4(), amount=2, version=1) for each in counters]
            await asyncio.gather(kello.publish(*commands), kello.publish(*notes))
        await kello.settled()
    await assert_told_exactly_once(kello, expected)
    assert not await kello.dead_letters("probe")


async def test_processes_that_come_and_go_under_load_do_everything_once(kello: Kello) -> None:
    counters = [uuid4() for _ in range(20)]
    rounds = 0

    async def load() -> None:
        nonlocal rounds
        while True:
            await asyncio.shield(asyncio.ensure_future(kello.publish(*(add(counter) for counter in counters))))
            rounds += 1
            await asyncio.sleep(0.02)

    async with kello.running_service(probe.service(), batch_records_max=50):
        loading = asyncio.create_task(load())
        for _ in range(3):
            async with kello.running_service(probe.service()) as one, kello.running_service(probe.service()) as two:
                for each in (one, two):
                    await kello.until(partial(has_partitions, each), "each joins")
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        await kello.settled()
    sums = await totals(kello)
    assert set(sums) == set(counters)
    assert all(rounds <= each <= rounds + 1 for each in sums.values())
    await assert_told_exactly_once(kello, sums)


# Topics that are not what they were

TOPIC = Partition("probe.commands", 0)


async def send(kello: Kello, count: int) -> None:
    for _ in range(count):
        command = add()
        key, value = command.kafka_key.encode(), command.model_dump_json().encode()
        await kello.publish_raw("probe.commands", key, value, headers_of(command), 0)


async def recreate(kello: Kello) -> None:
    name = kello.prefix + "probe.commands"
    await delete_topics(kello.kafka, [name])

    async def is_gone() -> bool:
        return not await partitions_of([kello.kafka], [name])

    await kello.until(is_gone, "the topic is deleted")
    commands = [topic for topic in probe_topics() if topic.name == "probe.commands"]
    await create_topics(kello.kafka, commands, prefix=kello.prefix)


async def recreate_with_less(kello: Kello) -> None:
    await recreate(kello)
    await send(kello, 3)


async def recreate_with_as_much(kello: Kello) -> None:
    await recreate(kello)
    await send(kello, 12)


async def truncate(kello: Kello) -> None:
    await send(kello, 5)
    async with admin_client(kello.kafka) as admin:
        place = TopicPartition(kello.prefix + "probe.commands", 0)
        await admin.delete_records({place: RecordsToDelete(before_offset=13)})


@pytest.mark.parametrize("change", [recreate_with_less, recreate_with_as_much, truncate])
async def test_a_topic_that_is_not_what_it_was_stops_the_service_until_somebody_decides(
    kello: Kello, change: Callable[[Kello], Awaitable[None]]
) -> None:
    async with kello.running_service(probe.service()):
        await send(kello, 10)
        await kello.settled()
    before = await totals(kello)
    await change(kello)
    with pytest.raises(TopicChanged, match=r"kello offsets reset probe probe\.commands 0") as stopped:
        async with kello.running_service(probe.service()) as process:
            await kello.until(lambda: ended(process), "the service stops")
    assert await totals(kello) == before
    offset = int(str(stopped.value).rsplit(" ", 1)[1])
    pool = await connect_pool((await kello.database("probe")).url, application="tests")
    async with pool, pool.acquire() as tx:
        assert await offsets.reset(tx, "probe", TOPIC, offset)
    async with kello.running_service(probe.service()):
        await kello.settled()
    assert len(await totals(kello)) > len(before)


async def ended(process: object) -> bool:
    return not any(task.get_name() == "consumer" for task in asyncio.all_tasks())


async def test_a_topic_that_lost_what_was_not_read_yet_stops_the_service(kello: Kello) -> None:
    async with kello.running_service(probe.service()):
        await send(kello, 10)
        await kello.settled()
    await send(kello, 10)
    async with admin_client(kello.kafka) as admin:
        place = TopicPartition(kello.prefix + "probe.commands", 0)
        await admin.delete_records({place: RecordsToDelete(before_offset=15)})
    with pytest.raises(TopicChanged, match="truncated"):
        async with kello.running_service(probe.service()) as process:
            await kello.until(lambda: ended(process), "the service stops")


async def test_idle_partitions_are_claimed_without_a_record(kello: Kello) -> None:
    async with kello.running_service(probe.service()):
        await send(kello, 2)
        await kello.settled()
    async with kello.running_service(probe.service()) as process:

        async def is_claimed() -> bool:
            return process._claims is not None and process._claims.of(TOPIC) is not None

        await kello.until(is_claimed, "the partition is claimed")
    assert len(await kello.events(Added)) == 2
