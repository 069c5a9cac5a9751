"""The operator's command on a test's Kello: `await command("status", "--json")`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import structlog
from typer.testing import CliRunner

from deploy.local.topics import PLAN
from shared.harness.kello import Kello
from shared.operations.__main__ import app
from shared.operations.installation import Installation

SERVICES = ("billing", "customer", "notify", "payroll")


@dataclass(frozen=True)
class Said:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it said as JSON."""
        return orjson.loads(self.out)


Command = Callable[..., Awaitable[Said]]


async def operators_environment(kello: Kello, *services: str) -> dict[str, str]:
    """What the command is told of a test's Kello; of the services named, or of all."""
    urls = {name: (await kello.database(name)).owner_url for name in services or SERVICES}
    return {
        "KELLO_KAFKA": kello.kafka,
        "KELLO_DATABASES": orjson.dumps(urls).decode(),
        "KELLO_TOPIC_PREFIX": kello.prefix,
        "KELLO_TOPICS": str(PLAN),
    }


@pytest.fixture
async def installation(kello: Kello) -> Installation:
    """The test's Kello as the command sees it, with all services."""
    environment = await operators_environment(kello)
    return Installation.model_validate(
        {
            "kafka": environment["KELLO_KAFKA"],
            "databases": orjson.loads(environment["KELLO_DATABASES"]),
            "topic_prefix": environment["KELLO_TOPIC_PREFIX"],
            "topics": environment["KELLO_TOPICS"],
        }
    )


@pytest.fixture
async def command(kello: Kello) -> AsyncIterator[Command]:
    """Runs `kello` with some arguments, on all services; fails where it exits with another code than `code`.

    It runs in a thread, since it has an event loop of its own. `environment` adds to what it is told; None is any code.
    """
    # What services in this process log must not stand between what the command says.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))

    async def said(*arguments: str, code: int | None = 0, environment: dict[str, str] | None = None) -> Said:
        told = await operators_environment(kello) | (environment or {})
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=told, prog_name="kello")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert code is None or result.exit_code == code, result.output
        return Said(result.exit_code, result.stdout, result.stderr)

    yield said
    structlog.reset_defaults()
