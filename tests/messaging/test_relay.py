"""The outbox and its relay: in order for each key, once by id, whatever dies; nothing blocks another's way."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import ormsgpack
import pytest

from shared.harness.kello import Kello
from shared.messaging import outbox
from shared.messaging.adoption import DatabaseBehindKafka
from shared.messaging.database import connect
from shared.messaging.outbox import Record
from tests.messaging import probe
from tests.messaging.probe import Added
from tests.messaging.sending import add, assert_told_exactly_once, header

MIB = 1024 * 1024
SESSIONS_TO_CUT = 6
LOST_ROWS = 30_000
"""Whoever looked for their topic anew for each round of a thousand would be at it for longer than a test waits."""


async def insert(kello: Kello, topic: str, key: str, value: bytes = b"{}", count: int = 1) -> list[int]:
    """Rows of the outbox that no decision wrote; returns their ids."""
    headers = [("ce_id", b"1"), ("ce_source", b"kello/probe"), ("ce_type", b"t")]
    rows = await kello.rows(
        "probe",
        """
        INSERT INTO messaging.outbox (topic, key, records)
        SELECT $1, $2, $3 FROM generate_series(1, $4) RETURNING id
        """,
        topic,
        key.encode(),
        ormsgpack.packb([(value, headers)]),
        count,
    )
    return [row["id"] for row in rows]


async def keys_published(kello: Kello) -> list[bytes | None]:
    return [record.key for record in await kello.records("probe.events")]


async def test_two_processes_publish_in_order_while_their_relays_lose_their_sessions(kello: Kello) -> None:
    counters = [uuid4() for _ in range(12)]
    cut = rounds = 0
    async with kello.running_service(probe.service()), kello.running_service(probe.service()):
        while cut < SESSIONS_TO_CUT:
            rounds += 1
            await kello.publish(*(add(counter) for counter in counters for _ in range(5)))
            rows = await kello.rows(
                "probe",
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'probe relay' AND datname = current_database()
                """,
            )
            cut += len(rows)
            await asyncio.sleep(0.2)
        await kello.settled()
    await assert_told_exactly_once(kello, dict.fromkeys(counters, 5 * rounds))


async def test_a_second_process_may_start_while_the_first_one_publishes(kello: Kello) -> None:
    """What the first publishes meanwhile is no sign of a database that came back from a backup."""
    counters = [uuid4() for _ in range(20)]
    async with kello.running_service(probe.service()):

        async def load() -> None:
            while True:
                await kello.publish(*(add(counter) for counter in counters))

        loading = asyncio.create_task(load())
        for _ in range(4):
            async with kello.running_service(probe.service(), roles=("api",)):
                pass
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        await kello.settled()


async def test_a_row_that_kafka_never_takes_blocks_its_key_alone(kello: Kello) -> None:
    async with kello.running_service(probe.service()):
        (never,) = await insert(kello, "probe.events", "stuck", b"x" * 4 * MIB)
        await insert(kello, "probe.events", "stuck")
        await insert(kello, "probe.events", "free", b"x" * (MIB - 1), count=3)
        await kello.until(lambda: published(kello, "free", 3), "the other key goes on")
        await kello.until(lambda: kello.rows("probe", "SELECT FROM messaging.outbox_blocked"), "the row is blocked")
        await insert(kello, "probe.events", "free")
        await kello.until(lambda: published(kello, "free", 4), "and on")
        assert b"stuck" not in await keys_published(kello)
        await kello.rows("probe", "DELETE FROM messaging.outbox WHERE id = $1", never)
        await kello.until(lambda: published(kello, "stuck", 1), "the key goes on without the row")


async def test_a_missing_topic_blocks_its_own_rows_alone(kello: Kello) -> None:
    async with kello.running_service(probe.service(), drain_timeout_seconds=0.1):
        await insert(kello, "nowhere.events", "lost", count=LOST_ROWS)
        for n in range(3):
            await insert(kello, "probe.events", "free")
            await kello.until(partial(published, kello, "free", n + 1), "the other topic goes on")
        await kello.until(partial(are_left, kello, LOST_ROWS), "what was published is gone, and the other rows wait")
    assert await are_left(kello, LOST_ROWS)


async def are_left(kello: Kello, count: int) -> bool:
    (left,) = await kello.rows("probe", "SELECT count(*) AS n FROM messaging.outbox")
    return bool(left["n"] == count)


async def test_what_is_large_together_is_published_in_its_order(kello: Kello) -> None:
    """Whatever is large of it: values, headers, or the key that each record bears."""
    headers: list[tuple[str, bytes | None]] = [("ce_id", b"1"), ("ce_source", b"kello/probe"), ("ce_type", b"t")]
    large: dict[str, list[tuple[str, bytes, list[tuple[str, bytes | None]]]]] = {
        "value": [("k", b"%d" % n * 60_000, headers) for n in range(9)],
        "header": [("h", b"%d" % n, [*headers, ("x", b"x" * 60_000)]) for n in range(9)],
        "key": [("k" * 150_000, b"%d" % n, headers) for n in range(9)],
        "small": [("s", b"%d" % n, headers) for n in range(9)],
        "single": [("K" * 500_000, b"%d" % n, headers) for n in range(3)],
    }
    records = [
        Record("1", "probe.events", key.encode(), value, some_headers)
        for some in large.values()
        for key, value, some_headers in some
    ]
    connection = await asyncpg.connect((await kello.database("probe")).admin_url)
    try:
        await outbox.append(connection, records)
    finally:
        await connection.close()
    async with kello.running_service(probe.service()):
        await kello.until(lambda: is_published(kello, len(records)), "everything is published")
    came = await kello.records("probe.events")
    for key in {record.key for record in records}:
        assert [each.value for each in came if each.key == key] == [each.value for each in records if each.key == key]


async def is_published(kello: Kello, count: int) -> bool:
    return len(await keys_published(kello)) == count


async def published(kello: Kello, key: str, count: int) -> bool:
    return (await keys_published(kello)).count(key.encode()) == count


async def publish_row(kello: Kello, row_id: int) -> None:
    """As a relay does that dies before it can delete the row."""
    sequence = ("kello_sequence", str(row_id).encode())
    await kello.publish_raw("probe.events", b"k", b"{}", [("ce_id", b"1"), ("ce_source", b"kello/probe"), sequence])


async def test_a_row_that_is_on_kafka_already_is_not_published_again(kello: Kello) -> None:
    sent, waiting = await insert(kello, "probe.events", "k", count=2)
    await publish_row(kello, sent)
    await publish_row(kello, sent)
    async with kello.running_service(probe.service()):
        await kello.settled()
    sequences = [header(record, "kello_sequence") for record in await kello.records("probe.events")]
    assert sequences == [str(sent), str(sent), str(waiting)]


async def test_a_database_from_a_backup_stops_the_service(kello: Kello) -> None:
    command = add()
    async with kello.running_service(probe.service()):
        await kello.publish(command)
        await kello.settled()
    await publish_row(kello, 1_000_000)
    with pytest.raises(DatabaseBehindKafka, match="come back from a backup"):
        async with kello.running_service(probe.service()):
            pass


async def test_the_order_of_a_key_is_the_order_of_its_commits(kello: Kello) -> None:
    """Two processes that take turns on one key by its two topics."""
    counter = uuid4()
    async with kello.running_service(probe.service()), kello.running_service(probe.service()):
        for _ in range(40):
            note: Any = probe.Noted(counter_id=counter, note_id=UUID(int=uuid4().int), amount=1, version=1)
            await kello.publish(add(counter), note, add(counter))
        await kello.settled()
    totals = [each.total for each in await kello.events(Added)]
    assert totals == list(range(1, 121))


@pytest.mark.parametrize(("waits_for_disk", "found"), [(True, "local"), (False, "off")])
async def test_how_durable_commits_are_is_the_operators_word_but_for_the_relays_own_session(
    kello: Kello, *, waits_for_disk: bool, found: str
) -> None:
    database = await kello.database("probe")
    await kello.rows("probe", f"ALTER DATABASE \"{database.name}\" SET synchronous_commit = 'local'")
    session = await connect(database.url, application="tests", waits_for_disk=waits_for_disk)
    try:
        assert await session.fetchval("SHOW synchronous_commit") == found
    finally:
        await session.close()
