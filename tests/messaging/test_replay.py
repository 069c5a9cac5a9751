"""Dead letters replayed on the service's database: rehearsed, once, and as whatever they died of asks for."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import orjson
import pytest

from shared.harness.kello import Kello
from shared.messaging import dead_letter_store
from shared.messaging.database import connect_pool
from shared.messaging.dead_letter_store import Edit
from shared.messaging.dead_letters import Letter, edited, read_back
from shared.messaging.decision import Task
from shared.messaging.offsets import Partition
from shared.messaging.replay import Answered, Ended, HandledSince, NotReplayed, Replayable, Replayer, StillDead
from shared.schemas import versions
from shared.schemas.base import Event, Id, Payload
from shared.schemas.versions import upcaster
from tests.messaging import probe
from tests.messaging.probe import Added, CommandAccepted, CommandRejected, Noted
from tests.messaging.sending import add, headers_of, totals


@asynccontextmanager
async def replaying(kello: Kello) -> AsyncIterator[Replayer]:
    async with await connect_pool((await kello.database("probe")).owner_url, application="tests") as pool:
        yield Replayer(probe.service(), pool, "an operator")


async def letters(kello: Kello, count: int) -> dict[str, Letter]:
    """The letters by their key, read back."""
    found = [read_back(record) for record in await kello.dead_letters("probe", count)]
    return {each.key: each for each in found if each is not None}


def with_fields(letter: Letter, **fields: object) -> Replayable:
    """The letter after an edit of its payload."""
    value = orjson.dumps({**orjson.loads(letter.record.value or b""), **fields})
    record = edited(letter.record, letter.record.key, value, letter.record.headers)
    edit = Edit(letter.id, 1, "an operator", letter.written_at, "", record.key, record.value, record.headers)
    return Replayable(letter, edit)


async def test_a_letter_is_read_back_as_it_came(kello: Kello) -> None:
    note = Noted(counter_id=uuid4(), note_id=uuid4(), amount=13, version=1)
    (note_id,) = await kello.publish(note)
    (sent,) = await kello.records("noted.events")
    async with kello.running_service(probe.service()):
        letter = (await letters(kello, 1))[str(note.counter_id)]
    assert (letter.record.key, letter.record.value) == (sent.key, sent.value)
    assert list(letter.record.headers) == list(sent.headers)
    assert letter.place == Partition("noted.events", sent.partition)
    assert (letter.record.offset, letter.record.timestamp) == (sent.offset, sent.timestamp)
    assert (letter.fault.kind, letter.fault.code, letter.group) == ("refused", "unlucky", "probe")
    assert (letter.type, letter.event_id) == (Noted.ce_type, note_id)
    assert read_back(sent) is None


async def test_a_rehearsal_tells_what_would_come_and_a_replay_does_it_once(kello: Kello) -> None:
    bug = add(amount=666, pay=True)
    key = str(bug.counter_id)
    async with kello.running_service(probe.service()), replaying(kello) as replayer:
        (command_id,) = await kello.publish(bug)
        subject = with_fields((await letters(kello, 1))[key], amount=7)
        rehearsed = await replayer.rehearse(subject)
        assert [(before, type(row).__name__) for before, row in rehearsed.changes] == [
            (None, "Counter"),
            (None, "Entry"),
        ]
        assert [record.topic for record in rehearsed.records] == ["probe.events"]
        assert [task.kind for task in rehearsed.tasks if isinstance(task, Task)] == ["pay"]
        assert await totals(kello) == {}
        assert await kello.rows("probe", "SELECT FROM messaging.dead_letter_end") == []

        async with replaying(kello) as colleague:
            first, second = await asyncio.gather(
                replayer.replay(subject), colleague.replay(subject), return_exceptions=True
            )
        assert sorted(isinstance(each, Ended) for each in (first, second)) == [False, True], (first, second)
        added = await kello.expect(Added, counter_id=bug.counter_id)
        await kello.settled()
        assert (added.total, added.version) == (7, 1)
        assert await totals(kello) == {bug.counter_id: 7}
        with pytest.raises(Ended, match="replayed by an operator"):
            await replayer.rehearse(subject)
        # What the letter said is known now, whoever says it again.
        await kello.publish(bug.model_copy(update={"amount": 7}), id=command_id)
        await kello.settled()
        assert await totals(kello) == {bug.counter_id: 7}
        (end,) = await kello.rows("probe", "SELECT * FROM messaging.dead_letter_end")
        assert (end["outcome"], end["ended_by"], end["edit_number"]) == ("replayed", "an operator", 1)


async def test_what_is_still_dead_stays_dead_and_can_be_replayed_later(kello: Kello) -> None:
    refused = Noted(counter_id=uuid4(), note_id=uuid4(), amount=13, version=1)
    bug, odd = add(amount=666), add(text="forbidden")
    await kello.publish(refused, bug, odd)
    async with kello.running_service(probe.service()), replaying(kello) as replayer:
        found = await letters(kello, 3)
        for message, kind in ((refused, "refused"), (bug, "bug"), (odd, "poison")):
            with pytest.raises(StillDead) as stays:
                await replayer.replay(Replayable(found[message.kafka_key]), although_answered=True)
            assert stays.value.fault.kind == kind
        with pytest.raises(StillDead, match="breaks-contract"):
            await replayer.replay(with_fields(found[refused.kafka_key], amount="many"))
        assert await kello.rows("probe", "SELECT FROM messaging.dead_letter_end") == []
        await replayer.replay(with_fields(found[refused.kafka_key], amount=3))
        await kello.settled()
    assert await totals(kello) == {refused.counter_id: 3}


async def test_a_command_that_was_answered_is_replayed_only_where_that_is_said(kello: Kello) -> None:
    poison = add(text="forbidden")
    async with kello.running_service(probe.service()), replaying(kello) as replayer:
        await kello.publish(poison)
        await kello.expect(CommandRejected, key=poison.kafka_key)
        subject = with_fields((await letters(kello, 1))[poison.kafka_key], text="allowed", amount=0)
        with pytest.raises(Answered):
            await replayer.replay(subject)
        await replayer.replay(subject, although_answered=True)
        await kello.expect(CommandAccepted, key=poison.kafka_key)


async def test_an_event_that_was_published_again_since_is_not_replayed(kello: Kello) -> None:
    refused = Noted(counter_id=uuid4(), note_id=uuid4(), amount=13, version=1)
    async with kello.running_service(probe.service()), replaying(kello) as replayer:
        (event_id,) = await kello.publish(refused)
        letter = (await letters(kello, 1))[refused.kafka_key]
        await kello.publish(refused.model_copy(update={"amount": 4}), id=event_id)
        await kello.expect(Added, counter_id=refused.counter_id)
        with pytest.raises(HandledSince):
            await replayer.replay(with_fields(letter, amount=4))
        with pytest.raises(StillDead, match="id-taken"):
            await replayer.replay(with_fields(letter, amount=5))
    assert await totals(kello) == {refused.counter_id: 4}


async def test_a_dropped_command_is_answered_and_never_replayed(kello: Kello) -> None:
    bug, note = add(amount=666), Noted(counter_id=uuid4(), note_id=uuid4(), amount=13, version=1)
    async with kello.running_service(probe.service()), replaying(kello) as replayer:
        (command_id, _) = await kello.publish(bug, note)
        found = await letters(kello, 2)
        assert await replayer.drop(found[bug.kafka_key], "a test")
        assert not await replayer.drop(found[note.kafka_key], "a test"), "nobody waits for an answer to an event"
        rejected = await kello.expect(CommandRejected, key=bug.kafka_key)
        assert (rejected.command_id, rejected.code) == (command_id, "dropped")
        for letter in found.values():
            with pytest.raises(Ended, match="dropped"):
                await replayer.replay(Replayable(letter))
            with pytest.raises(Ended, match="dropped"):
                await replayer.drop(letter, "again")


@pytest.fixture
def contracts() -> Iterator[None]:
    """Contracts and upcasters that a test declares are gone with it."""
    before, upcasters = dict(Payload.contracts), dict(versions.upcasters)
    yield
    Payload.contracts.clear()
    Payload.contracts.update(before)
    versions.upcasters.clear()
    versions.upcasters.update(upcasters)


@pytest.mark.usefixtures("contracts")
async def test_a_letter_of_an_old_version_is_replayed_through_the_upcaster_that_came_since(kello: Kello) -> None:
    counter, note = uuid4(), uuid4()
    value = orjson.dumps({"counter_id": str(counter), "note_id": str(note), "tens": 2, "version": 1})
    record = headers_of(
        Noted(counter_id=counter, note_id=note, amount=0, version=1), ce_type="kello.probe.noted-in-tens.v1"
    )
    await kello.publish_raw("noted.events", str(counter).encode(), value, record)
    async with kello.running_service(probe.service()), replaying(kello) as replayer:
        letter = (await letters(kello, 1))[str(counter)]
        assert letter.fault.code == "unknown-type"
        with pytest.raises(NotReplayed, match="unknown-type"):
            await replayer.rehearse(Replayable(letter))
        _declare_an_older_version()
        effect = await replayer.replay(Replayable(letter))
        assert effect.message is not None
        assert effect.message.type == Noted.ce_type
        await kello.expect(Added, counter_id=counter, total=20)


def _declare_an_older_version() -> None:
    class NotedInTens(
        Event,
        type="kello.probe.noted-in-tens.v1",
        topic="noted.events",
        key="counter_id",
        subject="note/{note_id}",
    ):
        counter_id: Id
        note_id: Id
        tens: int

    def in_ones(old: NotedInTens) -> Noted:
        return Noted(counter_id=old.counter_id, note_id=old.note_id, amount=10 * old.tens, version=old.version)

    upcaster(NotedInTens, Noted)(in_ones)


async def test_edits_are_numbered_and_forgotten_with_the_letters(kello: Kello) -> None:
    refused = Noted(counter_id=UUID(int=7), note_id=uuid4(), amount=13, version=1)
    await kello.publish(refused)
    async with kello.running_service(probe.service()):
        letter = (await letters(kello, 1))[refused.kafka_key]
    async with await connect_pool((await kello.database("probe")).url, application="tests") as pool:
        async with pool.acquire() as tx:
            assert [await dead_letter_store.edit(tx, letter.id, letter.record, by) for by in ("a", "b")] == [1, 2]
            first, second = (await dead_letter_store.edits_of(tx, [letter.id]))[letter.id]
        assert (first.by, second.by, second.value) == ("a", "b", letter.record.value)
        assert list(second.headers or ()) == list(letter.record.headers)
        await pool.execute("UPDATE messaging.dead_letter_edit SET edited_at = edited_at - interval '31 days'")
        await dead_letter_store.forget_old_edits(pool)
        async with pool.acquire() as tx:
            forgotten = (await dead_letter_store.edits_of(tx, [letter.id]))[letter.id]
    assert [(each.by, each.sha256, each.value) for each in forgotten] == [
        ("a", first.sha256, None),
        ("b", first.sha256, None),
    ]
