"""What every test may ask for: a real Kafka and PostgreSQL, databases cloned from a template, topics of its own."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from deploy.local.databases import Database, clone_database, drop_databases, template_of
from deploy.local.sandboxes import Sandboxes
from deploy.local.stack import FolderInUse, Stack, lock_folder
from deploy.local.topics import Topic, create_topics, delete_topics, plan
from shared.harness.kello import Kello

STATE = Path(__file__).parents[1] / ".kello" / "tests"
PARTITIONS = 3

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("kello", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kello")


@dataclass(frozen=True)
class Topics:
    """Every topic of deploy/topics.yaml, made for one test: `topics("sales.events")` is its real name."""

    kafka: str
    prefix: str
    planned: tuple[Topic, ...]

    def __call__(self, name: str) -> str:
        return self.prefix + name


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


@pytest.fixture(scope="session")
def templates() -> dict[str, str]:
    """The template database of each service that this run has used."""
    return {}


@pytest.fixture
async def database(stack: Stack, templates: dict[str, str]) -> AsyncIterator[Callable[[str], Awaitable[Database]]]:
    """`await database("billing")`: a database of this test alone, migrated, with the roles of the service."""
    made: list[str] = []

    async def clone(service: str) -> Database:
        if service not in templates:
            templates[service] = await template_of(stack.postgres, service)
        made.append(f"test_{service}_{secrets.token_hex(6)}")
        return await clone_database(stack.postgres, service, templates[service], made[-1])

    yield clone
    await drop_databases(stack.postgres, made)


@pytest.fixture
async def topics(stack: Stack) -> AsyncIterator[Topics]:
    """All topics under a prefix of this test alone, three partitions each."""
    topics = Topics(stack.kafka, f"test-{secrets.token_hex(4)}.", plan())
    names = await create_topics(stack.kafka, topics.planned, prefix=topics.prefix, partitions=PARTITIONS)
    yield topics
    await delete_topics(stack.kafka, names)


def _remove_what_killed_runs_left() -> None:
    for folder in STATE.glob("*/"):
        try:
            with lock_folder(folder):
                shutil.rmtree(folder, ignore_errors=True)  # another run may remove it, too
        except FolderInUse:
            continue


@pytest.fixture
async def kello(
    stack: Stack, topics: Topics, database: Callable[[str], Awaitable[Database]], tmp_path: Path
) -> AsyncIterator[Kello]:
    """Kello for this test: nothing runs yet; `kello.running("billing")` starts what the test needs."""
    async with Sandboxes(tmp_path / "sandboxes") as sandboxes:
        kello = Kello(stack.kafka, topics.prefix, database, sandboxes)
        yield kello
        await kello.close()
