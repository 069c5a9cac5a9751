"""Calls to the outside, timed: how long each took and how it ended, whatever the provider."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from time import monotonic
from typing import Any

from shared.messaging import metrics
from shared.messaging.tasks import Later, TaskCall, TaskKind, Uncertain

Act = Callable[[Any, TaskCall], Awaitable[Any]]


def timed(kind: TaskKind[Any], service: str) -> TaskKind[Any]:
    """The same kind, whose calls are measured. A timer calls nobody."""
    if kind.perform is None or kind.reconcile is None:
        return kind
    return replace(
        kind,
        perform=_timed(kind.perform, service, kind.kind, "performed"),
        reconcile=_timed(kind.reconcile, service, kind.kind, "asked"),
    )


def _timed(call: Act, service: str, kind: str, act: str) -> Act:
    """`end` is answered, later (nothing was done), uncertain (no answer came, or none in time) or failed (a bug)."""
    by_end = {
        end: metrics.TASK_CALL_SECONDS.labels(service, kind, act, end)
        for end in ("answered", "later", "uncertain", "failed")
    }

    @wraps(call)
    async def timed(payload: Any, described: TaskCall) -> Any:
        began, end = monotonic(), "uncertain"
        try:
            answer = await call(payload, described)
            end = "answered"
        except Later:
            end = "later"
            raise
        except (Uncertain, TimeoutError):
            raise
        except Exception:
            end = "failed"
            raise
        finally:
            by_end[end].observe(monotonic() - began)
        return answer

    return timed
