"""The bound of the log: the first lines of every trouble are there, and their count, and never more than so many."""

import logging

import orjson
import pytest
import structlog

from shared.messaging import logs
from shared.messaging.log_bound import ALIKE_AT_ONCE, ALIKE_SECONDS, KINDS_MAX, LINES_PER_MINUTE_MAX, LogBound


def test_what_fails_all_the_time_is_said_a_few_times_and_then_once_a_minute_with_a_count() -> None:
    bound = LogBound()
    told = [(second, n) for second in range(600) if (n := bound.take("batch_waits", float(second))) is not None]
    assert [second for second, _ in told[:ALIKE_AT_ONCE]] == list(range(ALIKE_AT_ONCE))
    assert len(told) == ALIKE_AT_ONCE + 9
    assert sum(n for _, n in told) + len(told) == told[-1][0] + 1, "every line is written or counted"


def test_one_trouble_hides_no_other() -> None:
    bound = LogBound()
    for n in range(1000):
        bound.take("flood", n / 1000)
    assert bound.take("something else", 1.0) == 0


def test_many_troubles_at_once_stay_within_the_bound_of_all() -> None:
    bound = LogBound()
    for minute in range(5):
        seconds = [60 * minute + n / 100 for n in range(6000)]
        lines = sum(bound.take(f"trouble {n % 5000}", second) is not None for n, second in enumerate(seconds))
        assert lines <= LINES_PER_MINUTE_MAX
    assert len(bound._kinds) <= KINDS_MAX + 1


def test_what_stopped_failing_is_told_once_though_no_line_follows() -> None:
    bound = LogBound()
    for n in range(100):
        bound.take("outage", n / 100)
    assert not bound.left_out(30.0)
    assert bound.left_out(61.0) == [("outage", 100 - ALIKE_AT_ONCE)]
    assert not bound.left_out(200.0)


def test_what_a_library_repeats_is_counted_on_the_line_that_is_written(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(logs, "monotonic", lambda: clock[0])
    monkeypatch.setattr(logs, "_bound", LogBound())
    before, root = structlog.get_config(), logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        logs.configure("probe", "info")
        library = logging.getLogger("some.library")
        for _ in range(200):
            library.warning("Unable connect to node with id %s", 1)
        clock[0] += ALIKE_SECONDS
        library.warning("Unable connect to node with id %s", 1)
        library.critical("the last words")
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.getLogger("faststream").setLevel(logging.NOTSET)
    lines = [orjson.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(lines) == ALIKE_AT_ONCE + 2
    assert lines[-2]["event"] == "Unable connect to node with id 1"
    assert lines[-2]["left_out"] == 200 - ALIKE_AT_ONCE
    assert lines[-1]["event"] == "the last words"
