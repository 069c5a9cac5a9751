"""Supervision: however a parent ends, its servers end with it, and what they kept is there the next time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from deploy.local.postgres import unprivileged
from deploy.local.processes import started_at
from deploy.local.running import running_in, take_down
from deploy.local.stack import FolderInUse, Stack
from deploy.local.topics import create_topics, plan
from tests.local.supervised import GONE_SECONDS, assert_all_gone, command, processes_in, until_revived

PARENT = Path(__file__).with_name("parent.py")
ROOT = PARENT.parents[2]


def test_a_parent_that_is_killed_leaves_no_process(folder: Path) -> None:
    with parent(folder) as process:
        wait_for(process, "ready")
        assert len(processes_in(folder)) > 3  # the broker, the server and the server's own
        process.kill()
        assert_all_gone(folder)


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
def test_a_parent_that_is_killed_while_it_starts_leaves_no_process(folder: Path, delay: float) -> None:
    with parent(folder) as process:
        wait_for(process, "Starting Apache Kafka")
        time.sleep(delay)  # the moment within the start is what varies
        process.kill()
        assert_all_gone(folder)


async def test_after_ctrl_c_nothing_runs_and_everything_is_kept(folder: Path) -> None:
    with parent(folder) as process:
        _, kafka, postgres = wait_for(process, "ready").split()
        await leave_something(kafka, postgres)
        process.send_signal(signal.SIGINT)
        assert process.wait(GONE_SECONDS) == 128 + signal.SIGINT
        assert_all_gone(folder)
    with parent(folder) as process:
        _, kafka, postgres = wait_for(process, "ready").split()
        await assert_it_is_there(kafka, postgres)
        process.terminate()
        assert process.wait(GONE_SECONDS) == 128 + signal.SIGTERM
        assert_all_gone(folder)


def test_an_ordinary_user_needs_nothing_special(folder: Path) -> None:
    """As root we become somebody else first, as an ordinary user we are one."""
    with parent(folder, become=unprivileged(), kafka="none:9092") as process:
        wait_for(process, "ready")
        process.kill()
        assert_all_gone(folder)


def test_a_folder_serves_one_process_at_a_time(folder: Path) -> None:
    with parent(folder, kafka="none:9092") as process:
        wait_for(process, "ready")
        with pytest.raises(FolderInUse, match="another process"):
            Stack(folder).start()


async def test_a_killed_server_comes_back_with_all_it_acknowledged(folder: Path) -> None:
    stack = Stack(folder, environment={"KELLO_KAFKA": "none:9092"})
    with stack:
        assert stack.server is not None
        connection = await asyncpg.connect(stack.postgres)
        await connection.execute("CREATE TABLE kept (id integer); INSERT INTO kept VALUES (1)")
        stack.server.kill()
        stack.server.start()
        assert stack.server.dsn == stack.postgres
        connection.terminate()
        connection = await asyncpg.connect(stack.postgres)
        assert await connection.fetchval("SELECT id FROM kept") == 1
        await connection.close()


def test_up_twice_is_up_once_and_what_ends_is_started_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELLO_KAFKA", "none:9092")  # PostgreSQL alone is quicker
    monkeypatch.delenv("KELLO_POSTGRES", raising=False)
    try:
        assert "Starting PostgreSQL" in command("up", folder, "--only-servers").stdout
        first = running_in(folder)
        assert first
        assert command("up", folder, "--only-servers").stdout.split() == [
            "Kafka",
            "none:9092",
            "PostgreSQL",
            first.postgres,
        ]
        os.kill(first.processes["PostgreSQL"], signal.SIGKILL)
        again = until_revived(folder, first)
        assert (again.pid, again.postgres) == (first.pid, first.postgres)
        assert command("status", folder).stdout.count("alive") == 2
    finally:
        command("down", folder)
    assert running_in(folder) is None
    assert_all_gone(folder)
    assert command("down", folder).stdout == "Nothing was running\n"
    assert command("status", folder, code=3).stdout.startswith("Nothing is running")


def test_a_file_that_a_dead_supervisor_left_names_no_stranger(folder: Path) -> None:
    stranger = os.getpid()
    (folder / "running.json").write_text(f'{{"pid": {stranger}, "started": 1, "ready": true}}')
    assert running_in(folder) is None
    assert not take_down(folder, print)
    assert started_at(stranger) != 1


@contextmanager
def parent(
    folder: Path, *, become: Sequence[str] = (), kafka: str = "", postgres: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """The program of parent.py; whatever the test does, it is ended."""
    named = {"KELLO_KAFKA": kafka, "KELLO_POSTGRES": postgres, "PYTHONPATH": str(ROOT)}
    command = [*become, sys.executable, str(PARENT), str(folder)]
    with subprocess.Popen(  # noqa: S603 - the test's own command
        command, env={**os.environ, **named}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            assert_all_gone(folder)


def wait_for(process: subprocess.Popen[str], word: str) -> str:
    """The next line that begins with the word."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(word):
            return line.strip()
    raise AssertionError(f"the parent ended with {process.wait()} and never said {word}")


async def leave_something(kafka: str, postgres: str) -> None:
    await create_topics(kafka, plan(), partitions=1)
    connection = await asyncpg.connect(postgres)
    await connection.execute("CREATE TABLE kept (id integer)")
    await connection.close()


async def assert_it_is_there(kafka: str, postgres: str) -> None:
    assert await create_topics(kafka, plan(), partitions=1) == []
    connection = await asyncpg.connect(postgres)
    assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    await connection.close()
