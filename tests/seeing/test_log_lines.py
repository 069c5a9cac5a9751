"""A real outage of everything at once: the log stays short, says what is wrong, and says when it is over."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
import pytest

from deploy.local.sandboxes import Behaviour
from deploy.local.stack import Stack
from tests.messaging.conftest import probe_kello
from tests.messaging.probe import Added
from tests.messaging.sending import add

LINES_AT_ONCE_MAX = 150
LINES_PER_MINUTE = 30
"""What some twenty kinds of trouble may say: each a few lines at once, then one a minute."""
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "3"))


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Stack]:
    """A Kafka and a PostgreSQL of this test alone, to be killed."""
    with Stack(tmp_path / "stack", environment={}) as stack:
        yield stack


@pytest.mark.timeout(400)
async def test_minutes_without_kafka_postgresql_and_provider_write_few_lines(servers: Stack, tmp_path: Path) -> None:
    broker, server = servers.broker, servers.server
    assert broker is not None
    assert server is not None
    async with probe_kello(servers, tmp_path / "sandboxes") as kello:
        kello.sandboxes.gateway.script(Behaviour(unavailable_times=10_000), token="tok_down_for_long")
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.messaging.victim",
            env={**os.environ, **await kello.environment("probe")},
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        reading = asyncio.create_task(child.stdout.read())
        try:
            await kello.publish(*(add(pay=True, text="tok_down_for_long") for _ in range(50)))
            await kello.expect(Added, count=50, within=60)
            server.kill()
            await kello.publish(*(add() for _ in range(50)))
            began = monotonic()
            broker.kill()
            await asyncio.sleep(OUTAGE_SECONDS)
            server.start()
            broker.launch()
            await asyncio.to_thread(broker.wait_ready)
            last = add()
            await kello.publish(last)
            await kello.expect(Added, counter_id=last.counter_id, within=60)
            minutes = (monotonic() - began) / 60
            child.send_signal(signal.SIGTERM)
            lines = [orjson.loads(line) for line in (await asyncio.wait_for(reading, 30)).splitlines()]
        finally:
            reading.cancel()
            if child.returncode is None:
                child.kill()
                await child.wait()
    said = Counter(str(line["event"])[:40] for line in lines)
    left_out = sum(line.get("left_out", 0) for line in lines)
    print(f"{len(lines)} lines in {minutes:.1f} min, {left_out} left out:", said.most_common())  # noqa: T201 - to be read
    assert len(lines) < LINES_AT_ONCE_MAX + LINES_PER_MINUTE * minutes, said
    assert said["batch_waits"] or said["records_wait"], "it says what is wrong"
    assert said["relay_begins_anew"]
    assert all(is_short(line) for line in lines)


def is_short(line: dict[str, Any]) -> bool:
    return len(orjson.dumps(line)) < 4000
