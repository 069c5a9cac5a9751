"""The whole system from one command: four services, ready; revived when killed; gone with whoever started them."""

import json
import os
import shlex
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from deploy.local.examples import examples
from deploy.local.running import Running, running_in
from shared.schemas.customer import RegisterCustomer
from tests.local.supervised import assert_all_gone, command, until_revived

SERVICES = {"billing", "customer", "notify", "payroll"}


@pytest.fixture
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    for name in ("KELLO_KAFKA", "KELLO_POSTGRES"):  # this test is about servers of its own
        monkeypatch.delenv(name, raising=False)
    printed = command("up", folder).stdout
    found = running_in(folder)
    assert found is not None
    assert all(url in printed and token in printed for url, token in found.services.values())
    yield found
    command("down", folder)


def test_everything_runs_and_what_is_killed_runs_again(running: Running, folder: Path) -> None:
    assert running.services.keys() == SERVICES
    os.kill(running.processes["billing"], signal.SIGKILL)
    os.kill(running.processes["sandboxes"], signal.SIGKILL)
    again = until_revived(folder, running)
    assert (again.pid, again.services) == (running.pid, running.services)
    assert command("status", folder).stdout.count("alive") == len(running.processes) + 1
    url, token = running.services["customer"]
    request = urllib.request.Request(f"{url}/customers", headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - ours
        assert answer.status == 200
    os.kill(running.pid, signal.SIGKILL)
    assert_all_gone(folder)


def test_the_line_that_is_printed_publishes_a_valid_command() -> None:
    running = Running(1, 1, kafka="127.0.0.1:9092", services={"customer": ("http://127.0.0.1:80", "secret")})
    publish, watch, look = examples(running)
    words = shlex.split(publish)
    command = RegisterCustomer.model_validate(json.loads(words[1]))
    assert words[words.index("-k") + 1] == str(command.customer_id)
    assert words[words.index("-X") + 1] == "topic.partitioner=murmur2_random"
    headers = dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "-H")
    assert headers["ce_type"] == RegisterCustomer.ce_type
    assert UUID(headers["ce_id"])
    assert "-t customer.events" in watch
    assert look.endswith(f"/customers/{command.customer_id}")
