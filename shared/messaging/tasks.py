"""Tasks: calls to the outside, and timers. Started once, settled once; what nobody answered is asked about.

The runner claims due tasks (the claim is the mark "started"), performs them outside any transaction, and saves their
outcomes in batches through the same load, decide and save as records. A process that dies in between leaves leases that
end: those tasks are unknown, and are reconciled with the provider before anything is done again.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic
from typing import Any, Final, Generic, Literal, TypeVar
from uuid import uuid4

import structlog
from pydantic import BaseModel, ValidationError

from shared.messaging import task_store
from shared.messaging.database import Pool, Transient, Tx, is_transient
from shared.messaging.dead_letters import Fault
from shared.messaging.decision import Due, Exhausted, Message, Outcome, Unknown
from shared.messaging.handlers import Decide, Handlers
from shared.messaging.task_store import Claimed, LeaseLost, Settled
from shared.messaging.unit import Decided, Opened, Redo, Unit

log = structlog.get_logger(__name__)
T = TypeVar("T", bound=BaseModel)

OUTCOMES_MAX = 500
POLL_SECONDS = 0.1
IDLE_SECONDS = 0.5
LEASE_CHECK_SECONDS = 1.0
RETRY_SECONDS = 1.0
FAILED_SECONDS = 60.0
CAUSE_CHARACTERS_MAX = 40


class Later(Transient):
    """Nothing was done, certainly: the provider was not reached, or said "later". It is tried again."""


class Uncertain(Exception):
    """It may have been done: the request went out and no answer came."""


class _NotDone:
    """What `reconcile` returns when the provider never saw the request: it is performed again, same key."""


NOT_DONE: Final = _NotDone()


@dataclass(frozen=True, slots=True)
class TaskCall:
    """One call: which task, the how-manieth attempt (from 1), and the key that makes it idempotent at the provider.

    `reconciliations` counts how often nobody knew and it was asked about, this call included.
    """

    kind: str
    key: str
    attempt: int
    idempotency_key: str
    reconciliations: int = 0


@dataclass(frozen=True, slots=True)
class TaskKind(Generic[T]):
    """How tasks of one kind are performed and reconciled, and their bounds. Without `perform` it is a timer.

    `perform` returns a result for the decision, or raises Later or Uncertain; a timeout is Uncertain. `reconcile` asks
    the provider what came of it: returns a result, NOT_DONE, or raises Later or Uncertain when it cannot tell yet.
    """

    kind: str
    payload: type[T]
    perform: Callable[[T, TaskCall], Awaitable[Any]] | None = None
    reconcile: Callable[[T, TaskCall], Awaitable[Any]] | None = None
    concurrency: int = 16
    call_timeout_seconds: float = 10.0
    lease_seconds: float = 30.0
    attempts_max: int = 8
    backoff_seconds: float = 0.5
    backoff_max_seconds: float = 60.0

    def __post_init__(self) -> None:
        if (self.perform is None) != (self.reconcile is None):
            raise TypeError(f"{self.kind}: what can be performed must be reconciled, too")
        if self.lease_seconds < 2 * self.call_timeout_seconds:
            raise TypeError(f"{self.kind}: the lease must be at least twice the call's timeout")

    def backoff(self, attempt: int) -> float:
        """Seconds to wait after the `attempt`-th try: doubling, with jitter, up to the bound."""
        ceiling = min(self.backoff_max_seconds, self.backoff_seconds * 2.0 ** min(attempt - 1, 30))
        return ceiling * (0.5 + random.random() / 2)  # noqa: S311 - jitter is no secret


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that ended. `result` goes to the decision; without one the task only goes on as `settled` says."""

    claimed: Claimed
    settled: Settled
    payload: Any = None
    result: Any = None
    is_decided: bool = True


class Outcomes:
    """A batch of ended calls, as the unit of work saves it."""

    def __init__(self, ended: Sequence[Ended], handlers: Handlers[Any]) -> None:
        self._ended = ended
        self._handlers = handlers
        self._decided = [each for each in ended if each.is_decided]

    def __len__(self) -> int:
        return len(self._ended)

    async def open(self, tx: Tx) -> Opened:
        now = await tx.fetchval("SELECT messaging.kello_now()")
        return Opened(now, [message_of(each) for each in self._decided])

    def decisions(self, message: Message[Any]) -> Sequence[Decide[Any]]:
        return self._handlers.of_outcome(message.payload.kind)

    async def close(self, tx: Tx, opened: Opened, decided: Decided) -> None:  # noqa: ARG002 - the protocol of works
        """A task whose decision failed is not done: it stays, unknown, until the bug is mended."""
        failed = {id(self._decided[position]): fault for position, fault in decided.faults.items()}
        settled = [
            _failed(each.claimed, isinstance(each.result, Due), failed[id(each)].reason)
            if id(each) in failed
            else each.settled
            for each in self._ended
        ]
        try:
            await task_store.settle(tx, settled)
        except LeaseLost as lost:
            kept = [each for each in self._ended if (each.claimed.kind, each.claimed.key) in lost.held]
            raise Redo(Outcomes(kept, self._handlers)) from lost

    def committed(self) -> None:
        """The leases are gone with the tasks: nothing is left to note."""

    def halves(self) -> "tuple[Outcomes, Outcomes]":
        middle = len(self._ended) // 2
        return Outcomes(self._ended[:middle], self._handlers), Outcomes(self._ended[middle:], self._handlers)

    def alone(self, fault: Fault) -> "Outcomes":
        (only,) = self._ended
        settled = _failed(only.claimed, isinstance(only.result, Due), fault.reason)
        return Outcomes([Ended(only.claimed, settled, is_decided=False)], self._handlers)


def message_of(each: Ended) -> Message[Any]:
    """The message of an outcome. Its id names the task, its cause and the turn: the same outcome gives the same ids.

    A long cause stands as its hash, or a timer that schedules the next one would name a longer cause each time.
    """
    claimed = each.claimed
    cause = claimed.cause_id
    if len(cause) > CAUSE_CHARACTERS_MAX:
        cause = blake2b(f"{claimed.cause_source}\0{cause}".encode(), digest_size=16).hexdigest()
    return Message(
        payload=Outcome(claimed.kind, claimed.key, claimed.attempts, each.payload, each.result),
        id=f"{claimed.kind}/{claimed.key}/{cause}/{claimed.attempts}.{claimed.reconciliations}",
        source=f"task/{claimed.kind}",
        type=f"task/{claimed.kind}",
        time=claimed.now,
        key=claimed.root,
        topic=f"task/{claimed.kind}",
        partition=0,
        offset=0,
        correlation_id=claimed.correlation_id,
        traceparent=claimed.traceparent,
    )


def _settled(
    claimed: Claimed,
    state: Literal["done", "unknown", "waiting"],
    delay_seconds: float = 0.0,
    reason: str | None = None,
) -> Settled:
    return Settled(claimed.kind, claimed.key, claimed.lease, state, delay_seconds, reason)


def _failed(claimed: Claimed, is_timer: bool, reason: str) -> Settled:
    """How a task goes on that a bug of ours keeps from its decision: a call is asked about, a timer is due again."""
    return _settled(claimed, "waiting" if is_timer else "unknown", FAILED_SECONDS, reason)


class TaskRunner:
    """Performs and reconciles a service's tasks. `run` owns every call that it starts, and ends with them."""

    def __init__(self, unit: Unit[Any], pool: Pool, handlers: Handlers[Any], kinds: Sequence[TaskKind[Any]]) -> None:
        self._unit = unit
        self._pool = pool
        self._handlers = handlers
        self._kinds = {kind.kind: kind for kind in kinds}
        self._ended: asyncio.Queue[Ended] = asyncio.Queue(maxsize=2 * OUTCOMES_MAX)
        self._wakes = {kind.kind: asyncio.Event() for kind in kinds}
        self._ask_at = dict.fromkeys(self._kinds, 0.0)
        self._draining = False
        self._is_over = asyncio.Event()
        unknown = handlers.kinds ^ frozenset(self._kinds)
        if unknown:
            raise TypeError(f"tasks without a decision, or decisions without a task: {sorted(unknown)}")

    def wake(self, kinds: Mapping[str, Any] | set[str]) -> None:
        """Tasks of these kinds were scheduled just now."""
        for kind in kinds:
            if kind in self._wakes:
                self._wakes[kind].set()

    async def run(self) -> None:
        """Until `drain` was called and every call that was started has its outcome saved."""
        self._is_over.clear()
        async with asyncio.TaskGroup() as group:
            saver = group.create_task(self._save_outcomes())
            loops = [group.create_task(self._run_kind(kind)) for kind in self._kinds.values()]
            watch = group.create_task(self._expire_leases())
            for loop in loops:
                await loop
            watch.cancel()
            await self._ended.join()
            saver.cancel()
        self._is_over.set()

    async def drain(self) -> None:
        """Claims nothing more, and waits until every outcome is saved."""
        self._draining = True
        for wake in self._wakes.values():
            wake.set()
        await self._is_over.wait()

    async def _run_kind(self, kind: TaskKind[Any]) -> None:
        """Keeps up to `concurrency` calls going; claims for a quarter of them at a time, or for whatever is free now
        and then: a claim for each call that ends would cost more than the call."""
        limit = kind.concurrency if kind.perform is not None else OUTCOMES_MAX
        calls: set[asyncio.Task[None]] = set()
        wake = self._wakes[kind.kind]
        is_time = True
        async with asyncio.TaskGroup() as group:
            while not self._draining:
                wake.clear()
                free = limit - len(calls)
                claimed = await self._claim(kind, free) if free > 0 and (is_time or 4 * free >= limit) else []
                for each in claimed:
                    call = group.create_task(self._call(kind, each))
                    calls.add(call)
                    call.add_done_callback(calls.discard)
                    call.add_done_callback(lambda _: wake.set())
                is_time = not claimed and not await _is_woken(wake, POLL_SECONDS if calls else IDLE_SECONDS)

    async def _claim(self, kind: TaskKind[Any], free: int) -> list[Claimed]:
        try:
            claimed = await task_store.claim_due(self._pool, kind.kind, free, uuid4(), kind.lease_seconds)
            if len(claimed) < free and kind.perform is not None and self._is_time_to_ask(kind):
                claimed += await task_store.claim_unknown(
                    self._pool, kind.kind, free - len(claimed), uuid4(), kind.lease_seconds
                )
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("tasks_wait", kind=kind.kind, error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
            return []
        return claimed

    def _is_time_to_ask(self, kind: TaskKind[Any]) -> bool:
        """Unknown tasks are looked for now and then: there are few, and they have waited already."""
        if monotonic() < self._ask_at[kind.kind]:
            return False
        self._ask_at[kind.kind] = monotonic() + POLL_SECONDS
        return True

    async def _call(self, kind: TaskKind[Any], claimed: Claimed) -> None:
        structlog.contextvars.bind_contextvars(correlation_id=claimed.correlation_id)  # of this asyncio task alone
        await self._ended.put(await self._ended_call(kind, claimed))

    async def _ended_call(self, kind: TaskKind[Any], claimed: Claimed) -> Ended:  # noqa: PLR0911 - one for each end
        try:
            payload = kind.payload.model_validate_json(claimed.payload)
        except ValidationError:
            log.exception("task_unreadable", kind=kind.kind, key=claimed.key)
            return Ended(
                claimed, _failed(claimed, kind.perform is None, "its payload cannot be read"), is_decided=False
            )
        idempotency_key = f"{self._unit.service}:{kind.kind}:{claimed.key}"
        attempt = max(claimed.attempts, 1)
        call = TaskCall(kind.kind, claimed.key, attempt, idempotency_key, claimed.reconciliations)
        act = kind.reconcile if claimed.is_asking else kind.perform
        if act is None:
            return Ended(claimed, _settled(claimed, "done"), payload, Due())
        try:
            async with asyncio.timeout(kind.call_timeout_seconds):
                result = await act(payload, call)
        except Later as later:
            return _later(kind, claimed, payload, str(later))
        except Uncertain as uncertain:
            return _unknown(kind, claimed, payload, str(uncertain))
        except TimeoutError:
            return _unknown(kind, claimed, payload, f"no answer within {kind.call_timeout_seconds:g} s")
        except Exception as error:
            log.exception("task_failed", kind=kind.kind, key=claimed.key)
            return _unknown(kind, claimed, payload, f"a bug: {type(error).__name__}")
        if result is NOT_DONE:
            return Ended(claimed, _settled(claimed, "waiting", 0.0, "the provider never saw it"), is_decided=False)
        return Ended(claimed, _settled(claimed, "done"), payload, result)

    async def _save_outcomes(self) -> None:
        """Saves what has ended, as much at a time as there is."""
        while True:
            ended = [await self._ended.get()]
            while len(ended) < OUTCOMES_MAX and not self._ended.empty():
                ended.append(self._ended.get_nowait())
            await self._unit.persist(Outcomes(ended, self._handlers))
            for _ in ended:
                self._ended.task_done()

    async def _expire_leases(self) -> None:
        timers = [kind.kind for kind in self._kinds.values() if kind.perform is None]
        while True:
            try:
                expired = await task_store.expire_leases(self._pool, timers)
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("leases_wait", error=type(error).__name__)
            else:
                if expired:
                    log.warning("leases_ended", tasks=expired)
            await asyncio.sleep(LEASE_CHECK_SECONDS)


def _later(kind: TaskKind[Any], claimed: Claimed, payload: Any, reason: str) -> Ended:
    """Nothing was done now. Of an unknown task that says nothing yet; any other is tried again, or exhausted."""
    if claimed.is_asking:
        return _unknown(kind, claimed, payload, reason)
    if claimed.attempts >= kind.attempts_max:
        return Ended(claimed, _settled(claimed, "done"), payload, Exhausted(reason))
    settled = _settled(claimed, "waiting", kind.backoff(claimed.attempts), reason)
    return Ended(claimed, settled, is_decided=False)


def _unknown(kind: TaskKind[Any], claimed: Claimed, payload: Any, reason: str) -> Ended:
    """Nobody knows. The decision hears it when it is news: after a call, or when the first question got no answer."""
    settled = _settled(claimed, "unknown", kind.backoff(max(claimed.reconciliations, 1)), reason)
    is_news = claimed.reconciliations <= 1
    return Ended(claimed, settled, payload, Unknown(reason), is_decided=is_news)


async def _is_woken(wake: asyncio.Event, seconds: float) -> bool:
    """Whether the event came before the time was up."""
    try:
        async with asyncio.timeout(seconds):
            return await wake.wait()
    except TimeoutError:
        return False
