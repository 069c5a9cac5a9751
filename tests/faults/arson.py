"""Kills services at random moments, as crashes would, and counts what really happened."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from signal import SIGKILL
from time import monotonic

from deploy.local.services import Service, stop_together
from shared.harness.kello import Kello

PAUSE_SECONDS = (0.1, 1.2)
DOWN_SECONDS = (0.0, 0.4)
READY_SECONDS = 60.0
POLL_SECONDS = 0.1


@dataclass
class Fire:
    """Goes through the services and kills one after the other; each is started again."""

    services: Mapping[str, Service]
    rng: Random
    killed: Counter[str] = field(default_factory=Counter)
    """SIGKILLs that ended a process that had been alive, by service."""

    async def burn(self, seconds: float) -> None:
        """Kills, for so long. A service that is still starting is as good a victim as one at work."""
        end = monotonic() + seconds
        while monotonic() < end:
            await asyncio.sleep(self.rng.uniform(*PAUSE_SECONDS))
            victim = self.services[self.rng.choice(sorted(self.services))]
            if victim.alive:
                victim.kill()
                self.killed[victim.name] += victim.process.process.returncode == -SIGKILL
            await asyncio.sleep(self.rng.uniform(*DOWN_SECONDS))
            victim.launch()

    async def heal(self, kello: Kello) -> None:
        """Everything stops and starts once more; nobody is left to hold a lease, so each ends there and then."""
        await asyncio.to_thread(stop_together, self.services.values())
        for name in self.services:
            await kello.rows(
                name, "UPDATE messaging.task SET lease_until = clock_timestamp() WHERE lease_until IS NOT NULL"
            )
        for service in self.services.values():
            service.launch()
        await until_ready(self.services)


@asynccontextmanager
async def standing(kello: Kello, folder: Path, names: tuple[str, ...]) -> AsyncIterator[dict[str, Service]]:
    """The services as processes of their own, ready. They die with this one."""
    boxes = kello.sandboxes
    outside = {
        "KELLO_GATEWAY_URL": boxes.gateway.url,
        "KELLO_SMS_URL": boxes.sms.url,
        "KELLO_SMTP_HOST": "127.0.0.1",
        "KELLO_SMTP_PORT": str(boxes.mailbox.smtp_port),
    }
    services = {
        name: Service(
            name,
            folder,
            kafka=kello.kafka,
            database=await kello.database(name),
            settings=outside,
            prefix=kello.prefix,
        )
        for name in names
    }
    try:
        for service in services.values():
            service.launch()
        await until_ready(services)
        yield services
    finally:
        for service in services.values():
            with suppress(RuntimeError):  # never launched
                service.kill()


async def until_ready(services: Mapping[str, Service]) -> None:
    """Polls without holding up the event loop, in which the sandboxes live."""
    deadline = monotonic() + READY_SECONDS
    while not all([await asyncio.to_thread(service.is_ready) for service in services.values()]):
        assert monotonic() < deadline, "the services were not ready in time"
        for service in services.values():
            assert service.alive, f"{service.name} has ended:\n{service.process.log_tail()}"
        await asyncio.sleep(POLL_SECONDS)
