"""Too many dead letters in a row stop their partition, and it alone, until somebody lets it go on."""

from uuid import uuid4

import pytest

from shared.harness.kello import Kello
from shared.messaging import offsets
from shared.messaging.database import connect_pool
from shared.messaging.offsets import Partition
from tests.messaging import probe
from tests.messaging.sending import Headers, add, header, headers_of, totals

LIMIT = 5


async def send(kello: Kello, amounts: list[int], partition: int) -> dict[object, int]:
    """Commands at one partition; 0 stands for one that cannot be read. Returns what the good ones add up to."""
    sums: dict[object, int] = {}
    for amount in amounts:
        command = add(uuid4(), amount)
        headers: Headers = headers_of(command)
        value = command.model_dump_json().encode() if amount else b"{"
        await kello.publish_raw("probe.commands", command.kafka_key.encode(), value, headers, partition)
        if amount:
            sums[command.counter_id] = amount
    return sums


async def next_offset(kello: Kello, partition: int) -> int:
    rows = await kello.rows(
        "probe",
        "SELECT next_offset FROM messaging.consumer_offset WHERE topic = 'probe.commands' AND partition = $1",
        partition,
    )
    return int(rows[0]["next_offset"]) if rows else 0


@pytest.mark.parametrize("batch_records_max", [1000, 3])
async def test_a_run_of_dead_letters_stops_its_partition_across_a_restart(kello: Kello, batch_records_max: int) -> None:
    settings = {"dead_run_max": LIMIT, "batch_records_max": batch_records_max}
    first = await send(kello, [1, 0, 0, 0, 0, 2], partition=0)  # four are no run
    stuck = await send(kello, [0] * 12 + [3, 4], partition=0)
    async with kello.running_service(probe.service(), **settings):
        await kello.until(lambda: stopped_at(kello, 6 + LIMIT), "the partition stops")
        others = await send(kello, [5, 0, 6], partition=1)
        await kello.until(lambda: next_offset_is(kello, 1, 3), "the other partition goes on")
        assert await next_offset(kello, 0) == 6 + LIMIT
    async with kello.running_service(probe.service(), **settings):
        more = await send(kello, [7], partition=1)
        await kello.until(lambda: next_offset_is(kello, 1, 4), "the other partition goes on after a restart")
        assert await next_offset(kello, 0) == 6 + LIMIT
        assert await totals(kello) == first | others | more
        await resume(kello)
        await kello.until(lambda: stopped_at(kello, 6 + 2 * LIMIT), "it stops again after as many")
        await resume(kello)
        await kello.settled()
    assert await totals(kello) == first | others | more | stuck
    letters = await kello.dead_letters("probe")
    assert len(letters) == len({header(each, "kello_dead_id") for each in letters}) == 4 + 12 + 1


async def stopped_at(kello: Kello, offset: int) -> bool:
    rows = await kello.rows(
        "probe", "SELECT FROM messaging.consumer_offset WHERE next_offset = $1 AND dead_run = $2", offset, LIMIT
    )
    return bool(rows)


async def next_offset_is(kello: Kello, partition: int, offset: int) -> bool:
    return await next_offset(kello, partition) == offset


async def resume(kello: Kello) -> None:
    pool = await connect_pool((await kello.database("probe")).url, application="tests")
    async with pool, pool.acquire() as tx:
        assert await offsets.resume(tx, "probe", Partition("probe.commands", 0)) == 1


async def test_a_value_that_only_postgresql_notices_stops_at_the_limit_too(kello: Kello) -> None:
    """The batch is halved there: what follows the run in the other half must not be saved either."""
    good = [add(amount=n + 20) for n in range(40)]
    for n, command in enumerate(good):
        bad = command.model_copy(update={"text": "forbidden"}) if 10 <= n < 10 + LIMIT + 2 else command
        key, value = bad.kafka_key.encode(), bad.model_dump_json().encode()
        await kello.publish_raw("probe.commands", key, value, headers_of(bad), 0)
    async with kello.running_service(probe.service(), dead_run_max=LIMIT):
        await kello.until(lambda: stopped_at(kello, 10 + LIMIT), "the partition stops")
        assert await totals(kello) == {each.counter_id: each.amount for each in good[:10]}
        await resume(kello)
        await kello.settled()
    assert await totals(kello) == {each.counter_id: each.amount for each in [*good[:10], *good[10 + LIMIT + 2 :]]}
    assert len(await kello.dead_letters("probe")) == LIMIT + 2
