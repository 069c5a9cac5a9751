"""The topics of deploy/topics.yaml on a broker: created where missing, compared where there, never deleted or grown."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

PLAN = Path(__file__).parents[1] / "topics.yaml"
RECORD_BYTES_MAX = 2 * 1024 * 1024
DEAD_LETTER_BYTES_MAX = RECORD_BYTES_MAX + 64 * 1024  # any record that was taken fits, with the headers that say why
ERASURE_DAYS = 30
BROKERS_DEFAULT = -1  # replication is the cluster's own setting: 1 here, 3 in production
REQUEST_SECONDS = 30
VISIBLE_SECONDS = 30
POLL_SECONDS = 0.02


def _to_timedelta(text: str) -> timedelta | None:
    if text in ("forever", "compacted"):
        return None
    number, unit = text.split()
    if unit not in ("day", "days"):
        raise ValueError("a retention is a number of days, or forever, or compacted")
    return timedelta(days=int(number))


class Topic(BaseModel):
    """One topic of the plan, by its logical name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z]+\.(events|commands|profiles|dead-letters)$")
    partitions: int = Field(ge=1, le=1000)
    compacted: bool
    retention: Annotated[timedelta | None, BeforeValidator(_to_timedelta)]
    personal_data: bool = False
    owner: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]

    @model_validator(mode="before")
    @classmethod
    def _see_compaction(cls, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "compacted": row.get("retention") == "compacted"}

    @model_validator(mode="after")
    def _forget_people_in_time(self) -> "Topic":
        if self.personal_data and not self.compacted and (self.retention or timedelta.max).days > ERASURE_DAYS:
            raise ValueError(f"{self.name} holds personal data: its retention must not exceed {ERASURE_DAYS} days")
        return self

    def configuration(self) -> dict[str, str]:
        """Kafka's own settings of the topic. Retention counts from the broker's clock: a client's may be wrong."""
        dead = self.name.endswith(".dead-letters")
        settings = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "max.message.bytes": str(DEAD_LETTER_BYTES_MAX if dead else RECORD_BYTES_MAX),
            "message.timestamp.type": "LogAppendTime",
            "retention.ms": str(-1 if self.retention is None else int(self.retention.total_seconds() * 1000)),
        }
        if self.compacted:  # an erased person is gone from the log within a week, the tombstone stays for slow readers
            settings |= {"max.compaction.lag.ms": _days(7), "segment.ms": _days(1), "delete.retention.ms": _days(30)}
        return settings


class TopicsDiffer(Exception):
    """Topics are there, but not as planned; the message says in which way, one line each."""


def plan(file: Path = PLAN) -> tuple[Topic, ...]:
    """The topics as the page says. Raises pydantic's ValidationError with the line's name."""
    rows = yaml.safe_load(file.read_text())
    return TypeAdapter(tuple[Topic, ...]).validate_python([{"name": name, **row} for name, row in rows.items()])


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
        missing = [_new(name, topic, partitions) for name, topic in wanted.items() if name not in there]
        created = await _create(admin, missing)
        found = await _visible(admin, list(wanted))
        differing = await _differences(
            admin, {name: wanted[name] for name in wanted if name not in created}, found, partitions
        )
    if differing:
        raise TopicsDiffer("\n".join(differing))
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


def _days(number: int) -> str:
    return str(int(timedelta(days=number).total_seconds() * 1000))


def _new(name: str, topic: Topic, partitions: int | None) -> NewTopic:
    return NewTopic(
        name,
        num_partitions=partitions or topic.partitions,
        replication_factor=BROKERS_DEFAULT,
        replica_assignments={},
        topic_configs=topic.configuration(),
    )


async def _create(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> list[str]:
    """Gives the names of those that were created by us and not by somebody who was faster."""
    if not topics:
        return []
    response = await admin.create_topics(topics)
    created = []
    for name, code, message, *_ in response.topic_errors:
        error = for_code(code)
        if code == 0:
            created.append(name)
        elif error is not TopicAlreadyExistsError:
            raise error(f"{name}: {message}")
    return created


async def _visible(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, Any]:
    """What the broker says of the topics, once every partition has a leader: brokers learn it later."""
    async with asyncio.timeout(VISIBLE_SECONDS):
        while True:
            rows = await admin.describe_topics(names) if names else []
            if all(row["error_code"] == 0 and all(p["leader"] >= 0 for p in row["partitions"]) for row in rows):
                return {row["topic"]: row for row in rows}
            await asyncio.sleep(POLL_SECONDS)


async def _differences(
    admin: AIOKafkaAdminClient, wanted: dict[str, Topic], there: dict[str, Any], partitions: int | None
) -> list[str]:
    lines = []
    for name, topic in wanted.items():
        count, planned = len(there[name]["partitions"]), partitions or topic.partitions
        if count != planned:
            lines.append(f"{name} has {count} partitions, planned are {planned}")
    for name, found in (await _configurations(admin, wanted)).items():
        for setting, planned_value in wanted[name].configuration().items():
            if found.get(setting) != planned_value:
                lines.append(f"{name} has {setting}={found.get(setting)}, planned is {planned_value}")
    return lines


async def _configurations(admin: AIOKafkaAdminClient, topics: dict[str, Topic]) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, name, configs=dict.fromkeys(topic.configuration()))
        for name, topic in topics.items()
    ]
    responses = await admin.describe_configs(resources)
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for response in responses
        for _code, _message, _type, name, entries in response.resources
    }
