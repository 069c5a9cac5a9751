"""An outage parks nothing: PostgreSQL and Kafka die and come back, and everything happens once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from deploy.local.stack import Stack
from shared.harness.kello import Kello
from tests.messaging import probe
from tests.messaging.conftest import probe_kello
from tests.messaging.sending import add, assert_told_exactly_once


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Stack]:
    """A Kafka and a PostgreSQL of this test alone, to be killed."""
    with Stack(tmp_path / "stack", environment={}) as stack:
        yield stack


@pytest.mark.timeout(240)
async def test_an_outage_parks_nothing(servers: Stack, tmp_path: Path) -> None:
    expected: dict[UUID, int] = {uuid4(): 0 for _ in range(20)}
    broker, server = servers.broker, servers.server
    assert broker is not None
    assert server is not None

    async def send(kello: Kello, rounds: int) -> None:
        for _ in range(rounds):
            await kello.publish(*(add(counter, pay=True, text="tok_ok") for counter in expected))
            for counter in expected:
                expected[counter] += 1

    async with (
        probe_kello(servers, tmp_path / "sandboxes") as kello,
        kello.running_service(probe.service()),
        kello.running_service(probe.service()),
    ):
        await send(kello, 3)
        for _ in range(2):
            server.kill()
            await send(kello, 3)
            await asyncio.sleep(1)
            server.start()
            await send(kello, 3)
        await kello.settled(within=60)
        await send(kello, 2)
        broker.kill()
        await asyncio.sleep(2)
        broker.launch()
        await asyncio.to_thread(broker.wait_ready)
        await send(kello, 2)
        await kello.settled(within=60)
        assert not await kello.dead_letters("probe")
        await assert_told_exactly_once(kello, expected)
        captures = [capture.reference for capture in kello.sandboxes.gateway.captures()]
        assert len(captures) == len(set(captures)) == sum(expected.values())
