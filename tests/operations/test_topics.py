"""`kello topics`: a cluster comes to be as planned, nothing is deleted, and what only a person can decide is named."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.kafka import Kafka
from deploy.local.topics import admin_client, create_topics, delete_topics, plan
from shared.harness.kello import Kello
from shared.operations.cluster import differences
from tests.operations.conftest import Command

AUTHORIZER = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""

PLAN = """
billing.commands: {partitions: 2, retention: 30 days, owner: billing, writers: [anyone], readers: [billing]}
billing.events: {partitions: 2, retention: forever, owner: billing, writers: [], readers: [customer]}
customer.profiles: {partitions: 2, retention: compacted, owner: customer, writers: [], readers: [billing]}
"""


@pytest.fixture
async def place(kello: Kello, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """A prefix of its own, with nothing there, and a plan."""
    file = tmp_path / "topics.yaml"
    file.write_text(PLAN)
    prefix = f"test-{secrets.token_hex(4)}."
    yield {"KELLO_TOPIC_PREFIX": prefix, "KELLO_TOPICS": str(file)}
    await delete_topics(kello.kafka, [prefix + topic.name for topic in plan()])


async def test_what_is_missing_is_created_and_then_nothing_is(command: Command, place: dict[str, str]) -> None:
    prefix = place["KELLO_TOPIC_PREFIX"]
    planned = (await command("topics", "plan", "--json", environment=place)).document
    assert planned["create"] == [prefix + name for name in ("billing.commands", "billing.events", "customer.profiles")]
    await command("topics", "check", code=1, environment=place)
    assert "add --yes" in (await command("topics", "apply", environment=place)).out
    await command("topics", "check", code=1, environment=place)
    await command("topics", "apply", "--yes", environment=place)
    assert "as planned" in (await command("topics", "check", environment=place)).out


async def test_settings_are_corrected_and_partitions_left_to_a_person(
    kello: Kello, command: Command, place: dict[str, str]
) -> None:
    prefix = place["KELLO_TOPIC_PREFIX"]
    topics = {topic.name: topic for topic in plan()}
    events = topics["billing.events"].model_copy(update={"compacted": True})
    await create_topics(kello.kafka, [events, topics["sales.events"]], prefix=prefix, partitions=3)
    await create_topics(kello.kafka, [topics["billing.dead-letters"]], prefix=prefix, partitions=1)
    found = (await command("topics", "check", "--json", code=1, environment=place)).document
    assert {
        "topic": f"{prefix}billing.events",
        "setting": "cleanup.policy",
        "found": "compact",
        "planned": "delete",
    } in (found["set"])
    assert [each["topic"] for each in found["by_hand"]] == [f"{prefix}billing.events"]
    assert found["unplanned"] == [f"{prefix}billing.dead-letters"]
    said = await command("topics", "apply", "--yes", code=1, environment=place)
    assert "by hand" in said.out
    async with admin_client(kello.kafka) as admin:
        assert not await differences(admin, {f"{prefix}billing.events": topics["billing.events"]}, 3)


async def test_a_plan_is_asked_for_and_must_be_one(command: Command, tmp_path: Path) -> None:
    await command("topics", "check", code=2, environment={"KELLO_TOPICS": str(tmp_path / "none.yaml")})
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(PLAN.replace("30 days", "a while"))
    said = await command("topics", "check", "--file", str(wrong), code=2)
    assert "billing.commands" in said.err or "days" in said.err


async def test_acls_follow_from_the_plan_where_brokers_know_them(
    command: Command, place: dict[str, str], tmp_path: Path
) -> None:
    assert not (await command("topics", "plan", "--json", environment=place)).document["has_authorizer"]
    broker = Kafka(tmp_path / "kafka", more_properties=AUTHORIZER)
    broker.start()
    try:
        there = {**place, "KELLO_KAFKA": broker.address, "KELLO_TOPIC_PREFIX": ""}
        planned = (await command("topics", "plan", "--json", environment=there)).document
        assert "User:* may write topic billing.commands" in planned["allow"]
        assert "User:customer may read topic billing.events" in planned["allow"]
        assert "User:billing may read group billing" in planned["allow"]
        assert "User:customer may write topic billing.events" not in planned["allow"]
        await command("topics", "apply", "--yes", environment=there)
        checked = (await command("topics", "check", "--json", environment=there)).document
        assert checked["has_authorizer"]
        assert not checked["allow"]
        smaller = tmp_path / "smaller.yaml"
        smaller.write_text(PLAN.replace("readers: [customer]", "readers: []"))
        checked = (await command("topics", "check", "--json", "--file", str(smaller), environment=there)).document
        assert "User:customer may read topic billing.events" in checked["unplanned"]
    finally:
        broker.stop()
