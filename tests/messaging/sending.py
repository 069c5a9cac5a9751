"""What the tests of the kit send and look for: commands of the probe in every state of repair."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson

from shared.harness.kello import Kello, RawRecord
from shared.schemas.base import Payload
from shared.schemas.envelope import Envelope, headers
from tests.messaging.probe import Add, Added

Headers = list[tuple[str, bytes | None]]


def add(counter_id: UUID | None = None, amount: int = 1, **fields: Any) -> Add:
    """A command that everybody likes, unless told otherwise."""
    return Add(counter_id=counter_id or uuid4(), amount=amount, issued_by="tests", **fields)


def headers_of(payload: Payload, **changes: bytes | str | None) -> Headers:
    """The headers of a good record, with some replaced: `ce_id=None` makes one null, `ce_id="-"` leaves it out."""
    envelope = Envelope(str(uuid4()), "tests", payload.ce_type, datetime.now(UTC), payload.subject)
    found: dict[str, bytes | None] = dict(headers(envelope))
    for word, value in changes.items():
        name = "content-type" if word == "content_type" else word
        if value == "-":
            del found[name]
        else:
            found[name] = value.encode() if isinstance(value, str) else value
    return list(found.items())


@dataclass(frozen=True)
class Raw:
    """A record as it goes out, and the fault that it has: kind and code."""

    what: str
    fault: str
    value: bytes | None = None
    key: bytes | None = None
    headers: Headers = field(default_factory=list)
    is_answered: bool = False


def raw(what: str, fault: str, *, is_answered: bool = False, **changes: Any) -> Raw:
    """A good command, spoiled: `value`, `key` replace its own, `fields` change its JSON, other words its headers."""
    command = add()
    content = orjson.loads(command.model_dump_json()) | changes.pop("fields", {})
    value = changes.pop("value", None) if "value" in changes else orjson.dumps(content)
    key = changes.pop("key", None) if "key" in changes else command.kafka_key.encode()
    return Raw(what, fault, value, key, headers_of(command, **changes), is_answered)


def header(record: RawRecord, name: str) -> str:
    """A header's text; of several the last one. KeyError where there is none."""
    return (dict(record.headers)[name] or b"").decode()


def distinct(records: Iterable[RawRecord]) -> list[RawRecord]:
    """The first record of each event: a crash may repeat one on the wire."""
    first: dict[tuple[str, str], RawRecord] = {}
    for record in records:
        first.setdefault((header(record, "ce_source"), header(record, "ce_id")), record)
    return list(first.values())


async def totals(kello: Kello) -> dict[UUID, int]:
    """What the database says of each counter, once it agrees with its own entries."""
    rows = await kello.rows("probe", "SELECT id, total FROM counter")
    entries = await kello.rows(
        "probe", "SELECT counter_id, sum(amount)::bigint AS total FROM entry GROUP BY counter_id"
    )
    stored = {row["id"]: row["total"] for row in rows}
    assert stored == {row["counter_id"]: row["total"] for row in entries}
    return stored


async def assert_told_exactly_once(kello: Kello, expected: dict[UUID, int]) -> None:
    """Each counter holds its sum, and its events say so: versions 1..n in order, each once by source and id."""
    assert await totals(kello) == expected
    events: dict[UUID, list[Added]] = {counter: [] for counter in expected}
    for record in distinct(await kello.records("probe.events")):
        if header(record, "ce_type") == Added.ce_type:
            added = Added.model_validate_json(record.value)
            events[added.counter_id].append(added)
    for counter, told in events.items():
        assert [each.version for each in told] == list(range(1, len(told) + 1))
        assert sum(each.amount for each in told) == expected[counter]
