"""The topics of deploy/topics.yaml on a broker of ours: created where missing, compared where there."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from shared.operations import cluster
from shared.operations.topic_plan import Topic, plan_in

__all__ = ["PLAN", "Topic", "TopicsDiffer", "admin_client", "create_topics", "delete_topics", "plan"]

PLAN = Path(__file__).parents[1] / "topics.yaml"
REQUEST_SECONDS = 30


class TopicsDiffer(Exception):
    """Topics are there, but not as planned; the message says in which way, one line each."""


def plan(file: Path = PLAN) -> tuple[Topic, ...]:
    """The topics as the page says. Raises pydantic's ValidationError with the line's name."""
    return plan_in(file)


async def create_topics(
    kafka: str, topics: Iterable[Topic], *, prefix: str = "", partitions: int | None = None
) -> list[str]:
    """Create those that are missing, `prefix` before each name; gives the names created.

    `partitions` replaces the planned count, for tests. Raises TopicsDiffer where one is there with other partitions or
    settings: that is a person's to decide, since a count cannot grow without breaking the order of keys.
    """
    wanted = {prefix + topic.name: topic for topic in topics}
    async with admin_client(kafka) as admin:
        there = await admin.list_topics()
        missing = {name: topic for name, topic in wanted.items() if name not in there}
        created = await cluster.create(admin, missing, partitions)
        others = {name: topic for name, topic in wanted.items() if name not in created}
        differing = await cluster.differences(admin, others, partitions)
    if differing:
        raise TopicsDiffer("\n".join(map(str, differing)))
    return created


async def delete_topics(kafka: str, names: Sequence[str]) -> None:
    """Delete topics of a test; names that do not exist are passed over."""
    async with admin_client(kafka) as admin:
        await admin.delete_topics(list(names))


@asynccontextmanager
async def admin_client(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, closed at the end."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.split(","), request_timeout_ms=REQUEST_SECONDS * 1000)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
