"""What every test may ask for: a real Kafka and PostgreSQL, databases cloned from a template, topics of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from deploy.local.databases import Database
from deploy.local.stack import Stack
from shared.harness import kello
from shared.harness.ground import databases_on
from shared.operations.installation import service_named
from tests.contracts.strict import strict

pytest_plugins = ["shared.harness.plugin"]  # whoever installs Kello has it by its entry point
collect_ignore = ["examples"]  # the repositories of others: tests/harness runs them as their owners would

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("kello", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kello")


@pytest.fixture(scope="session", autouse=True)
def _services_read_what_they_declare() -> Iterator[None]:
    """A service in the process of a test gets no field of an event that its reads.py does not name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kello, "service_named", lambda name: strict(service_named(name)))
        yield


@pytest.fixture(scope="session")
def stack(kello_stack: Stack) -> Stack:
    """The servers of this run: KELLO_KAFKA and KELLO_POSTGRES, or embedded ones that end with it."""
    return kello_stack


@pytest.fixture(scope="session")
def kafka(stack: Stack) -> str:
    """host:port of the broker of this run."""
    return stack.kafka


@pytest.fixture
async def database(stack: Stack) -> AsyncIterator[Callable[[str], Awaitable[Database]]]:
    """`await database("billing")`: a database of this test alone, migrated, with the roles of the service."""
    async with databases_on(stack) as database:
        yield database
