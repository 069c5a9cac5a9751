"""Traces across Kafka: a story goes on from record to record, and costs nothing where nobody records it."""

from typing import Any
from uuid import uuid4

import asyncpg
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from shared.harness.kello import Kello
from shared.messaging import tracing
from shared.messaging.relay import Relay
from shared.messaging.tasks import TaskRunner
from shared.messaging.unit import Unit
from shared.schemas.base import Payload
from tests.messaging import probe
from tests.messaging.probe import Added, Noted, Paid
from tests.messaging.sending import add, header, headers_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RECORDED = f"00-{TRACE}-00f067aa0ba902b7-01"
NOT_RECORDED = f"00-{TRACE}-00f067aa0ba902b7-00"


async def send(kello: Kello, payload: Payload, traceparent: str = "-") -> None:
    await kello.publish_raw(
        payload.topic,
        payload.kafka_key.encode(),
        payload.model_dump_json().encode(),
        headers_of(payload, **({} if traceparent == "-" else {"traceparent": traceparent})),
    )


def noted(amount: int = 1) -> Noted:
    return Noted(counter_id=uuid4(), note_id=uuid4(), amount=amount, version=1)


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def traceparent_of(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def is_under(span: ReadableSpan, parent: ReadableSpan) -> bool:
    context = parent.get_span_context()
    return span.parent is not None and context is not None and span.parent.span_id == context.span_id


def told(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(name)


async def test_a_story_goes_on_from_a_command_through_a_payment_to_its_event(
    kello: Kello, spans: InMemorySpanExporter
) -> None:
    command = add(pay=True, text="tok_ok")
    async with kello.running_service(probe.service()):
        await send(kello, command, RECORDED)
        await kello.expect(Paid, counter_id=command.counter_id)
        await kello.settled()
    (decided,) = named(spans, "decide kello.probe.add.v1")
    assert decided.kind is SpanKind.CONSUMER
    assert decided.parent is not None
    assert f"{decided.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert told(decided, "messaging.destination.name") == "probe.commands"
    (performed,) = named(spans, "perform pay")
    assert is_under(performed, decided)
    (outcome,) = named(spans, "decide task/pay")
    assert is_under(outcome, performed)
    carried = {header(each, "ce_type"): header(each, "traceparent") for each in await kello.records("probe.events")}
    assert carried[Added.ce_type] == traceparent_of(decided)
    assert carried[Paid.ce_type] == traceparent_of(outcome)
    assert all(f"{span.get_span_context().trace_id:032x}" == TRACE for span in (decided, performed, outcome))  # type: ignore[union-attr] # each has one
    links = [f"{link.context.span_id:016x}" for round_ in named(spans, "publish outbox") for link in round_.links]
    assert {traceparent_of(decided)[36:52], traceparent_of(outcome)[36:52]} <= set(links)


async def test_a_batch_is_one_span_with_links_and_its_statements_whatever_its_size(
    kello: Kello, spans: InMemorySpanExporter
) -> None:
    events = [noted() for _ in range(60)]
    for event in events:
        await send(kello, event, f"00-{uuid4().hex}-00f067aa0ba902b7-01")
    async with kello.running_service(probe.service()):
        await kello.settled()
    batches = [span for span in named(spans, "batch probe") if told(span, "messaging.batch.message_count")]
    assert sum(len(batch.links) for batch in batches) == 60
    assert len(batches) <= 6, "60 records are a handful of batches"
    for batch in batches:
        under = [span for span in spans.get_finished_spans() if is_under(span, batch)]
        names = [span.name for span in under]
        for each in ("open", "load", "save", "close", "BEGIN", "COMMIT", "COPY messaging.outbox"):
            assert names.count(each) == 1, names
        (loaded,) = [span for span in under if span.name == "load"]
        statements = [span for span in spans.get_finished_spans() if is_under(span, loaded)]
        assert [span.name for span in statements] == ["SELECT counter", "SELECT copy"]
        assert told(statements[0], "db.query.text").endswith("ORDER BY id FOR UPDATE")
        assert statements[0].kind is SpanKind.CLIENT


async def test_who_is_not_recorded_passes_through_unchanged(kello: Kello, spans: InMemorySpanExporter) -> None:
    without, with_one = noted(), noted()
    async with kello.running_service(probe.service()):
        await send(kello, without)
        await send(kello, with_one, NOT_RECORDED)
        await kello.expect(Added, counter_id=without.counter_id)
        await kello.expect(Added, counter_id=with_one.counter_id)
        await kello.settled()
    carried = {
        (each.key or b"").decode(): dict(each.headers).get("traceparent")
        for each in await kello.records("probe.events")
    }
    assert carried == {str(without.counter_id): None, str(with_one.counter_id): NOT_RECORDED.encode()}
    assert not [span for span in spans.get_finished_spans() if span.name.startswith("decide")]


async def test_a_dead_letter_is_a_span_whoever_sent_it(kello: Kello, spans: InMemorySpanExporter) -> None:
    refused, bug = noted(13), noted(666)
    async with kello.running_service(probe.service()):
        await send(kello, refused, RECORDED)
        await send(kello, bug, NOT_RECORDED)
        await kello.publish_raw("noted.events", b"k", b"{", headers_of(noted()))
        letters = await kello.dead_letters("probe", 3)
        await kello.settled()
    told_of = {told(span, "kello.dead.kind"): span for span in named(spans, "dead letter")}
    assert set(told_of) == {"refused", "bug", "poison"}
    assert {told(span, "kello.dead.id") for span in told_of.values()} == {
        header(each, "kello_dead_id") for each in letters
    }
    assert all(span.status.status_code is StatusCode.ERROR for span in told_of.values())
    assert told_of["refused"].parent is not None
    assert told_of["bug"].parent is None
    assert [f"{link.context.span_id:016x}" for link in told_of["bug"].links] == ["00f067aa0ba902b7"]
    (decided,) = named(spans, "decide kello.probe.noted.v1")
    assert decided.status.description == "refused: unlucky"
    assert {header(each, "traceparent") for each in letters if b"traceparent" in str(each.headers).encode()} == {
        RECORDED,
        NOT_RECORDED,
    }, "a letter keeps the header that it came with"


async def test_no_span_holds_what_somebody_said(kello: Kello, spans: InMemorySpanExporter) -> None:
    """Not in a statement's text, not in an error: values are arguments, and of errors only the class is told."""
    async with kello.running_service(probe.service()):
        await send(kello, add(text="forbidden"), RECORDED)
        await send(kello, add(amount=666), RECORDED)
        await send(kello, add(pay=True, text="tok_down"), RECORDED)
        await kello.dead_letters("probe", 2)
        await kello.settled()
    whole = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "example.org" not in whole
    assert "forbidden" not in whole
    assert "rolled back" in whole, "a batch that PostgreSQL refuses is a span, too"


async def test_a_process_without_traces_is_wired_of_the_plain_parts(kello: Kello) -> None:
    """So nothing that records runs, for a batch or for a message."""
    assert not tracing.is_on()
    async with kello.running_service(probe.service()) as process:
        assert process._consumer is not None
        assert type(process._consumer._unit) is Unit
        assert type(process._relay) is Relay
        assert type(process._tasks) is TaskRunner
        assert tracing.connection_class() is asyncpg.Connection
        assert process._consumer._unit._load is probe.load
