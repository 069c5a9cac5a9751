"""Catching up: a million purchases wait; speed, memory and the group's membership are watched until all are billed."""

from collections.abc import Awaitable, Callable
from time import monotonic

from deploy.local.topics import admin_client
from tests.bench.contest import KELLO
from tests.bench.race import run
from tests.bench.report import Figure, Goal
from tests.bench.stage import Ground, Stage

CUSTOMERS = 100_000
LOOK_SECONDS = 1.0


def measure(stage: Stage, steady: float) -> list[Figure]:
    """Speed against `steady` events/s, growth of the memory, and how many members the group ever had."""
    count = 60_000 if stage.quick else 1_000_000
    stage.say(f"Catching up on {count:,} records")
    members: set[str] = set()
    done = run(stage, KELLO, count, CUSTOMERS, observe=_watching(members))
    speeds = done.thirds
    return [
        Figure(f"catching up on {count:,} records", "events/s", speeds, note="its thirds, after the first fifth"),
        Figure("catching up : steady", "x", tuple(speed / steady for speed in speeds), Goal(0.9)),
        Figure("catching up: memory, end : start", "x", (done.growth,), Goal(1.1, at_least=False)),
        Figure("catching up: memory, the most", "MiB", (max(done.resident_mib),), Goal(150, at_least=False)),
        Figure("catching up: members the group ever had", "members", (len(members),), Goal(1, at_least=False)),
    ]


def _watching(members: set[str]) -> Callable[[Ground], Awaitable[None]]:
    """Looks now and then who is in the group: one that lost its membership comes back under another id."""
    looked = 0.0

    async def observe(ground: Ground) -> None:
        nonlocal looked
        if monotonic() - looked < LOOK_SECONDS:
            return
        looked = monotonic()
        async with admin_client(ground.stage.kafka) as admin:
            found = await admin.describe_consumer_groups([ground.prefix + "billing"])
        members.update(member[0] for response in found for group in response.groups for member in group[5])

    return observe
