"""The shell: wrong settings, health, the watchdog, a drain that leaves nothing, logs that tell of nobody."""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from typing import Any

import asyncpg
import orjson
import pytest

from shared.harness.kello import Kello
from shared.messaging.adoption import adopt_what_kafka_has
from shared.messaging.service import Stuck, TopicsMissing, main
from shared.messaging.settings import ServiceSettings
from shared.messaging.topics import partitions_of
from tests.messaging import probe
from tests.messaging.probe import Added, Paid
from tests.messaging.sending import add, assert_told_exactly_once

GOOD = {
    "KELLO_KAFKA": "127.0.0.1:1",
    "KELLO_DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:1/x",
    "KELLO_GATEWAY_URL": "http://x",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KELLO_KAFKA", None),
        ("KELLO_DATABASE_URL", None),
        ("KELLO_GATEWAY_URL", None),
        ("KELLO_HTTP_PORT", "seventy"),
        ("KELLO_TOPIC_PREFIX", "a prefix with blanks"),
        ("KELLO_API_TOKENS", "secret-token"),
        ("KELLO_ROLES", '["juggler"]'),
        ("KELLO_ROLES", "consumer"),
        ("KELLO_BATCH_RECORDS_MAX", "0"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_its_name(
    name: str, value: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for each, good in GOOD.items():
        monkeypatch.setenv(each, good)
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exit_:
        main(probe.service())
    assert exit_.value.code == 64
    said = capsys.readouterr().err
    assert name.removeprefix("KELLO_") in said.upper()
    assert "secret" not in said
    assert "Traceback" not in said


async def test_health_sees_a_consume_loop_that_ended(kello: Kello) -> None:
    async with kello.running_service(probe.service()) as process:
        assert await kello.get("probe", "/healthz") == (200, {"status": "ok"})
        assert (await kello.get("probe", "/readyz"))[0] == 200
        status, metrics = await kello.get("probe", "/metrics")
        assert status == 200
        assert b"kello_outbox_rows" in metrics
        assert process._consumer is not None
        for task in process._consumer._subscriber.tasks:
            task.cancel()
        await kello.until(lambda: is_sick(kello), "health sees it")


async def is_sick(kello: Kello) -> bool:
    return (await kello.get("probe", "/healthz"))[0] == 503


async def test_the_watchdog_ends_a_process_in_which_nothing_moves(
    kello: Kello, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> Any:
        await asyncio.sleep(3600)

    monkeypatch.setattr(probe, "save", never)
    service = probe.service()
    await kello.publish(add())
    with pytest.raises(Stuck):
        async with kello.running_service(service, watchdog_seconds=1, drain_timeout_seconds=0.1) as process:
            await kello.until(lambda: has_stopped(process), "the watchdog")


async def has_stopped(process: Any) -> bool:
    return (
        process.http_port != 0
        and process._relay is not None
        and not any(task.get_name() == process.service.name and not task.done() for task in asyncio.all_tasks())
    )


async def test_a_drain_leaves_nothing_in_hand(kello: Kello) -> None:
    commands = [add(amount=n + 20, pay=n % 10 == 0, text="tok_ok") for n in range(300)]
    async with kello.running_service(probe.service(), batch_records_max=20) as process:
        await kello.publish(*commands)
        await kello.expect(Added)
        process.stop()
    (left,) = await kello.rows(
        "probe",
        """
        SELECT (SELECT count(*) FROM messaging.outbox) AS outbox,
            (SELECT count(*) FROM messaging.task WHERE state <> 'waiting') AS tasks
        """,
    )
    assert dict(left) == {"outbox": 0, "tasks": 0}
    async with kello.running_service(probe.service()):
        await kello.settled()
    await assert_told_exactly_once(kello, {each.counter_id: each.amount for each in commands})
    assert len(await kello.events(Paid)) == 30


async def test_missing_topics_are_not_made_by_the_way(kello: Kello) -> None:
    service = replace(probe.service(), consumes=("probe.commands", "nowhere.commands"))
    with pytest.raises(TopicsMissing, match=r"nowhere\.commands: kello topics apply"):
        async with kello.running_service(service, start_timeout_seconds=1):
            pass
    assert not await partitions_of([kello.kafka], [kello.prefix + "nowhere.commands"])


async def test_a_look_at_kafka_that_fails_says_why(kello: Kello) -> None:
    """And not that it was cancelled, which nobody did."""
    settings = ServiceSettings(**await kello.settings("probe"))
    connection = await asyncpg.connect(settings.database_url)
    await connection.close()
    for _ in range(5):
        with pytest.raises(asyncpg.InterfaceError):
            await adopt_what_kafka_has(connection, settings, "probe", ["probe.events"])


async def test_a_process_says_everything_in_json_and_nothing_of_anybody(kello: Kello) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.messaging.victim",
        env={**os.environ, **await kello.environment("probe")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await kello.publish(add(amount=666), add(text="forbidden somebody@example.org"), add(text="forbidden"))
        await kello.dead_letters("probe", 2, within=60)
        child.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(child.communicate(), 60)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode == 0, err
    lines = [orjson.loads(line) for line in out.splitlines()]
    assert {"ready", "decision_failed", "batch_is_halved", "draining"} <= {line["event"] for line in lines}
    failed = next(line for line in lines if line["event"] == "decision_failed")
    assert failed["exception"] == "ZeroDivisionError"
    assert "_added" in failed["places"][-1]
    assert all(line["service"] == "probe" for line in lines)
    assert b"example.org" not in out + err
    assert not err


async def test_a_drain_ends_well_although_the_group_has_gone_on_without_us(kello: Kello) -> None:
    command = add()
    async with kello.running_service(probe.service()) as process:
        await kello.publish(command)
        await kello.settled()
        assert process._claims is not None
        kafka = process._claims.kafka()
        assert kafka is not None
        kafka._coordinator.generation += 7  # as after a long sleep: the group refuses what we commit
        process.stop()
    async with kello.running_service(probe.service()):
        await kello.settled()
    await assert_told_exactly_once(kello, {command.counter_id: command.amount})
