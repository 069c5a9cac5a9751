"""The plan of topics, as deploy/topics.yaml has it: what each must be on a cluster, and who may do what with it."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from shared.operations.wire import DESCRIBE, GROUP, READ, TOPIC, WRITE, Acl

RECORD_BYTES_MAX = 2 * 1024 * 1024
DEAD_LETTER_BYTES_MAX = RECORD_BYTES_MAX + 64 * 1024  # any record that was taken fits, with the headers that say why
ERASURE_DAYS = 30
ANYONE = "anyone"


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
        if self.compacted:
            # A reader whose database comes back from a backup of the last days reads every record as it was then; an
            # erased person is gone from the log within a week; the tombstone stays for slow readers.
            settings |= {"min.compaction.lag.ms": _days(3), "max.compaction.lag.ms": _days(7)}
            settings |= {"segment.ms": _days(1), "delete.retention.ms": _days(30)}
        return settings


def plan_in(file: Path) -> tuple[Topic, ...]:
    """The topics as a file says. Raises pydantic's ValidationError with the line's name."""
    rows = yaml.safe_load(file.read_text())
    return TypeAdapter(tuple[Topic, ...]).validate_python([{"name": name, **row} for name, row in rows.items()])


def acls_for(topics: Iterable[Topic], prefix: str = "") -> set[Acl]:
    """Who may do what, on a cluster that denies the rest: one principal for each service, named like it.

    The owner writes and reads (a relay looks at what it has published), writers write, readers read under their group.
    Operators' tools run as a super user of the cluster.
    """
    found: set[Acl] = set()
    for topic in topics:
        name = prefix + topic.name
        writers = {topic.owner, *topic.writers}
        readers = {topic.owner, *topic.readers}
        found |= {Acl(TOPIC, name, _principal(who), WRITE) for who in writers}
        found |= {Acl(TOPIC, name, _principal(who), READ) for who in readers}
        found |= {Acl(TOPIC, name, _principal(who), DESCRIBE) for who in writers | readers}
        found |= {Acl(GROUP, prefix + who, _principal(who), READ) for who in topic.readers}
    return found


def _principal(who: str) -> str:
    return "User:*" if who == ANYONE else f"User:{who}"


def _days(number: int) -> str:
    return str(int(timedelta(days=number).total_seconds() * 1000))
