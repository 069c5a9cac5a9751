"""The pytest plugin: the fixture `kello`, a Kello for each test, on one Kafka and one PostgreSQL for each run.

    async def test_our_shop_gets_its_invoice(kello: Kello) -> None:
        await kello.publish(PurchaseRecorded(...))
        invoice = await kello.expect(InvoiceIssued, customer_id=...)

Every test has topics, databases and sandboxes of its own. All services run, or those that the ini option
`kello_services` or the test's mark names: `@pytest.mark.kello("billing", dead_run_max=3)`, with settings for them.

The servers are those of KELLO_KAFKA and KELLO_POSTGRES; or containers, with KELLO_SERVERS=docker; or embedded. Nothing
is imported or started before a test asks for it. With pytest-xdist all workers share one pair of servers.
"""

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

try:
    from pytest_asyncio import fixture as async_fixture
except ModuleNotFoundError:  # Kello without [harness] is no reason for a run to fail that wants nothing of it
    async_fixture = cast("Any", pytest.fixture)

if TYPE_CHECKING:
    from deploy.local.stack import Stack
    from shared.harness.kello import Kello

FOLDER = ".kello/tests"
SHARED = pytest.StashKey["SharedServers"]()
MARK = "kello(*services, **settings): which services run in a test that takes the fixture kello, and with what settings"


@pytest.fixture(scope="session")
def kello_stack(pytestconfig: pytest.Config) -> Iterator["Stack"]:
    """The servers of this run: `kafka` is host:port, `postgres` the administrator's DSN."""
    try:
        from shared.harness.servers import servers  # noqa: PLC0415 - only who needs them imports them
    except ModuleNotFoundError as missing:
        pytest.fail(f"{missing}: tests with Kello need the packages of kello[harness]", pytrace=False)
    with servers(pytestconfig.rootpath / FOLDER, _shared_addresses(pytestconfig)) as stack:
        yield stack


@async_fixture
async def kello(kello_stack: "Stack", tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator["Kello"]:
    """Kello for this test alone, with its services running; gone at the end."""
    from deploy.local.services import service_names  # noqa: PLC0415 - as above
    from shared.harness.ground import kello_on  # noqa: PLC0415

    mark: pytest.Mark = request.node.get_closest_marker("kello") or pytest.mark.kello().mark
    services: list[str] | None = list(mark.args) or request.config.getini("kello_services")
    names = service_names() if services is None else services
    async with kello_on(kello_stack, tmp_path / "sandboxes") as kello, kello.running(*names, **mark.kwargs):
        yield kello


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("kello_services", "services that run in tests with the fixture kello (all)", "args", default=None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARK)


class SharedServers:
    """With pytest-xdist: the servers that the first process runs for its workers, from when the first wants them.

    A worker learns the folder when it starts, and says in there, once it has collected, that it has tests for them.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._root = config.rootpath / FOLDER
        self._open = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="kello-"))
        self._open.callback(shutil.rmtree, self.folder)
        config.add_cleanup(self._open.close)

    def start_when_wanted(self) -> None:
        from shared.harness.servers import servers  # noqa: PLC0415 - as above

        if (self.folder / "wanted").exists() and not (self.folder / "addresses").exists():
            stack = self._open.enter_context(servers(self._root))
            addresses = {"KELLO_KAFKA": stack.kafka, "KELLO_POSTGRES": stack.postgres}
            (self.folder / "addresses").write_text(json.dumps(addresses))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the first process, for each worker that starts."""
    shared = node.config.stash.setdefault(SHARED, None) or SharedServers(node.config)
    node.config.stash[SHARED] = shared
    node.workerinput["kello_servers"] = str(shared.folder)


def pytest_collection_finish(session: pytest.Session) -> None:
    """In a worker: whether any of its tests needs servers."""
    folder = getattr(session.config, "workerinput", {}).get("kello_servers")
    if folder and any("kello_stack" in getattr(item, "fixturenames", ()) for item in session.items):
        (Path(folder) / "wanted").touch()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """In the first process, before a worker that has collected is given its first test."""
    node.config.stash[SHARED].start_when_wanted()


def _shared_addresses(config: pytest.Config) -> dict[str, str]:
    """What a worker was told; nothing where no worker knew that a test would ask: it then runs servers of its own."""
    folder = getattr(config, "workerinput", {}).get("kello_servers")
    file = Path(folder or "") / "addresses"
    addresses: dict[str, str] = json.loads(file.read_text()) if folder and file.exists() else {}
    return addresses
