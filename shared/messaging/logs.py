"""Logs: one JSON object a line, on standard output, with personal fields redacted, and so many lines a minute at most.

Every line is counted in `kello_log_lines_total`, written or not. A line about a message or a task carries its
`correlation_id`; within a span that is recorded, `trace_id` and `span_id`.
"""

import logging
import sys
import traceback
from collections.abc import Hashable, MutableMapping
from time import monotonic
from typing import Any

import orjson
import structlog

from shared.messaging import metrics, tracing
from shared.messaging.log_bound import LogBound

log = structlog.get_logger(__name__)

PERSONAL = frozenset(
    {
        "name", "email", "phone", "address", "birth_date", "iban", "bic", "tax_id", "value", "text", "body", "to",
        "recipient", "subject", "payload", "payment_token", "password", "token", "authorization", "database_url",
    }
)  # fmt: skip
PLACES_MAX = 12
CHARACTERS_MAX = 2000
"""Of one field: what a library says may be long."""
TELLING_APART = ("error", "kind", "code", "type", "topic", "step")
"""Fields by which lines of one event are told apart. None of them has many values."""
TEMPLATE_CHARACTERS = 40
LEFT_OUT = "lines_left_out"

_bound = LogBound()


def redacted(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Nobody's data stands in a log: fields that may hold it are replaced whatever they hold."""
    for field in PERSONAL & event.keys():
        event[field] = "[redacted]"
    return event


def where_it_failed(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception's classes and places. Never its text: it may quote a row, or what somebody sent."""
    told = event.pop("exc_info", None)
    error = sys.exc_info()[1] if told is True else told[1] if isinstance(told, tuple) else told
    if isinstance(error, BaseException):
        event["exception"] = type(error).__qualname__
        event["places"] = [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        ][-PLACES_MAX:]
    return event


def shortened(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """No field is longer than CHARACTERS_MAX."""
    for name, value in event.items():
        if isinstance(value, str) and len(value) > CHARACTERS_MAX:
            event[name] = value[:CHARACTERS_MAX] + "…"
    return event


def bounded(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leaves out a line that is like many others; the one that is written says how many. The last words always are."""
    if method == "critical" or event["event"] == LEFT_OUT:
        return event
    told = event.get("exc_info")
    error = sys.exc_info()[0] if told is True else type(told) if isinstance(told, BaseException) else None
    left_out = _bound.take((event["event"], error, *(event.get(field) for field in TELLING_APART)), monotonic())
    if left_out is None:
        raise structlog.DropEvent
    if left_out:
        event["left_out"] = left_out
    return event


def tell_what_was_left_out() -> None:
    """To be called now and then: the count of what stopped failing before its next line was due."""
    kinds = _bound.left_out(monotonic())
    if kinds:
        log.info(LEFT_OUT, of={" ".join(_words(alike)): lines for alike, lines in kinds})


def configure(service: str, level: str) -> None:
    """Once for each process."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_service(service),
        redacted,
        where_it_failed,
        shortened,
    ]
    structlog.configure(
        processors=[_counted(service), bounded, *shared, structlog.processors.JSONRenderer(serializer=orjson.dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event).decode()),
            ],
            foreign_pre_chain=[*shared, _left_out_of_libraries],
        )
    )
    handler.addFilter(_Bounded(service))
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger("faststream").setLevel(logging.ERROR)  # it warns that topics are not made by the way


class _Bounded(logging.Filter):
    """The same bound for what libraries log, told apart by logger and the beginning of the message's template."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def filter(self, record: logging.LogRecord) -> bool:
        metrics.LOG_LINES.labels(self._service, record.levelname.lower(), record.name).inc()
        left_out = _bound.take((record.name, str(record.msg)[:TEMPLATE_CHARACTERS]), monotonic())
        record.left_out = left_out
        return left_out is not None or record.levelno >= logging.CRITICAL


def _left_out_of_libraries(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What the filter noted on the record."""
    left_out = getattr(event.get("_record"), "left_out", None)
    if left_out:
        event["left_out"] = left_out
    return event


def _words(alike: Hashable) -> list[str]:
    parts = alike if isinstance(alike, tuple) else (alike,)
    return [part.__qualname__ if isinstance(part, type) else str(part) for part in parts if part is not None]


def _counted(service: str) -> structlog.typing.Processor:
    def count(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        metrics.LOG_LINES.labels(service, "error" if method == "exception" else method, event["event"]).inc()
        return event

    return count


def _with_service(service: str) -> structlog.typing.Processor:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        event.update(tracing.current_ids())
        return event

    return add
