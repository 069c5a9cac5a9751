"""Topics: the plan keeps what the design demands, and a broker gets exactly what is planned."""

import secrets

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError
from pydantic import ValidationError

from deploy.local.topics import Topic, TopicsDiffer, admin_client, create_topics, delete_topics, plan

SERVICES = ("billing", "customer", "notify", "payroll")


def test_every_service_has_its_commands_events_and_dead_letters() -> None:
    names = {topic.name for topic in plan()}
    wanted = {f"{service}.{kind}" for service in SERVICES for kind in ("commands", "events", "dead-letters")}
    assert names == wanted | {"customer.profiles", "sales.events", "hr.events"}


def test_topics_that_share_keys_have_equal_partition_counts() -> None:
    assert len({topic.partitions for topic in plan() if not topic.name.endswith(".dead-letters")}) == 1


def test_personal_data_is_not_kept_beyond_the_deadline_for_erasure() -> None:
    with pytest.raises(ValidationError, match="must not exceed 30 days"):
        Topic.model_validate(
            {
                "name": "billing.commands",
                "partitions": 1,
                "retention": "31 days",
                "personal_data": True,
                "owner": "billing",
                "writers": [],
                "readers": [],
            }
        )


async def test_topics_are_created_once_and_with_their_settings(kafka: str) -> None:
    prefix = f"test-{secrets.token_hex(4)}."
    names = [prefix + topic.name for topic in plan()]
    try:
        assert await create_topics(kafka, plan(), prefix=prefix, partitions=2) == names
        assert await create_topics(kafka, plan(), prefix=prefix, partitions=2) == []
        async with admin_client(kafka) as admin:
            found = await admin.describe_topics(names)
        assert {len(topic["partitions"]) for topic in found} == {2}
    finally:
        await delete_topics(kafka, names)


async def test_a_topic_that_differs_is_named_and_left_alone(kafka: str) -> None:
    prefix = f"test-{secrets.token_hex(4)}."
    events = next(topic for topic in plan() if topic.name == "billing.events")
    other = events.model_copy(update={"partitions": 3, "compacted": True})
    await create_topics(kafka, [events], prefix=prefix, partitions=2)
    try:
        with pytest.raises(TopicsDiffer) as found:
            await create_topics(kafka, [other], prefix=prefix)
        assert f"{prefix}billing.events has 2 partitions, planned are 3" in str(found.value)
        assert f"{prefix}billing.events has cleanup.policy=delete, planned is compact" in str(found.value)
    finally:
        await delete_topics(kafka, [prefix + events.name])


async def test_use_creates_no_topic(kafka: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka, request_timeout_ms=2000) as producer:
        with pytest.raises((UnknownTopicOrPartitionError, TimeoutError)):
            await producer.partitions_for(f"test-{secrets.token_hex(4)}")
