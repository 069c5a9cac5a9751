"""A batch of records as the unit of work saves it: fenced, freed of duplicates, its faults turned into dead letters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from shared.messaging import inbox, metrics, offsets, outbox
from shared.messaging.database import Tx
from shared.messaging.dead_letters import Fault, letter, tell
from shared.messaging.decision import Message
from shared.messaging.handlers import Decide, Handlers
from shared.messaging.inbox import Identity
from shared.messaging.offsets import Fence, Partition
from shared.messaging.received import Batch, Received
from shared.messaging.unit import Decided, Opened, Redo

AHEAD_MAX = timedelta(hours=24)

FROM_THE_FUTURE = Fault(
    "poison", "from-the-future", "ce_time lies more than 24 hours ahead: correct the sender's clock and send it again"
)
ID_TAKEN = Fault(
    "poison", "id-taken", "another event has this ce_source and ce_id but another type or value: give each its own id"
)


@dataclass(frozen=True, slots=True)
class Intake:
    """Who takes in: the service, which is the group, its decisions, and how many dead letters in a row stop it."""

    service: str
    handlers: Handlers[Any]
    dead_run_max: int
    answer_poison: Callable[[Message[Any], Fault, Any], outbox.Record]


@dataclass(slots=True)
class Progress:
    """What committing a batch told about its partitions."""

    fenced: set[Partition] = field(default_factory=set)
    stopped: set[Partition] = field(default_factory=set)


class Records:
    """The records of one batch. Each attempt to save it starts from `open`."""

    def __init__(self, batch: Batch, intake: Intake, on_progress: Callable[[Batch, Progress], None]) -> None:
        self._batch = batch
        self._intake = intake
        self._on_progress = on_progress
        self._fence: Fence | None = None
        self._undecided: list[Received] = []
        self._faults: dict[int, Fault] = {}
        self._ours: list[Received] = []
        self._repeated: set[Identity] = set()
        self._stopped: set[Partition] = set()

    def __len__(self) -> int:
        return len(self._batch)

    async def open(self, tx: Tx) -> Opened | None:
        """Moves the fence and asks the inbox. What is left is new, and ours."""
        self._faults, self._stopped, self._ours, self._undecided = {}, set(), [], []
        self._fence = await offsets.advance(tx, self._intake.service, self._batch.advances)
        if self._fence is None:
            return None
        stands = self._fence.stands
        self._ours = [
            each
            for each in self._batch.received
            if each.partition in stands and each.record.offset >= stands[each.partition].next_offset
        ]
        for each in self._ours:
            if each.message is not None and each.message.time > self._fence.now + AHEAD_MAX:
                self._faults[id(each)] = FROM_THE_FUTURE
            elif each.fault is not None:
                self._faults[id(each)] = each.fault
        self._undecided = await self._new(tx)
        return Opened(self._fence.now, [each.message for each in self._undecided if each.message is not None])

    def decisions(self, message: Message[Any]) -> Sequence[Decide[Any]]:
        return self._intake.handlers.of_type(message.type)

    async def close(self, tx: Tx, opened: Opened, decided: Decided) -> None:
        """Dead letters, and how many of them came in a row."""
        for position, fault in decided.faults.items():
            self._faults[id(self._undecided[position])] = fault
        self._let_the_repeated_try(decided)
        if not self._faults and not any(stand.dead_run for stand in self._stands.values()):
            return
        dead = [each for each in self._ours if id(each) in self._faults]
        runs = self._dead_runs()
        decided.records += [record for each in dead for record in self._letters(each, opened)]
        dead_identities = [
            each.identity for each in self._undecided if id(each) in self._faults and each.message is not None
        ]
        if dead_identities:
            await inbox.forget(tx, self._intake.service, dead_identities)
        if runs:
            await offsets.count_dead_runs(tx, self._intake.service, runs, self._stopped)

    def committed(self) -> None:
        service = self._intake.service
        dead = [each for each in self._ours if id(each) in self._faults]
        for each in dead:
            tell(service, each.partition, each.record.offset, self._faults[id(each)], each.story)
        decided = sum(id(each) not in self._faults for each in self._undecided)
        metrics.MESSAGES.labels(service).inc(decided)
        metrics.DUPLICATES.labels(service).inc(len(self._ours) - decided - len(dead))
        fenced = set(self._batch.advances) - set(self._stands)
        self._on_progress(self._batch, Progress(fenced, self._stopped))

    def halves(self) -> "tuple[Records, Records]":
        first, second = self._batch.halves()
        return self._with(first), self._with(second)

    def alone(self, fault: Fault) -> "Records":
        (only,) = self._batch.received
        return self._with(self._batch.with_faults({id(only): fault}))

    def _with(self, batch: Batch) -> "Records":
        return Records(batch, self._intake, self._on_progress)

    @property
    def _stands(self) -> Mapping[Partition, offsets.Stand]:
        return self._fence.stands if self._fence is not None else {}

    async def _new(self, tx: Tx) -> list[Received]:
        """The messages that the inbox has not seen; an id that says something else than before is a fault."""
        group = self._intake.service
        first: dict[Identity, Received] = {}
        readable = [each for each in self._ours if each.message is not None and id(each) not in self._faults]
        again = [each for each in readable if first.setdefault(each.identity, each) is not each]
        self._repeated = {each.identity for each in again}
        if not first:
            return []
        fresh = await inbox.remember(tx, group, {identity: each.value_hash for identity, each in first.items()})
        known = [identity for identity in first if identity not in fresh]
        hashes = {identity: first[identity].value_hash for identity in fresh}
        if known:
            hashes |= await inbox.hashes_of(tx, group, known)
            again += [first[identity] for identity in known]
        taken = [each for each in again if hashes.get(each.identity) != each.value_hash]
        self._faults |= {id(each): ID_TAKEN for each in taken}
        return [each for identity, each in first.items() if identity in fresh]

    def _let_the_repeated_try(self, decided: Decided) -> None:
        """A dead letter's identity is not kept: what comes under it later in the batch is decided upon as any other."""
        dead = {
            id(each): decided.faults[position]
            for position, each in enumerate(self._undecided)
            if position in decided.faults and each.identity in self._repeated
        }
        if dead:
            raise Redo(self._with(self._batch.with_faults(dead)))

    def _letters(self, each: Received, opened: Opened) -> list[outbox.Record]:
        """The letter; and, of a command that is poison, the answer to its sender."""
        fault = self._faults[id(each)]
        letters = [letter(self._intake.service, each.partition, each.record, fault)]
        asker = each.command
        if asker is not None and fault.kind == "poison" and fault is not ID_TAKEN:  # which was answered under its id
            letters.append(self._intake.answer_poison(asker, fault, opened.now))
        return letters

    def _dead_runs(self) -> dict[Partition, int]:
        """How many dead letters in a row each partition has come to, where that changed.

        Where the limit is reached before the batch's end in that partition, the batch is saved up to there instead:
        what follows waits for an operator.
        """
        runs = {partition: stand.dead_run for partition, stand in self._stands.items()}
        for each in self._ours:
            runs[each.partition] = runs[each.partition] + 1 if id(each) in self._faults else 0
            if runs[each.partition] >= self._intake.dead_run_max:
                self._stopped.add(each.partition)
                if self._batch.advances[each.partition].next_offset > each.record.offset + 1:
                    cut = self._batch.until(each.partition, each.record.offset, each.record.timestamp)
                    raise Redo(self._with(cut))
        return {p: run for p, run in runs.items() if run != self._stands[p].dead_run}
