"""What every test may ask for: a real Kafka and PostgreSQL, databases cloned from a template, topics of its own."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from deploy.local.databases import Database
from deploy.local.stack import FolderInUse, Stack, lock_folder
from shared.harness.ground import databases_on, kello_on
from shared.harness.kello import Kello

STATE = Path(__file__).parents[1] / ".kello" / "tests"

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("kello", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kello")


def pytest_configure(config: pytest.Config) -> None:
    """Tests run side by side share the servers: whoever starts the workers starts them, and tells by environment."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        servers = ExitStack()
        stack = servers.enter_context(_servers())
        os.environ["KELLO_KAFKA"], os.environ["KELLO_POSTGRES"] = stack.kafka, stack.postgres
        config.add_cleanup(servers.close)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The servers of this run: KELLO_KAFKA and KELLO_POSTGRES, or embedded ones that end with it."""
    with _servers() as running:
        yield running


@contextmanager
def _servers() -> Iterator[Stack]:
    _remove_what_killed_runs_left()
    folder = STATE / secrets.token_hex(4)
    with Stack(folder) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)  # another run may remove it, too


@pytest.fixture(scope="session")
def kafka(stack: Stack) -> str:
    """host:port of the broker of this run."""
    return stack.kafka


@pytest.fixture
async def database(stack: Stack) -> AsyncIterator[Callable[[str], Awaitable[Database]]]:
    """`await database("billing")`: a database of this test alone, migrated, with the roles of the service."""
    async with databases_on(stack) as database:
        yield database


def _remove_what_killed_runs_left() -> None:
    for folder in STATE.glob("*/"):
        try:
            with lock_folder(folder):
                shutil.rmtree(folder, ignore_errors=True)  # another run may remove it, too
        except FolderInUse:
            continue


@pytest.fixture
async def kello(stack: Stack, tmp_path: Path) -> AsyncIterator[Kello]:
    """Kello for this test: nothing runs yet; `kello.running("billing")` starts what the test needs."""
    async with kello_on(stack, tmp_path / "sandboxes") as kello:
        yield kello
