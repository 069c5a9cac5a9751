"""How long a service takes from its launch to ready, and the whole demo where everything is cached."""

import os
import subprocess
from time import monotonic

from deploy.local.services import Service
from tests.bench.ensemble import ALL_TOPICS, SERVICES, assembled
from tests.bench.report import Figure, Goal, unmeasured
from tests.bench.stage import ROOT, STATE, Stage

ROUNDS = 3
DEMO_SECONDS_MAX = 300
DEMO = "make demo, warm"


def measure(stage: Stage) -> list[Figure]:
    """Each service alone on the machine, and `make demo` from its command to its end."""
    stage.say("Starting each service")
    with stage.ground(ALL_TOPICS) as ground:
        kello = assembled(ground)
        for service in kello.services.values():
            service.stop()
        starts = {name: tuple(_started(kello.services[name]) for _ in range(ROUNDS)) for name in SERVICES}
    slowest = Goal(3, at_least=False)
    return [
        *(Figure(f"{name}: launch to ready", "s", seconds, slowest) for name, seconds in starts.items()),
        _demo(stage),
    ]


def _started(service: Service) -> float:
    began = monotonic()
    service.start()
    took = monotonic() - began
    service.stop()
    return took


def _demo(stage: Stage) -> Figure:
    stage.say("make demo")
    goal = Goal(60, at_least=False)
    began = monotonic()
    with (STATE / "demo.log").open("w") as log:
        done = subprocess.run(
            ["make", "demo"],  # noqa: S607 - the make that runs us
            cwd=ROOT,
            env={**os.environ, "DEMO_CUSTOMERS": "50"} if stage.quick else os.environ,
            stdout=log,
            stderr=log,
            timeout=DEMO_SECONDS_MAX,
            check=False,
        )
    if done.returncode:
        return unmeasured(DEMO, "s", f"it ended with {done.returncode}: see {log.name}", goal)
    return Figure(DEMO, "s", (monotonic() - began,), goal, "with 50 customers" if stage.quick else "")
