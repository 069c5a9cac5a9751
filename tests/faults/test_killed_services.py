"""A month in which services are killed at random moments: every promise holds all the same.

FAULTS_SECONDS says how long it burns, FAULTS_CUSTOMERS how much there is to do, and FAULTS_SEED repeats a run: the same
script and the same victims after the same pauses. `make faults` runs a long one.
"""

import asyncio
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from deploy.local.demo.month import run_month
from deploy.local.demo.proof import proof
from deploy.local.demo.script import script
from deploy.local.demo.world import SERVICES
from shared.harness.kello import Kello
from tests.faults.arson import Fire, standing
from tests.journeys.worlds import unseen, world_of

SEED = os.environ.get("FAULTS_SEED") or secrets.token_hex(3)
SECONDS = float(os.environ.get("FAULTS_SECONDS", "6"))
CUSTOMERS = int(os.environ.get("FAULTS_CUSTOMERS", "25"))
STAFF = 16
SECONDS_PER_KILL_MAX = 4.0


@pytest.mark.timeout(SECONDS * 3 + 300)
async def test_services_killed_at_random_moments_break_no_promise(kello: Kello, tmp_path: Path) -> None:
    print(f"FAULTS_SEED={SEED} FAULTS_SECONDS={SECONDS:g} FAULTS_CUSTOMERS={CUSTOMERS}")  # noqa: T201 - repeats the run
    written = script(SEED, CUSTOMERS, STAFF, datetime.now(UTC))
    world = await world_of(kello)
    async with standing(kello, tmp_path, SERVICES) as services:
        fire = Fire(services, Random(SEED))  # noqa: S311 - to be repeated, not to be secret
        burning = asyncio.create_task(fire.burn(SECONDS))

        async def on_day(day: int) -> None:
            if day == written.days - 1:
                await burning
                await fire.heal(kello)

        try:
            sent = await run_month(written, world, unseen(), on_day, SECONDS / written.days)
        finally:
            burning.cancel()
        async with world.watched() as watch:
            found = await proof(watch, sent, written.people)
    print(f"killed: {dict(fire.killed)}")  # noqa: T201 - what really happened
    assert {each.promise: each.offending for each in found if not each.holds} == {}
    assert fire.killed.total() >= SECONDS / SECONDS_PER_KILL_MAX, f"too few faults happened: {dict(fire.killed)}"
