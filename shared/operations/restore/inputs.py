"""What a service had taken in since its backup, read again: each record waits here until it is decided once more."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from hashlib import blake2b
from typing import Any

from shared.messaging.dead_letters import Fault, Letter, Raw
from shared.messaging.handlers import Handlers
from shared.messaging.inbox import Identity
from shared.messaging.intake import AHEAD_MAX, FROM_THE_FUTURE, ID_TAKEN
from shared.messaging.offsets import Partition
from shared.messaging.received import Reader, Received
from shared.messaging.tasks import CAUSE_CHARACTERS_MAX
from shared.schemas.envelope import moment_of


def token_of(source: str, cause_id: str) -> str:
    """A cause as the message id of a task's outcome names it."""
    if len(cause_id) <= CAUSE_CHARACTERS_MAX:
        return cause_id
    return blake2b(f"{source}\0{cause_id}".encode(), digest_size=16).hexdigest()


def came_at(received: Received) -> datetime:
    """When Kafka had it."""
    return moment_of(received.record.timestamp)


class Inputs:
    """The records of each partition from where the backup stood. Those that became dead letters never wait."""

    def __init__(self, handlers: Handlers[Any], letters: Collection[tuple[Partition, int]]) -> None:
        self._reader = Reader(handlers)
        self._letters = letters
        self._all: dict[Partition, list[Received]] = defaultdict(list)
        self._by_key: dict[str, list[Received]] = defaultdict(list)
        self._by_id: dict[str, list[Received]] = defaultdict(list)
        self._by_token: dict[str, Received] = {}
        self._dead: dict[Partition, list[int]] = defaultdict(list)
        self._stands: dict[Partition, list[tuple[int, int]]] = defaultdict(list)
        self._first: dict[Identity, Received] = {}
        self._replayed: dict[int, str] = {}
        self._kept: list[Received] = []
        self._gone: set[int] = set()
        self._taken: list[int] = []
        self._loud: set[int] = set()

    def add(self, partition: Partition, records: Iterable[Raw]) -> None:
        """Records in the order of their offsets. A second publication is passed over, as the inbox would."""
        for record in records:
            self._stands[partition].append((record.offset, record.timestamp))
            if (partition, record.offset) in self._letters:
                self._dead[partition].append(record.offset)
                continue
            received = self._reader.read(partition, record)
            if received is not None:
                self._all[partition].append(received)
                self._note(received)

    def add_letter(self, letter: Letter) -> None:
        """A dead letter that was replayed: its record is decided where something was published of it."""
        received = self._reader.read(letter.place, letter.record)
        if received is not None and received.message is not None:
            self._by_id[received.message.id].append(received)
            self._replayed[id(received)] = letter.id
            self._kept.append(received)

    def replayed_letter(self, received: Received) -> str | None:
        """The id of the letter that a record was, if it was one."""
        return self._replayed.get(id(received))

    def _note(self, received: Received) -> None:
        if received.message is None:
            return
        if received.message.time > came_at(received) + AHEAD_MAX:
            _is_dead(received, FROM_THE_FUTURE)
        elif received.identity not in self._first:
            self._first[received.identity] = received
            self._by_key[received.message.key].append(received)
            self._by_id[received.message.id].append(received)
            self._by_token.setdefault(token_of(received.message.source, received.message.id), received)
        elif self._first[received.identity].value_hash != received.value_hash:
            _is_dead(received, ID_TAKEN)
        else:
            self._gone.add(id(received))

    @property
    def identities(self) -> Collection[Identity]:
        return self._first.keys()

    @property
    def ids(self) -> Collection[str]:
        return self._by_id.keys()

    def forget(self, known: Mapping[Identity, int]) -> None:
        """What the backup's inbox knew already, with these hashes, was a second publication."""
        for received in self._everything():
            if received.message is None or received.identity not in known:
                continue
            if known[received.identity] == received.value_hash:
                self._gone.add(id(received))
            else:
                self._by_key[received.message.key].remove(received)
                self._by_id[received.message.id].remove(received)
                _is_dead(received, ID_TAKEN)

    def mark_loud(self, cause_ids: Collection[str]) -> None:
        """What something was published of is decided in its place, and by nothing else."""
        self._loud = {id(each) for cause_id in cause_ids for each in self._by_id.get(cause_id, ())}

    def of_cause(self, cause_id: str) -> Received | None:
        """The record of that id that still waits, if any."""
        return next((each for each in self._by_id.get(cause_id, ()) if self._waits(each)), None)

    def of_token(self, token: str) -> Received | None:
        received = self._by_token.get(token)
        return received if received is not None and self._waits(received) else None

    def with_those_before(self, wanted: Iterable[Received]) -> list[Received]:
        """The records, and what waits before them under their keys in their partitions; by the time of their coming."""
        chosen = {id(each): each for each in wanted if self._waits(each)}
        for each in list(chosen.values()):
            for other in self._under(each):
                if other.record.offset < each.record.offset and self._is_silent(other):
                    chosen[id(other)] = other
        return sorted(chosen.values(), key=_order)

    def before(self, received: Received) -> list[Received]:
        """What waits before a record under its key in its partition, and was published nothing of."""
        return [
            other
            for other in self._under(received)
            if other.record.offset < received.record.offset and self._is_silent(other)
        ]

    def silent(
        self, until: datetime, keys: Collection[str] | None = None, apart_from: Iterable[Received] = ()
    ) -> list[Received]:
        """What waits, came until then, and was published nothing of: under these keys, or any. The oldest first.

        Without some records, and without what cannot come before them.
        """
        left_out = {id(each) for record in apart_from for each in (record, *self._after(record))}
        lists = (self._by_key.get(key, ()) for key in keys) if keys is not None else self._by_key.values()
        return sorted(
            (
                each
                for some in lists
                for each in some
                if self._is_silent(each) and came_at(each) <= until and id(each) not in left_out
            ),
            key=_order,
        )

    def left(self, bounds: Mapping[Partition, int]) -> list[Received]:
        """What waits below these offsets, unreadable records among them; by the time of their coming."""
        return sorted(
            (
                each
                for partition, received in self._all.items()
                for each in received
                if each.record.offset < bounds.get(partition, 0) and self._waits(each)
            ),
            key=_order,
        )

    def take(self, received: Iterable[Received]) -> None:
        """They are decided."""
        ids = [id(each) for each in received]
        self._gone.update(ids)
        self._taken += ids

    @contextmanager
    def trying(self) -> Iterator[None]:
        """What is taken within the block waits again should the block fail."""
        before = len(self._taken)
        try:
            yield
        except BaseException:
            self._gone.difference_update(self._taken[before:])
            del self._taken[before:]
            raise

    def reached(self) -> dict[Partition, int]:
        """The offset after the last record of each partition that is decided or a dead letter."""
        ends: dict[Partition, int] = {}
        for each in self._everything():
            if id(each) in self._gone:
                ends[each.partition] = max(ends.get(each.partition, 0), each.record.offset + 1)
        for partition, offsets in self._dead.items():
            ends[partition] = max(ends.get(partition, 0), max(offsets) + 1)
        return ends

    def stand_at(self, partition: Partition, bound: int) -> tuple[int, int] | None:
        """Offset and timestamp of the last record below a bound; None where there is none."""
        below = [stand for stand in self._stands[partition] if stand[0] < bound]
        return below[-1] if below else None

    def dead_run(self, partition: Partition, bound: int) -> int | None:
        """The dead letters in a row up to a bound; None where nothing was read that counts."""
        alive = [each.record.offset for each in self._all[partition] if each.record.offset < bound]
        dead = [offset for offset in self._dead[partition] if offset < bound]
        if not alive and not dead:
            return None
        return sum(offset > max(alive, default=-1) for offset in dead)

    def _everything(self) -> Iterator[Received]:
        for received in self._all.values():
            yield from received

    def _under(self, received: Received) -> Iterator[Received]:
        assert received.message is not None  # noqa: S101 - only messages have keys
        for other in self._by_key[received.message.key]:
            if other.partition == received.partition:
                yield other

    def _after(self, received: Received) -> Iterator[Received]:
        for other in self._under(received):
            if other.record.offset > received.record.offset:
                yield other

    def _waits(self, received: Received) -> bool:
        return id(received) not in self._gone

    def _is_silent(self, received: Received) -> bool:
        return self._waits(received) and id(received) not in self._loud


def _is_dead(received: Received, fault: Fault) -> None:
    """It cannot be decided upon: what is left to do is its letter."""
    received.unread = received.command
    received.message, received.fault = None, fault


def _order(received: Received) -> tuple[int, Partition, int]:
    return received.record.timestamp, received.partition, received.record.offset
