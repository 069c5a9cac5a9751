"""Gaps in what others tell us: an event whose version is not the next one of its subject says that one never came.

Watched where our copy can know: a service that takes in every type of a subject sees all its versions. Elsewhere, and
at the first that is heard of a subject, a version may well be any. Looked at for messages that a projection takes, and
for no others; nothing is done about it but counting, for the copy is right again with the higher version.
"""

from collections.abc import Collection
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

from shared.messaging import metrics
from shared.messaging.decision import Decision, Ids, Message
from shared.messaging.handlers import Decide, Handlers
from shared.messaging.working_set import WorkingSet
from shared.schemas import registry
from shared.schemas.base import Payload

S = TypeVar("S", bound=WorkingSet)


def watching_versions(handlers: Handlers[S], service: str) -> Handlers[S]:
    """The same decisions; what projections of whole subjects return is compared with what was known."""
    whole = types_of_whole_subjects(handlers.types)

    def watch(ce_type: str, decide: Decide[S]) -> Decide[S]:
        return _watching(decide, service, ce_type) if ce_type in whole else decide

    return handlers.watched(watch)


def types_of_whole_subjects(types: Collection[str]) -> set[str]:
    """Of these types those whose subject is told in these types alone."""
    subjects: dict[tuple[str, str], set[str]] = {}
    for ce_type, model in Payload.contracts.items():
        subjects.setdefault((model.topic, model.subject_pattern), set()).add(registry.newest(ce_type))
    whole: set[str] = set()
    for told in subjects.values():
        if told <= set(types):
            whole |= told
    return whole


def _watching(decide: Decide[S], service: str, ce_type: str) -> Decide[S]:
    gaps = metrics.VERSION_GAPS.labels(service, ce_type)

    @wraps(decide)
    def watched(state: S, message: Message[Any], now: datetime, ids: Ids) -> Decision:
        decision = decide(state, message, now, ids)
        for row in decision.changes:
            version = getattr(row, "source_version", 0)
            known = state.find(type(row), row.key) if version else None
            before: int = getattr(known, "source_version", 0)  # 0: a row that was made before anything was heard
            if before and version > before + 1:
                gaps.inc()
        return decision

    return watched
