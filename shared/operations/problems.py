"""What needs an operator, and the command that shows more of it or mends it."""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.operations.output import ago, counted
from shared.operations.survey import Inside, ServiceState, Survey

LAG_SECONDS = 60
OUTBOX_SECONDS = 30
UNKNOWN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing, in a sentence, and what to type next."""

    service: str
    what: str
    command: str


def problems(found: Survey, dead_run_max: int) -> list[Problem]:
    """Everything that will not mend itself, or has not for too long."""
    return [Problem(state.service, *told) for state in found.services for told in _told(state, dead_run_max)]


def _told(state: ServiceState, dead_run_max: int) -> Iterator[tuple[str, str]]:
    name = state.service
    if state.inside is None:
        yield f"its database does not answer: {state.error}", f"kello status {name}"
        return
    if not state.processes:
        yield (
            "no process of it is in its consumer group",
            f"python -m services.{name}; its last log line says why it ended",
        )
    if state.inside.pause is not None:
        yield f"it is paused: {state.inside.pause}", f"kello resume {name} --yes"
    stopped = sum(stand.dead_run >= dead_run_max for stand in state.inside.stands.values())
    if stopped:
        yield (
            f"{counted(stopped, 'partition')} stopped after too many dead letters in a row",
            f"kello dead groups {name}",
        )
    beyond = {lag.topic for lag in state.lags if (lag.next_offset or 0) > lag.end_offset}
    for topic in sorted(beyond):
        yield (
            f"{topic} ends before what was read of it: it was recreated or truncated",
            f"kello offsets reset {name} {topic}",
        )
    if not stopped and state.inside.pause is None and (state.waiting_seconds or 0) > LAG_SECONDS:
        yield f"the oldest record has waited for {ago(state.waiting_seconds)}", f"kello lag {name}"
    if state.letters:
        yield f"{counted(state.letters, 'dead letter')} to decide about", f"kello dead groups {name}"
    yield from _inside(name, state.inside)


def _inside(name: str, inside: Inside) -> Iterator[tuple[str, str]]:
    if inside.outbox_blocked:
        yield (
            f"{counted(inside.outbox_blocked, 'key')} behind a row that Kafka never takes",
            f"kello outbox show {name}",
        )
    elif (inside.outbox_age_seconds or 0) > OUTBOX_SECONDS:
        who = "its relay cannot publish it" if inside.has_relay else "no process is its relay"
        yield f"the outbox has waited for {ago(inside.outbox_age_seconds)}: {who}", f"kello outbox show {name}"
    for tasks in inside.tasks:
        if tasks.late:
            yield f"{tasks.late} {tasks.kind} late", f"kello tasks list {name} --late"
        if (tasks.oldest_unknown_seconds or 0) > UNKNOWN_SECONDS:
            yield (
                f"{tasks.unknown} {tasks.kind} without a known outcome",
                f"kello tasks list {name} --state unknown",
            )
    if inside.pending:
        yield f"its database lacks {', '.join(inside.pending)}", f"python -m shared.messaging.migrate {name}"
