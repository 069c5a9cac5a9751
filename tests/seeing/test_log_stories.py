"""What a process says of one message or one task names its story, and a flood of the same is short."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
from prometheus_client.parser import text_string_to_metric_families

from shared.harness.kello import Kello
from shared.messaging.log_bound import ALIKE_AT_ONCE
from tests.messaging.sending import add


class Said:
    """A process of the probe, and what it has said so far."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.lines: list[dict[str, Any]] = []

    async def until(self, event: str) -> dict[str, Any]:
        """The next line of that event."""
        assert self.child.stdout is not None
        async with asyncio.timeout(60):
            while line := await self.child.stdout.readline():
                self.lines.append(orjson.loads(line))
                if self.lines[-1]["event"] == event:
                    return self.lines[-1]
        raise AssertionError(f"it ended and never said {event}")

    async def to_the_end(self) -> list[dict[str, Any]]:
        """Everything, once it was told to stop and did."""
        assert self.child.stdout is not None
        self.child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            self.lines += [orjson.loads(line) for line in (await self.child.stdout.read()).splitlines()]
        return self.lines


@asynccontextmanager
async def probe_process(environment: Mapping[str, str]) -> AsyncIterator[Said]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.messaging.victim",
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Said(child)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def test_bugs_are_told_a_few_times_each_with_its_story_and_counted_every_time(kello: Kello) -> None:
    commands = [add(amount=666) for _ in range(60)]
    async with probe_process(await kello.environment("probe")) as said:
        port = (await said.until("ready"))["http_port"]
        ids = await kello.publish(*commands)
        await kello.dead_letters("probe", 60)
        async with httpx.AsyncClient() as client:
            page = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        lines = await said.to_the_end()
    counted = {
        sample.labels["event"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "kello_log_lines_total"
    }
    for event in ("decision_failed", "dead_letter"):
        told = [line for line in lines if line["event"] == event]
        assert 1 <= len(told) <= ALIKE_AT_ONCE
        assert {line["correlation_id"] for line in told} <= set(ids)
        assert counted[event] >= 60


async def test_what_is_said_of_a_task_names_its_story(kello: Kello) -> None:
    await kello.rows(
        "probe",
        """
        INSERT INTO messaging.task (kind, key, root, payload, due_at, cause_source, cause_id, correlation_id)
        VALUES ('pay', 'broken', 'r', '{}', now(), 's', 'i', 'the-story')
        """,
    )
    async with probe_process(await kello.environment("probe")) as said:
        line = await said.until("task_unreadable")
    assert line["correlation_id"] == "the-story"
