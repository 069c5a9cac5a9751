"""Traces, by OpenTelemetry: what is recorded, and how a story goes on from one record to the next.

Off by default, and then nothing here runs for a message, a batch or a statement: `shared.messaging.traced` holds the
parts that record, and a process is wired of them only where traces are on.

A record carries the W3C `traceparent` of the span that it came of. Whose sender says "recorded" goes on being recorded;
whose sender says "not" passes through unchanged. Of stories that begin here (no `traceparent`) a share is recorded, and
every command. A span never holds a payload, an argument of a statement or the text of an exception: they may be
somebody's data.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from os import getpid
from socket import gethostname
from typing import Any

import asyncpg
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

LINKS_MAX = 128
"""Links of one span: what OpenTelemetry's own limit is by default."""
STATEMENT_CHARACTERS_MAX = 1000
END_SECONDS = 3.0

_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|TABLE|JOIN)\s+([a-z_][a-z0-9_.]*)")


@dataclass(frozen=True, slots=True)
class Recording:
    """Traces that are on: who makes the spans, and the share of stories beginning here that are recorded."""

    tracer: trace.Tracer
    ratio: float


_recording: Recording | None = None


def is_on() -> bool:
    """Whether a process that is wired now is wired to record."""
    return _recording is not None


def configure(service: str, url: str, ratio: float) -> Callable[[], None]:
    """Sends spans to an OTLP collector (HTTP, protobuf) from a thread; what it returns sends the rest, and ends it.

    An empty URL leaves traces off. Everything else is set as OpenTelemetry says: OTEL_EXPORTER_OTLP_HEADERS,
    OTEL_BSP_*, OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES.
    """
    if not url:
        return lambda: None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - only where on
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the same
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the same
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - the same

    names = {
        "service.name": service,
        "service.namespace": "kello",
        "service.instance.id": f"{gethostname()}-{getpid()}",
    }
    provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=END_SECONDS)))
    switch_on(provider, ratio)
    return provider.shutdown


def switch_on(provider: trace.TracerProvider, ratio: float) -> None:
    """Processes that are wired from now on record to `provider`."""
    global _recording  # noqa: PLW0603 - one for each process, as OpenTelemetry itself has it
    _recording = Recording(provider.get_tracer("kello"), ratio)


def switch_off() -> None:
    global _recording  # noqa: PLW0603 - the same
    _recording = None


# Contexts: how a story goes on


def context_of(traceparent: str | None) -> SpanContext | None:
    """The span that a `traceparent` names (W3C Trace Context, 3.2); None where there is none."""
    if not traceparent:
        return None
    parts = traceparent.split("-")
    try:
        context = SpanContext(int(parts[1], 16), int(parts[2], 16), True, TraceFlags(int(parts[3], 16)))
    except (IndexError, ValueError):
        return None
    return context if context.is_valid else None


def traceparent_of(span: Span) -> str:
    """What a record that comes of this span carries."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def is_recorded(traceparent: str) -> bool:
    """Whether whoever sent this context records it: the lowest bit of its flags (W3C Trace Context, 3.2.2.5)."""
    return (
        traceparent[53:55] != "00" and (context := context_of(traceparent)) is not None and context.trace_flags.sampled
    )


def is_wanted(traceparent: str | None, *, begins: bool = False) -> bool:
    """Whether what came with this context is recorded: as its sender says, or, of what begins here, a share.

    With `begins` whatever begins here is.
    """
    if traceparent:
        return is_recorded(traceparent)
    return _recording is not None and (begins or random.random() < _recording.ratio)  # noqa: S311 - no secret


def links_to(traceparents: Iterable[str | None]) -> list[Link]:
    """Links to the contexts that are recorded, each once, and at most LINKS_MAX."""
    links: dict[tuple[int, int], Link] = {}
    for each in traceparents:
        context = context_of(each) if each and is_recorded(each) else None
        if context is not None:
            links.setdefault((context.trace_id, context.span_id), Link(context))
            if len(links) == LINKS_MAX:
                break
    return list(links.values())


# Spans


def begun(
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, AttributeValue],
    *,
    parent: str | None = None,
    links: Iterable[Link] = (),
) -> Span:
    """A span that is ended by whoever began it. It is nobody's child, or that of the context `parent`."""
    if _recording is None:
        return trace.INVALID_SPAN
    remote = context_of(parent)
    context = trace.set_span_in_context(NonRecordingSpan(remote), Context()) if remote is not None else Context()
    return _recording.tracer.start_span(name, context, kind, attributes, list(links))


@contextmanager
def inside(span: Span) -> Iterator[Span]:
    """What happens in it are the span's children; it ends with it, and fails with it."""
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except BaseException as error:
            fail(span, _named(error))
            raise


@contextmanager
def step(name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: AttributeValue) -> Iterator[None]:
    """A part of the span that is current; nothing where that is not recorded."""
    if _recording is None or not trace.get_current_span().get_span_context().trace_flags.sampled:
        yield
        return
    with inside(_recording.tracer.start_span(name, kind=kind, attributes=attributes)):
        yield


def fail(span: Span, reason: str) -> None:
    span.set_status(Status(StatusCode.ERROR, reason))


def current_ids() -> dict[str, str]:
    """`trace_id` and `span_id` of the span that is current, for a line of the log; nothing where there is none."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _named(error: BaseException) -> str:
    sqlstate = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} {sqlstate}" if sqlstate else type(error).__name__


# Statements


class TracedConnection(asyncpg.Connection):
    """A session whose statements are spans, within a span. Their text is ours alone: values are arguments."""

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        with _statement(query):
            return await super().execute(query, *args, **options)

    async def executemany(self, command: str, args: Any, **options: Any) -> Any:
        with _statement(command):
            return await super().executemany(command, args, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        with _statement(query):
            return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        with _statement(query):
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        with _statement(query):
            return await super().fetchval(query, *args, **options)

    async def copy_records_to_table(self, table_name: str, **options: Any) -> Any:
        schema = options.get("schema_name")
        with _statement(f"COPY INTO {schema}.{table_name}" if schema else f"COPY INTO {table_name}"):
            return await super().copy_records_to_table(table_name, **options)


def connection_class() -> type[asyncpg.Connection]:
    """The class of the sessions that are opened now."""
    return TracedConnection if is_on() else asyncpg.Connection


def _statement(query: str) -> Any:
    name, text = _told(query)
    return step(name, SpanKind.CLIENT, **{"db.system.name": "postgresql", "db.query.text": text})


@lru_cache(maxsize=1024)
def _told(query: str) -> tuple[str, str]:
    """A statement's verb and first table, and its text on one line."""
    text = " ".join(query.split())
    table = _TABLE.search(text)
    verb = text.partition(" ")[0].rstrip(";")
    return f"{verb} {table[1]}" if table else verb, text[:STATEMENT_CHARACTERS_MAX]


def end(finish: Callable[[], None]) -> None:
    """Sends what is left. The collector being away is nobody's failure."""
    with suppress(Exception):
        finish()
