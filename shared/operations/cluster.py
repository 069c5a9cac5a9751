"""Planned topics on a cluster: created where missing, compared where there; never deleted, never grown."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from shared.operations.topic_plan import Topic

BROKERS_DEFAULT = -1  # replication is the cluster's own setting: 1 here, 3 in production
VISIBLE_SECONDS = 30
POLL_SECONDS = 0.02
OWN_SETTING = 1
"""The source of a setting that was made for this very topic, and is no default of the cluster's."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A topic that is there and not as planned; `setting` is `partitions` or one of Kafka's own."""

    topic: str
    setting: str
    found: str
    planned: str

    def __str__(self) -> str:
        if self.setting == "partitions":
            return f"{self.topic} has {self.found} partitions, planned are {self.planned}"
        return f"{self.topic} has {self.setting}={self.found}, planned is {self.planned}"


async def create(admin: AIOKafkaAdminClient, topics: Mapping[str, Topic], partitions: int | None = None) -> list[str]:
    """Creates topics, by their names on the cluster; gives those that were not created by somebody faster."""
    if not topics:
        return []
    response = await admin.create_topics([_new(name, topic, partitions) for name, topic in topics.items()])
    created = []
    for name, code, message, *_ in response.topic_errors:
        error = for_code(code)
        if code == 0:
            created.append(name)
        elif error is not TopicAlreadyExistsError:
            raise error(f"{name}: {message}")
    await described(admin, list(topics))
    return created


async def described(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, Any]:
    """What the broker says of topics, once every partition has a leader: brokers learn it later."""
    async with asyncio.timeout(VISIBLE_SECONDS):
        while True:
            rows = await admin.describe_topics(list(names)) if names else []
            if all(row["error_code"] == 0 and all(p["leader"] >= 0 for p in row["partitions"]) for row in rows):
                return {row["topic"]: row for row in rows}
            await asyncio.sleep(POLL_SECONDS)


async def differences(
    admin: AIOKafkaAdminClient, wanted: Mapping[str, Topic], partitions: int | None = None
) -> list[Difference]:
    """How topics that are there differ from the plan. `partitions` replaces the planned count."""
    there = await described(admin, wanted)
    found = []
    for name, topic in wanted.items():
        count, planned = len(there[name]["partitions"]), partitions or topic.partitions
        if count != planned:
            found.append(Difference(name, "partitions", str(count), str(planned)))
    for name, settings in (await _settings(admin, wanted)).items():
        found += [
            Difference(name, setting, str(settings[setting][0] if setting in settings else None), planned)
            for setting, planned in wanted[name].configuration().items()
            if setting not in settings or settings[setting][0] != planned
        ]
    return found


async def correct(admin: AIOKafkaAdminClient, topics: Mapping[str, Topic]) -> None:
    """Gives topics their planned settings. What else was set for them stays."""
    before = await _settings(admin, topics, only_planned=False)
    resources = [
        ConfigResource(
            ConfigResourceType.TOPIC,
            name,
            # this request replaces all that was set for a topic, so what was is told again
            configs={
                **{setting: value for setting, (value, source) in before[name].items() if source == OWN_SETTING},
                **topic.configuration(),
            },
        )
        for name, topic in topics.items()
    ]
    for response in await admin.alter_configs(resources):
        for code, message, _type, name in response.resources:
            if code:
                raise for_code(code)(f"{name}: {message}")


def by_topic(differences: Iterable[Difference]) -> dict[str, list[Difference]]:
    """The same, grouped."""
    found: dict[str, list[Difference]] = {}
    for each in differences:
        found.setdefault(each.topic, []).append(each)
    return found


def _new(name: str, topic: Topic, partitions: int | None) -> NewTopic:
    return NewTopic(
        name,
        num_partitions=partitions or topic.partitions,
        replication_factor=BROKERS_DEFAULT,
        replica_assignments={},
        topic_configs=topic.configuration(),
    )


async def _settings(
    admin: AIOKafkaAdminClient, topics: Mapping[str, Topic], *, only_planned: bool = True
) -> dict[str, dict[str, tuple[str, int]]]:
    """Settings of topics with their source, by name."""
    if not topics:
        return {}
    resources = [
        ConfigResource(
            ConfigResourceType.TOPIC,
            name,
            configs=dict.fromkeys(topic.configuration()) if only_planned else None,
        )
        for name, topic in topics.items()
    ]
    responses: Sequence[Any] = await admin.describe_configs(resources)
    return {
        name: {entry[0]: (entry[1], entry[3]) for entry in entries}
        for response in responses
        for _code, _message, _type, name, entries in response.resources
    }
