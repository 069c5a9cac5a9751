"""The inbox: a second publication has no second effect, wherever and whenever it comes."""

from dataclasses import replace
from uuid import uuid4

import asyncpg

from shared.harness.kello import Kello
from shared.messaging import inbox
from shared.messaging.database import connect_pool
from shared.messaging.inbox import Identity
from shared.schemas.answers import Accepted, Rejected
from tests.messaging import probe
from tests.messaging.probe import Added
from tests.messaging.sending import add, assert_told_exactly_once, header, headers_of, totals


class OtherAccepted(
    Accepted,
    type="kello.other.command-accepted.v1",
    topic="probe.events",
    key="key",
    subject="command/{command_id}",
):
    """The answer of another group on the same topic."""


class OtherRejected(
    Rejected,
    type="kello.other.command-rejected.v1",
    topic="probe.events",
    key="key",
    subject="command/{command_id}",
):
    """Its refusal."""


async def test_one_event_at_many_offsets_and_partitions_has_one_effect(kello: Kello) -> None:
    command = add(amount=3)
    headers, value, key = headers_of(command), command.model_dump_json().encode(), command.kafka_key.encode()
    for partition in (0, 1, 1, 2, 0):
        await kello.publish_raw("probe.commands", key, value, headers, partition)
    async with kello.running_service(probe.service()):
        await kello.settled()
        for partition in (2, 0):
            await kello.publish_raw("probe.commands", key, value, headers, partition)
        await kello.settled()
    await assert_told_exactly_once(kello, {command.counter_id: 3})
    assert not await kello.dead_letters("probe")


async def test_an_id_that_says_something_else_is_a_dead_letter_and_the_first_stands(kello: Kello) -> None:
    command = add(amount=3)
    other = command.model_copy(update={"amount": 4})
    for _ in range(2):
        await kello.publish(command, id="one id")
    await kello.publish(other, id="one id")
    async with kello.running_service(probe.service()):
        await kello.dead_letters("probe", 1)
        await kello.publish(other, id="one id")
        await kello.publish(other, id="one id", source="somebody else")  # who has ids of its own
        letters = await kello.dead_letters("probe", 2)
        await kello.settled()
    assert {header(each, "kello_dead_code") for each in letters} == {"id-taken"}
    assert await totals(kello) == {command.counter_id: 7}


async def test_two_groups_on_one_topic_know_nothing_of_each_other(kello: Kello) -> None:
    command = add(amount=3)
    await kello.publish(command, twice=True)
    other = replace(probe.service(), name="other", consumes=("probe.commands",))
    async with kello.running_service(probe.service()), kello.running_service(other):
        await kello.settled()
        await kello.until(lambda: kello.rows("other", "SELECT FROM counter WHERE total = 3"), "the other has it, too")
    assert await totals(kello) == {command.counter_id: 3}


async def test_a_new_database_reads_from_the_beginning_even_if_kafka_says_otherwise(kello: Kello) -> None:
    """Kafka keeps the old group's offsets: only PostgreSQL decides."""
    commands = [add(amount=n) for n in range(1, 6)]
    await kello.publish(*commands)
    async with kello.running_service(probe.service()):
        await kello.settled()
    await kello.rows("probe", "TRUNCATE counter, entry, messaging.inbox, messaging.consumer_offset")
    async with kello.running_service(probe.service()):
        await kello.settled(within=15)
        assert await totals(kello) == {each.counter_id: each.amount for each in commands}


async def test_the_inbox_turns_and_knows_the_previous_table(kello: Kello) -> None:
    pool = await connect_pool((await kello.database("probe")).url, application="tests")

    async def known(*ids: str) -> set[str]:
        """Those of the ids that the inbox knows; all are known afterwards."""
        async with pool.acquire() as tx, tx.transaction():
            new = await inbox.remember(tx, "probe", {Identity("tests", each): 7 for each in ids})
            assert await inbox.hashes_of(tx, "probe", [Identity("tests", each) for each in ids]) == {
                Identity("tests", each): 7 for each in ids
            }
        return set(ids) - {each.id for each in new}

    async with pool:
        assert await known("a", "b") == set()
        assert not await inbox.turn_over(pool, 1e9)
        assert await inbox.turn_over(pool, 1e-6)
        assert await known("a", "c") == {"a"}
        assert await inbox.turn_over(pool, 1e-6)
        assert await known("c") == {"c"}
        assert await known("b") == set()


async def test_operators_find_an_event_in_the_inbox_by_its_source_and_id(kello: Kello) -> None:
    pool = await connect_pool((await kello.database("probe")).url, application="tests")
    async with pool, pool.acquire() as tx, tx.transaction():
        await inbox.remember(tx, "probe", {Identity("a shop", "42 \u20ac"): 7})
        found = "SELECT value_hash FROM messaging.inbox WHERE digest = messaging.inbox_digest('probe', $1, $2)"
        assert await tx.fetchval(found, "a shop", "42 \u20ac") == 7
        assert await tx.fetchval(found, "a shop", "43 \u20ac") is None


async def test_duplicates_are_known_while_the_inbox_turns(kello: Kello) -> None:
    counters = {uuid4(): 20 for _ in range(30)}
    async with kello.running_service(probe.service()):
        pool = await connect_pool((await kello.database("probe")).url, application="tests")
        async with pool:
            for n in range(20):
                commands = [add(counter) for counter in counters]
                ids = await kello.publish(*commands)
                if n % 7 == 3:
                    await inbox.turn_over(pool, 1e-6)
                for command, event_id in zip(commands, ids, strict=True):
                    await kello.publish(command, id=event_id)
            await kello.settled()
    assert not await kello.dead_letters("probe")
    await assert_told_exactly_once(kello, counters)
    assert len(await kello.events(Added)) == 600


async def test_the_inbox_is_never_read_whole_whatever_the_planner_knows_of_it(kello: Kello) -> None:
    """Both tables full, and statistics fresh: a batch looks its own identities up."""
    database = await kello.database("probe")
    await kello.rows(
        "probe",
        """
        INSERT INTO messaging.inbox (turn, digest, value_hash)
        SELECT n % 2, messaging.inbox_digest('probe', 'tests', 'old-' || n), 7 FROM generate_series(1, 200000) AS n
        """,
    )
    await kello.rows("probe", "ANALYZE messaging.inbox_0, messaging.inbox_1")

    async def reads(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        return int(
            await connection.fetchval(
                """
                SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('inbox_0', 'inbox_1'))
                    + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname IN ('inbox_0', 'inbox_1'))
                """
            )
        )

    connection = await asyncpg.connect(database.url)
    try:
        before = await reads(connection)
        for n in range(1, 9):
            names = [f"{age}-{n}{digit}" for age in ("old", "new") for digit in range(10)]
            new = await inbox.remember(connection, "probe", {Identity("tests", name): 7 for name in names})
            assert {each.id for each in new} == set(names[10:])
        assert await reads(connection) - before < 1000  # 8 x 20 identities, each looked up
    finally:
        await connection.close()
