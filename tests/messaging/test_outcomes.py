"""Four outcomes: refused, poison, bug, and what must wait. And what a batch costs."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from shared.harness.kello import Kello
from tests.messaging import probe
from tests.messaging.probe import Added, CommandAccepted, CommandRejected, Noted, Profile
from tests.messaging.sending import add, header, totals


async def test_every_command_is_answered_under_its_key_with_its_id_as_causation(
    kello: Kello, capfd: pytest.CaptureFixture[str]
) -> None:
    grown, refused, idle = add(), add(amount=13), add(amount=0)
    async with kello.running_service(probe.service()):
        ids = await kello.publish(grown, refused, idle)
        await kello.expect(Added, counter_id=grown.counter_id)
        rejected = await kello.expect(CommandRejected, key=str(refused.counter_id))
        accepted = await kello.expect(CommandAccepted, key=str(idle.counter_id))
        await kello.settled()
    answers = {header(each, "ce_causationid"): each for each in await kello.records("probe.events")}
    assert set(answers) == set(ids)
    assert [answers[command].key for command in ids] == [each.kafka_key.encode() for each in (grown, refused, idle)]
    assert (rejected.code, rejected.command_id) == ("unlucky", ids[1])
    assert (accepted.command_id, accepted.command_type) == (ids[2], idle.ce_type)
    assert not await kello.dead_letters("probe")
    assert await totals(kello) == {grown.counter_id: 1}


async def test_a_refused_event_and_a_bug_are_dead_letters_and_their_neighbours_are_not(
    kello: Kello, capfd: pytest.CaptureFixture[str]
) -> None:
    counter, note = uuid4(), uuid4()
    refused = Noted(counter_id=counter, note_id=note, amount=13, version=1)
    (refused_id,) = await kello.publish(refused)
    await kello.publish(Noted(counter_id=counter, note_id=uuid4(), amount=5, version=1))
    await kello.publish(add(counter, 1), add(counter, 666), add(counter, 2))
    async with kello.running_service(probe.service()):
        letters = await kello.dead_letters("probe", 2)
        await kello.expect(Added, counter_id=counter, total=8)
        assert {(header(each, "kello_dead_kind"), header(each, "kello_dead_code")) for each in letters} == {
            ("refused", "unlucky"),
            ("bug", "ZeroDivisionError"),
        }
        bug = next(each for each in letters if header(each, "kello_dead_kind") == "bug")
        assert "kello.probe.add.v1" in header(bug, "kello_dead_reason")
        assert "example.org" not in header(bug, "kello_dead_reason")
        await kello.publish(refused.model_copy(update={"amount": 4}), id=refused_id)  # mended, under the same id
        await kello.expect(Added, counter_id=counter, total=12)
        await kello.settled()
        assert len(await kello.dead_letters("probe")) == 2
    said = capfd.readouterr().out
    assert "batch_is_halved" not in said
    assert "batch_waits" not in said


async def test_a_mended_event_in_the_same_batch_has_its_effect(kello: Kello) -> None:
    """As it has when it comes later: a new group reads both at once."""
    refused = Noted(counter_id=uuid4(), note_id=uuid4(), amount=13, version=1)
    (event_id,) = await kello.publish(refused)
    await kello.publish(refused.model_copy(update={"amount": 4}), id=event_id)
    async with kello.running_service(probe.service()):
        await kello.expect(Added, counter_id=refused.counter_id, total=4)
        await kello.settled()
        (letter,) = await kello.dead_letters("probe", 1)
        assert header(letter, "kello_dead_kind") == "refused"


async def test_of_a_projection_the_highest_version_stays(kello: Kello) -> None:
    counter = uuid4()
    async with kello.running_service(probe.service()):
        for batch in ([2, 1, 4], [3], [6, 5]):
            for version in batch:
                await kello.publish(Profile(counter_id=counter, total=10 * version, version=version))
            await kello.settled()
            (row,) = await kello.rows("probe", "SELECT total, version FROM copy WHERE counter_id = $1", counter)
            assert row["total"] == 10 * row["version"]
        assert row["version"] == 6
        assert not await kello.dead_letters("probe")


async def test_the_business_clock_moves_the_time_of_events(kello: Kello) -> None:
    command = add()
    async with kello.running_service(probe.service()):
        (now,) = await kello.rows("probe", "SELECT messaging.kello_now() AS now")
        await kello.clock.move("probe", days=400)
        await kello.publish(command)
        await kello.expect(Added, counter_id=command.counter_id)
    (record,) = await kello.records("probe.events")
    assert header(record, "ce_time")[:10] == (now["now"] + timedelta(days=400)).date().isoformat()


@pytest.mark.parametrize("count", [1, 500])
async def test_a_batch_costs_the_same_number_of_statements_whatever_its_size(kello: Kello, count: int) -> None:
    counters = [uuid4() for _ in range(max(1, count // 5))]
    commands = [add(counters[n % len(counters)]) for n in range(count)]
    await kello.publish(*commands)
    statements: list[str] = []

    async def count_statements(connection: Any) -> None:
        connection.add_query_logger(lambda query: statements.append(query.query))

    with pytest.MonkeyPatch.context() as patch:
        create_pool = asyncpg.create_pool
        patch.setattr(asyncpg, "create_pool", lambda *a, **k: create_pool(*a, **k, init=count_statements))
        async with kello.running_service(probe.service(), batch_records_max=1000):
            await kello.settled()
    batches = sum("old.next_offset" in query for query in statements)
    assert 1 <= batches <= 3  # one for each partition at most
    of_batches = [query for query in statements if any(table in query for table in ("inbox ", "counter", "entry"))]
    assert len(of_batches) <= batches * 5
