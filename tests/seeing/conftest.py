"""Kello with the probe alone, and traces that are kept in memory."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deploy.local.stack import Stack
from shared.harness.kello import Kello
from shared.messaging import tracing
from tests.messaging.conftest import probe_kello


@pytest.fixture
async def kello(stack: Stack, tmp_path: Path) -> AsyncIterator[Kello]:
    async with probe_kello(stack, tmp_path / "sandboxes") as kello:
        yield kello


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Traces are on for this test; of the stories that begin here none is recorded, but for commands."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.switch_on(provider, ratio=0.0)
    yield exporter
    tracing.switch_off()
    provider.shutdown()
