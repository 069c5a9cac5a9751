"""What a running service tells of itself when things go wrong, and takes back when they are right again."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.sandboxes import Behaviour
from deploy.local.stack import Stack
from shared.harness.ground import kello_on
from shared.harness.kello import Kello, service_named
from shared.messaging import service
from shared.messaging.gauges import Gauges
from shared.messaging.offsets import Partition, Stand
from shared.messaging.topics import partition_of
from shared.messaging.versions import types_of_whole_subjects
from shared.schemas.customer import CustomerProfile
from tests.billing.orders import profile
from tests.messaging import probe
from tests.messaging.conftest import PARTITIONS
from tests.messaging.probe import Added
from tests.messaging.sending import add


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(service, "GAUGE_SECONDS", 0.1)


async def measured(kello: Kello, name: str, **labels: str) -> float:
    """The sum of the samples with these labels on the probe's page."""
    _, page = await kello.get("probe", "/metrics")
    return sum(
        sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if sample.name == name and {"service": "probe", **labels}.items() <= sample.labels.items()
    )


async def becomes(kello: Kello, name: str, least: float, most: float = float("inf"), **labels: str) -> None:
    async def is_there() -> bool:
        return least <= await measured(kello, name, **labels) <= most

    await kello.until(is_there, f"{name} {labels} is {least} to {most}")


async def test_what_waits_is_measured_until_it_is_done(kello: Kello) -> None:
    kello.sandboxes.gateway.script(Behaviour(delay_seconds=0.2), token="tok_slow_but_well")
    async with kello.running_service(probe.service(), roles=("consumer", "api")):
        await kello.publish(*(add(pay=True, text="tok_slow_but_well") for _ in range(5)), add(remind_days=3))
        await becomes(kello, "kello_outbox_rows", 6, 6)
        await becomes(kello, "kello_outbox_age_seconds", 0.3)
        await becomes(kello, "kello_relay_holds", 0, 0)
        await becomes(kello, "kello_tasks", 5, 5, kind="pay", state="due")
        await becomes(kello, "kello_tasks", 1, 1, kind="remind", state="later")
        await becomes(kello, "kello_task_late_seconds", 0.3, kind="pay")
        await becomes(kello, "kello_answers", 2, 2)
        assert await measured(kello, "kello_lag_records") == 0
        await kello.rows(
            "probe", "INSERT INTO messaging.outbox_blocked SELECT id, topic, key, 'x' FROM messaging.outbox"
        )
        await becomes(kello, "kello_outbox_blocked_rows", 6, 6)
        await becomes(kello, "kello_outbox_age_seconds", 0, 0)
        await kello.rows("probe", "DELETE FROM messaging.outbox_blocked")
    async with kello.running_service(probe.service()):
        await kello.settled("probe")
        await becomes(kello, "kello_outbox_rows", 0, 0)
        await becomes(kello, "kello_tasks", 0, 0, kind="pay")
        await becomes(kello, "kello_relay_holds", 1)
        assert await measured(kello, "kello_task_call_seconds_count", act="performed", end="answered") >= 5
        assert await measured(kello, "kello_task_call_seconds_sum", act="performed", end="answered") > 5 * 0.2


async def test_dead_letters_and_stopped_partitions_are_measured(kello: Kello) -> None:
    async with kello.running_service(probe.service(), dead_run_max=3):
        before = await measured(kello, "kello_dead_letters_total", kind="bug")
        counter = uuid4()
        await kello.publish(*(add(counter, amount=666) for _ in range(5)))
        await becomes(kello, "kello_stopped_partitions", 1, 1)
        assert await measured(kello, "kello_dead_letters_total", kind="bug") == before + 3
        elsewhere = next(each for each in iter(uuid4, None) if place_of(each) != place_of(counter))
        await kello.publish(add(elsewhere))
        await kello.expect(Added, counter_id=elsewhere)


def place_of(counter: UUID) -> int:
    return partition_of(str(counter).encode(), 0, PARTITIONS)


def test_lag_is_told_of_partitions_that_are_ours_and_no_longer() -> None:
    partition, gauges = Partition("probe.events", 0), Gauges("measured")
    place: dict[str, Any] = {"service": "measured", "topic": "probe.events", "partition": "0"}
    gauges.lag({partition: 12}, {partition: Stand(5, None, 0)})
    assert REGISTRY.get_sample_value("kello_lag_records", place) == 7
    assert REGISTRY.get_sample_value("kello_lag_seconds", place) == pytest.approx(0, abs=1)
    gauges._behind_since[partition] -= 90
    gauges.lag({partition: 12}, {partition: Stand(6, None, 0)})
    assert REGISTRY.get_sample_value("kello_lag_seconds", place) == pytest.approx(90, abs=1)
    gauges.lag({partition: 12}, {partition: Stand(12, None, 0)})
    assert REGISTRY.get_sample_value("kello_lag_seconds", place) == 0
    gauges.lag({}, {})
    assert REGISTRY.get_sample_value("kello_lag_records", place) is None


async def test_a_version_that_never_came_is_counted(stack: Stack, tmp_path: Any) -> None:
    labels = {"service": "billing", "type": CustomerProfile.ce_type}
    async with kello_on(stack, tmp_path / "sandboxes") as kello, kello.running("billing"):
        before = REGISTRY.get_sample_value("kello_version_gaps_total", labels) or 0
        first = profile(uuid4())
        for version in (4, 5, 5, 7):
            await kello.publish(first.model_copy(update={"version": version}))
        await kello.settled()
        assert REGISTRY.get_sample_value("kello_version_gaps_total", labels) == before + 1


def test_versions_are_watched_where_a_service_hears_the_whole_subject() -> None:
    def watched(name: str) -> set[str]:
        return types_of_whole_subjects(service_named(name).handlers.types)

    assert CustomerProfile.ce_type in watched("billing")
    assert CustomerProfile.ce_type in watched("notify")
    assert "kello.hr.salary-changed.v1" in watched("payroll")
    assert "kello.hr.employee-changed.v1" not in watched("notify"), "salaries are none of its business"
