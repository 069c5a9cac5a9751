"""Kello's services as operating-system processes: their environment, their logs, their readiness."""

import json
import os
import re
import secrets
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

from deploy.local.databases import Database, migrated_database
from deploy.local.ports import free_port
from deploy.local.processes import ROOT, Child, Program, spawn
from deploy.local.topics import create_topics, plan

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
PROBE_SECONDS = 2.0


def service_names() -> list[str]:
    """Every folder under services/ that can be run as `python -m services.<name>`."""
    return sorted(file.parent.name for file in (ROOT / "services").glob("*/__main__.py"))


async def prepare(
    kafka: str, postgres: str, services: Iterable[str], *, prefix: str = "", partitions: int | None = None
) -> dict[str, Database]:
    """Create what is missing: every topic, and a migrated database with its roles per service."""
    await create_topics(kafka, plan(), prefix=prefix, partitions=partitions)
    return {name: await migrated_database(postgres, name, database_name(prefix, name)) for name in services}


def database_name(prefix: str, service: str) -> str:
    """Whoever has topics of its own has databases of its own: `demo-1f.` and billing give demo_1f_billing."""
    return re.sub(r"[^a-z0-9]+", "_", prefix) + service


class Service(Program):
    """One service's process, which can be killed and started again; its address and token stay the same.

    `settings` are its environment variables beyond those that every service gets here (KELLO_GATEWAY_URL and so on).
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        kafka: str,
        database: Database,
        settings: Mapping[str, str],
        prefix: str = "",
        token: str = "",
    ) -> None:
        super().__init__(name)
        self.folder = folder
        self.port = free_port()
        self.token = token or secrets.token_urlsafe(18)
        self.environment = {
            **settings,
            "KELLO_KAFKA": kafka,
            "KELLO_DATABASE_URL": database.url,
            "KELLO_HTTP_PORT": str(self.port),
            "KELLO_TOPIC_PREFIX": prefix,
            "KELLO_API_TOKENS": json.dumps({self.token: [f"{name}:read"]}),
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_ready(self) -> None:
        """Wait until it consumes and answers."""
        self.process.wait_ready(self.is_ready, READY_SECONDS)

    def is_ready(self) -> bool:
        """What /readyz says now."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=PROBE_SECONDS) as answer:  # noqa: S310 - http, ours
                return bool(answer.status == 200)
        except OSError:
            return False

    def _spawn(self) -> Child:
        return spawn(
            self.name,
            [sys.executable, "-m", f"services.{self.name}"],
            log=self.folder / f"{self.name}.log",
            env={**os.environ, **self.environment},
            cwd=ROOT,
            stop_seconds=STOP_SECONDS,
        )


def stop_together(services: Iterable[Service]) -> None:
    """Ask all to end at once, then wait for each."""
    alive = [service for service in services if service.alive]
    for service in alive:
        service.process.send(service.process.stop_signal)
    for service in alive:
        service.stop()
