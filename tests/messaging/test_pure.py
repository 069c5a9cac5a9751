"""The small functions that everything rests on: derived ids, where a key goes, how batches are cut, the wait."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from shared.messaging.decision import Ids
from shared.messaging.offsets import Advance, Partition
from shared.messaging.received import Batch, Received
from shared.messaging.tasks import TaskKind
from shared.messaging.topics import partition_of

moments = st.datetimes(datetime(1970, 1, 2), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
texts = st.text(min_size=1, max_size=20)


# Ids


@given(texts, texts, texts, moments)
def test_the_same_cause_gives_the_same_ids_and_all_are_of_version_7(
    group: str, source: str, cause: str, time: datetime
) -> None:
    first, again = Ids(group, source, cause, time), Ids(group, source, cause, time)
    ids = [first.next() for _ in range(20)]
    assert ids == [again.next() for _ in range(20)]
    assert len(set(ids)) == 20
    assert all(each.version == 7 and each.variant == "specified in RFC 4122" for each in ids)
    assert all(each.int >> 80 == int(time.timestamp() * 1000) for each in ids)


@given(moments, st.integers(1, 10**9))
def test_ids_of_a_later_cause_are_greater(time: datetime, later_milliseconds: int) -> None:
    earlier = Ids("g", "s", "a", time)
    later = Ids("g", "s", "b", time + timedelta(milliseconds=later_milliseconds))
    assert max(earlier.next() for _ in range(5)) < min(later.next() for _ in range(5))


def test_another_group_source_or_cause_gives_other_ids() -> None:
    time = datetime.now(UTC)
    causes = [("g", "s", "a"), ("h", "s", "a"), ("g", "t", "a"), ("g", "s", "b")]
    assert len({Ids(*cause, time).next() for cause in causes}) == len(causes)


# Where a key goes


@pytest.mark.parametrize(
    ("key", "hash_of_java"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
@pytest.mark.parametrize("count", [1, 3, 12, 100])
def test_a_key_goes_where_a_java_client_puts_it(key: bytes, hash_of_java: int, count: int) -> None:
    """Vectors of org.apache.kafka.common.utils.UtilsTest.testMurmur2."""
    assert partition_of(key, 7, count) == (hash_of_java & 0x7FFFFFFF) % count


def test_rows_without_a_key_are_spread() -> None:
    assert {partition_of(None, row_id, 3) for row_id in range(9)} == {0, 1, 2}


# Batches


def received(places: list[tuple[int, int]]) -> Batch:
    """A batch of records at (partition, offset), read a little further than its last message."""
    offsets: dict[int, int] = {}
    each = []
    for partition, step in sorted(places):
        offsets[partition] = offsets.get(partition, 0) + step
        record: Any = SimpleNamespace(offset=offsets[partition], timestamp=1000 + offsets[partition])
        each.append(Received(Partition("t", partition), record))
    owner = uuid4()
    advances = {Partition("t", p): Advance(owner, last + 3, 2000 + last) for p, last in offsets.items()}
    return Batch(each, advances)


places = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), min_size=2, max_size=20)


@given(places)
def test_two_halves_are_the_whole_and_the_first_reaches_no_further_than_its_records(
    places: list[tuple[int, int]],
) -> None:
    batch = received(places)
    first, second = batch.halves()
    assert [*first.received, *second.received] == list(batch.received)
    assert len(first) >= 1
    assert len(second) >= 1
    assert second.advances == batch.advances
    for partition, reached in first.advances.items():
        last = [each for each in first.received if each.partition == partition][-1]
        assert (reached.next_offset, reached.last_timestamp) == (last.record.offset + 1, last.record.timestamp)
        assert reached.owner == batch.advances[partition].owner


@given(places, st.data())
def test_a_batch_until_an_offset_leaves_other_partitions_whole(
    places: list[tuple[int, int]], data: st.DataObject
) -> None:
    batch = received(places)
    last = data.draw(st.sampled_from(list(batch.received)))
    cut = batch.until(last.partition, last.record.offset, last.record.timestamp)
    assert [each for each in cut.received if each.partition != last.partition] == [
        each for each in batch.received if each.partition != last.partition
    ]
    assert [each for each in cut.received if each.partition == last.partition][-1] is last
    assert cut.advances[last.partition].next_offset == last.record.offset + 1
    assert {p: a for p, a in cut.advances.items() if p != last.partition} == {
        p: a for p, a in batch.advances.items() if p != last.partition
    }


# Waiting


@given(st.integers(1, 10_000))
def test_the_wait_after_a_try_doubles_up_to_its_bound(attempt: int) -> None:
    kind: TaskKind[Any] = TaskKind("k", BaseModel, backoff_seconds=0.5, backoff_max_seconds=60)
    ceiling = min(60, 0.5 * 2 ** min(attempt - 1, 30))
    assert ceiling / 2 <= kind.backoff(attempt) <= ceiling


def test_a_lease_shorter_than_two_calls_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="twice"):
        TaskKind("k", BaseModel, call_timeout_seconds=10, lease_seconds=19)
