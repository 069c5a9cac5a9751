"""A process with a collector sends it what it recorded, and its end waits for nobody."""

import asyncio
import os
import signal
import sys
from time import monotonic

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

from shared.harness.kello import Kello
from shared.messaging import tracing
from tests.messaging.probe import Added
from tests.messaging.sending import add


async def test_a_process_sends_its_spans_to_the_collector_that_it_is_told(kello: Kello) -> None:
    received: dict[str, set[str]] = {}

    async def collect(request: web.Request) -> web.Response:
        for resource in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            told = {each.key: each.value.string_value for each in resource.resource.attributes}
            spans = received.setdefault(f"{told['service.namespace']}/{told['service.name']}", set())
            spans.update(span.name for scope in resource.scope_spans for span in scope.spans)
        return web.Response()

    collector = web.Application()
    collector.router.add_post("/v1/traces", collect)
    runner = web.AppRunner(collector)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.messaging.victim",
        env={
            **os.environ,
            **await kello.environment("probe"),
            "KELLO_TRACES_URL": f"http://{host}:{port}/v1/traces",
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        command = add()
        await kello.publish(command)
        await kello.expect(Added, counter_id=command.counter_id, within=60)
        child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(child.wait(), 60) == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        await runner.cleanup()
    assert {"batch probe", "decide kello.probe.add.v1", "load", "COMMIT", "publish outbox"} <= received["kello/probe"]


async def test_a_collector_that_is_away_delays_no_end() -> None:
    finish = tracing.configure("probe", "http://127.0.0.1:9/v1/traces", 1.0)
    try:
        with tracing.inside(tracing.begun("batch", SpanKind.CONSUMER, {})):
            pass
        began = monotonic()
        await asyncio.to_thread(tracing.end, finish)
    finally:
        tracing.switch_off()
    assert monotonic() - began < 2 * tracing.END_SECONDS


def test_what_begins_here_is_recorded_by_its_share_and_the_rest_as_its_sender_says() -> None:
    begins = f"00-{'1' * 32}-{'2' * 16}"
    assert not tracing.is_wanted(None, begins=True), "while traces are off"
    try:
        for ratio in (0.0, 0.5, 1.0):
            tracing.switch_on(TracerProvider(shutdown_on_exit=False), ratio)
            share = sum(tracing.is_wanted(None) for _ in range(2000)) / 2000
            assert abs(share - ratio) < 0.1
            assert tracing.is_wanted(None, begins=True)
            assert tracing.is_wanted(f"{begins}-01")
            assert tracing.is_wanted(f"{begins}-03")
            assert not tracing.is_wanted(f"{begins}-00", begins=True)
            assert not tracing.is_wanted(f"{begins}-02")
    finally:
        tracing.switch_off()
