"""An operator's word on a task whose outcome nobody knows: decided upon as if the provider had said it.

The task's end stands in the transaction of its effects, under a lease of its own; a rehearsal is rolled back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from shared.messaging import task_store
from shared.messaging.database import Pool, Tx
from shared.messaging.decision import Due, Exhausted, Message, Unknown
from shared.messaging.handlers import Decide
from shared.messaging.replay import RUN_AGAIN, Effect
from shared.messaging.service import Service
from shared.messaging.task_store import Claimed, Settled
from shared.messaging.tasks import Ended, message_of
from shared.messaging.unit import CONFLICT_TRIES_MAX, Decided, Opened, Unit, Work
from shared.messaging.working_set import WorkingSet

KITS_OWN = (Unknown, Exhausted, Due)
ASKING_SECONDS = 30.0


class NotResolved(Exception):
    """The task is as it was; the text says why."""


def results_of(service: Service[Any, Any], kind: str) -> Mapping[str, type[Any]]:
    """What a performer may say of a task of this kind, by name: the classes that its decision's signature names.

    Raises NotResolved for a kind that the service does not know.
    """
    _, result = _asked_and_said(service, kind)
    return {each.__name__.lower(): each for each in result if is_dataclass(each) and each not in KITS_OWN}


async def resolve(
    service: Service[Any, Any], pool: Pool, kind: str, key: str, result: object, *, is_rehearsal: bool
) -> Effect:
    """Decides on an unknown task as if `result` had been the provider's answer. Raises NotResolved.

    The task is locked before its root, and the running service does it the other way: who meets it tries again.
    """
    work = _Resolution(service, kind, key, result, is_rehearsal=is_rehearsal)

    async def save(tx: Tx, state: WorkingSet) -> None:
        work.effect.changes = state.changes()
        await service.save(tx, state)

    unit = Unit(service.name, pool, service.load, save, lambda _: None)
    tries = 0
    while True:
        try:
            await unit.run(work)
        except _Rehearsed:
            return work.effect
        except RUN_AGAIN:
            tries += 1
            if tries > CONFLICT_TRIES_MAX:
                raise
        else:
            return work.effect


class _Rehearsed(Exception):
    """Takes a rehearsal's transaction back."""


class _Resolution:
    """One task as the unit of work saves it."""

    def __init__(self, service: Service[Any, Any], kind: str, key: str, result: object, *, is_rehearsal: bool) -> None:
        self._service = service
        self._kind = kind
        self._key = key
        self._result = result
        self._is_rehearsal = is_rehearsal
        self._settled: Settled | None = None
        self.effect = Effect()

    def __len__(self) -> int:
        return 1

    async def open(self, tx: Tx) -> Opened:
        claimed = await _claim_unknown(tx, self._kind, self._key)
        if claimed is None:
            raise NotResolved(f"there is no task {self._kind} {self._key} whose outcome is unknown")
        self._settled = Settled(self._kind, self._key, claimed.lease, "done")
        message = message_of(Ended(claimed, self._settled, self._payload(claimed), self._result))
        self.effect.message, self.effect.now = message, claimed.now
        return Opened(claimed.now, [message])

    def _payload(self, claimed: Claimed) -> BaseModel:
        (model, *_), _ = _asked_and_said(self._service, self._kind)
        payload: BaseModel = model.model_validate_json(claimed.payload)
        return payload

    def decisions(self, message: Message[Any]) -> Sequence[Decide[Any]]:
        return self._service.handlers.of_outcome(message.payload.kind)

    async def close(self, tx: Tx, opened: Opened, decided: Decided) -> None:  # noqa: ARG002 - the unit's signature
        for fault in decided.faults.values():
            raise NotResolved(f"the decision says no ({fault.code}): {fault.reason}")
        self.effect.records = list(decided.records)
        self.effect.tasks = [task for task, _ in decided.tasks.values()]
        if self._is_rehearsal:
            raise _Rehearsed
        if self._settled is not None:
            await task_store.settle(tx, [self._settled])

    def committed(self) -> None:
        """The running service's relay and tasks find what is new at their next look."""

    def halves(self) -> tuple[Work, Work]:
        raise TypeError("one task has no halves")

    def alone(self, fault: Any) -> Work:
        raise NotResolved(f"it cannot be saved: {fault.reason}")


async def _claim_unknown(tx: Tx, kind: str, key: str) -> Claimed | None:
    """The task under a lease of ours; None where it is not there, or not unknown.

    Whoever asks about it just now loses its lease, and its answer with it.
    """
    row = await tx.fetchrow(
        """
        UPDATE messaging.task
        SET state = 'asking', reconciliations = reconciliations + 1, lease = gen_random_uuid(),
            lease_until = clock_timestamp() + make_interval(secs => $3)
        WHERE kind = $1 AND key = $2 AND state IN ('unknown', 'asking')
        RETURNING kind, key, root, payload, true AS is_asking, attempts, reconciliations, lease, cause_source,
            cause_id, correlation_id, traceparent, messaging.kello_now() AS now
        """,
        kind,
        key,
        ASKING_SECONDS,
    )
    return Claimed(**row) if row is not None else None


def _asked_and_said(service: Service[Any, Any], kind: str) -> tuple[tuple[type[Any], ...], tuple[type[Any], ...]]:
    """The payload and the results of `Message[Outcome[payload, result | result]]` in the decision's signature."""
    if kind not in service.handlers.kinds:
        raise NotResolved(f"{service.name} has no tasks {kind!r}, but {', '.join(sorted(service.handlers.kinds))}")
    (decide,) = service.handlers.of_outcome(kind)
    (outcome,) = get_args(get_type_hints(decide)["message"])
    payload, result = get_args(outcome)
    return _members(payload), _members(result)


def _members(hint: Any) -> tuple[type[Any], ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
