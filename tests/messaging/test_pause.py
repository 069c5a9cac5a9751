"""A service that an operator paused takes nothing in, from that moment on and across restarts, until it is resumed."""

from uuid import uuid4

from shared.harness.kello import Kello
from shared.messaging import offsets
from shared.messaging.database import connect
from tests.messaging import probe
from tests.messaging.sending import add


async def pause(kello: Kello) -> None:
    connection = await connect((await kello.database("probe")).owner_url, application="tests")
    async with connection.transaction():
        await offsets.pause(connection, "probe", "the gateway is being replaced")
    await connection.close()


async def unpause(kello: Kello) -> bool:
    connection = await connect((await kello.database("probe")).owner_url, application="tests")
    try:
        return await offsets.unpause(connection, "probe")
    finally:
        await connection.close()


def commands(number: int) -> list[probe.Add]:
    return [add(uuid4(), 1) for _ in range(number)]


async def count(kello: Kello) -> int:
    return int((await kello.rows("probe", "SELECT count(*) AS n FROM entry"))[0]["n"])


async def test_a_pause_counts_from_its_commit_on_and_until_it_ends(kello: Kello) -> None:
    async with kello.running_service(probe.service(), batch_records_max=10):
        await kello.publish(*commands(300))
        await kello.until(lambda: count(kello), "it has begun")
        await pause(kello)
        done = await count(kello)
        await kello.publish(*commands(100))
        await kello.until(lambda: all_are_stopped(kello), "every partition is stopped")
        assert await count(kello) == done
    async with kello.running_service(probe.service()):
        await kello.until(lambda: all_are_stopped(kello), "a restart finds the pause")
        assert await count(kello) == done
        assert await unpause(kello)
        assert not await unpause(kello)
        await kello.settled()
    assert await count(kello) == 400


async def test_a_service_that_never_ran_can_be_paused(kello: Kello) -> None:
    await pause(kello)
    await kello.publish(*commands(3))
    async with kello.running_service(probe.service()):
        await kello.until(lambda: all_are_stopped(kello), "it is stopped at its first claim")
        assert not await count(kello)
        await unpause(kello)
        await kello.settled()
    assert await count(kello) == 3


async def all_are_stopped(kello: Kello) -> bool:
    claims = kello.processes["probe"][0]._claims
    assert claims is not None
    return {each.partition for each in claims.stopped if each.topic == "probe.commands"} == {0, 1, 2}
