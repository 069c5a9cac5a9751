"""Bad input of every kind: one dead letter each, as it came, with a reason; neighbours are not disturbed."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from shared.harness.kello import Kello
from shared.schemas import registry
from tests.messaging import probe
from tests.messaging.probe import Add, Added, CommandRejected, Noted, Profile
from tests.messaging.sending import Raw, add, header, headers_of, raw, totals

FUTURE = (datetime.now(UTC) + timedelta(days=3)).isoformat()
SECRET = "somebody@example.org"
MIB = 1024 * 1024


def deep(levels: int) -> bytes:
    return b'{"counter_id": ' + b"[" * levels + b"]" * levels + b"}"


def structured(**attributes: object) -> dict[str, object]:
    event = {"specversion": "1.0", "id": str(uuid4()), "source": "tests", "type": Add.ce_type}
    return {**event, "time": datetime.now(UTC).isoformat(), **attributes}


SPOILED = [
    raw("no JSON", "malformed-json", value=b'{"amount": 1, "' + SECRET.encode(), is_answered=True),
    raw("an empty value", "no-value", value=b"", is_answered=True),
    raw("a value that is no object", "breaks-contract", value=b"7", is_answered=True),
    raw("a value that is no text", "malformed-json", value=b"\xff\xfe\x00\x01", is_answered=True),
    raw("a text for a number", "breaks-contract", fields={"amount": SECRET}, is_answered=True),
    raw("a field too many", "breaks-contract", fields={SECRET: 1}, is_answered=True),
    raw("no issuer", "breaks-contract", fields={"issued_by": ""}, is_answered=True),
    raw("NUL in a text", "breaks-contract", fields={"issued_by": f"{SECRET}\0"}, is_answered=True),
    raw("a lone surrogate", "malformed-json", value=b'{"issued_by": "\\ud800"}', is_answered=True),
    raw("NaN", "malformed-json", value=b'{"amount": NaN}', is_answered=True),
    raw("infinity", "malformed-json", value=b'{"amount": -Infinity}', is_answered=True),
    raw("a fraction", "breaks-contract", fields={"amount": 1.5}, is_answered=True),
    raw("an integer of 10,000 digits", "malformed-json", value=b'{"amount": ' + b"9" * 10_000 + b"}", is_answered=True),
    raw("nested 200 deep", "breaks-contract", value=deep(100), is_answered=True),
    raw("nested 100,000 deep", "malformed-json", value=deep(100_000), is_answered=True),
    raw("larger than 1 MiB", "too-large", fields={"text": "x" * (MIB + 1)}, is_answered=True),
    raw("a tombstone where none belongs", "no-value", value=None, is_answered=True),
    raw("from the future", "from-the-future", ce_time=FUTURE, is_answered=True),
    raw("a key of somebody else", "wrong-key", key=str(uuid4()).encode(), is_answered=True),
    raw("no key", "no-key", key=None),
    raw("a key that is no text", "wrong-key", key=b"\xff\xfe"),
    raw("a text that PostgreSQL refuses", "not-storable", fields={"text": "forbidden"}, is_answered=True),
    raw("an integer that PostgreSQL cannot hold", "not-storable", fields={"amount": 2**63}, is_answered=True),
    raw("a NUL that PostgreSQL cannot hold", "not-storable", fields={"text": "a\0b"}, is_answered=True),
    raw("no id", "missing-ce_id", ce_id="-"),
    raw("a null id", "missing-ce_id", ce_id=None),
    raw("an empty id", "missing-ce_id", ce_id=b""),
    raw("a binary id", "malformed-ce_id", ce_id=b"\xff\x00"),
    raw("an id without end", "malformed-ce_id", ce_id=b"x" * 5000),
    raw("no source", "missing-ce_source", ce_source="-"),
    raw("no time", "missing-ce_time", ce_time="-"),
    raw("a time that is none", "malformed-ce_time", ce_time="yesterday"),
    raw("a time before all others", "malformed-ce_time", ce_time="0001-01-01T00:00:00Z"),
    raw("no specversion", "missing-ce_specversion", ce_specversion="-"),
    raw("an unknown type", "unknown-type", ce_type="kello.probe.nothing.v1"),
    raw("an unknown version", "unknown-type", ce_type="kello.probe.add.v9"),
    raw("a type that belongs elsewhere", "wrong-topic", ce_type=Noted.ce_type),
    raw("XML", "content-type-not-json", content_type=b"text/xml"),
    raw(
        "an envelope that is none",
        "malformed-envelope",
        value=b"[]",
        content_type="application/cloudevents+json",
    ),
    raw(
        "an envelope with bottomless data",
        "TypeError",
        value=orjson.dumps(structured())[:-1] + b', "data": ' + b"[" * 400 + b"]" * 400 + b"}",
        content_type="application/cloudevents+json",
    ),
    Raw("nothing at all", "missing-ce_specversion", None, b""),
    Raw("headers of 500 kB", "missing-ce_specversion", b"1", b"k", [("big", b"x" * 500_000)]),
]


async def test_each_kind_of_poison_is_one_dead_letter_and_disturbs_nobody(
    kello: Kello, capfd: pytest.CaptureFixture[str]
) -> None:
    good = [add(amount=n + 100) for n in range(len(SPOILED) + 1)]
    await kello.publish_raw("probe.commands", *_sent(good[0]), partition=0)
    for spoiled, neighbour in zip(SPOILED, good[1:], strict=True):
        await kello.publish_raw("probe.commands", spoiled.key, spoiled.value, spoiled.headers, partition=0)
        await kello.publish_raw("probe.commands", *_sent(neighbour), partition=0)
    sent = [each for each in await kello.records("probe.commands") if each.offset % 2]
    async with kello.running_service(probe.service()):
        await kello.expect(Added, counter_id=good[-1].counter_id)
        await kello.settled()
    letters = {int(header(each, "kello_dead_offset")): each for each in await kello.dead_letters("probe", len(SPOILED))}
    assert len(letters) == len(await kello.dead_letters("probe"))
    found = {
        spoiled.what: header(letters[record.offset], "kello_dead_code")
        for spoiled, record in zip(SPOILED, sent, strict=True)
    }
    assert found == {spoiled.what: spoiled.fault for spoiled in SPOILED}
    for record in sent:
        letter = letters[record.offset]
        assert (letter.key, letter.value) == (record.key, record.value)
        assert tuple(letter.headers)[: len(record.headers)] == tuple(record.headers)
        assert header(letter, "kello_dead_topic") == "probe.commands"
        assert header(letter, "kello_dead_partition") == "0"
        assert SECRET not in header(letter, "kello_dead_reason")
    assert await totals(kello) == {each.counter_id: each.amount for each in good}
    assert SECRET not in "".join(capfd.readouterr())
    await _assert_answered(kello)


async def _assert_answered(kello: Kello) -> None:
    rejected = await kello.events(CommandRejected)
    assert len({each.command_id for each in rejected}) == len(rejected)
    ids = {dict(each.headers)["ce_id"]: each for each in SPOILED if each.is_answered}
    assert {each.command_id.encode() for each in rejected} == set(ids)
    for each in rejected:
        spoiled = ids[each.command_id.encode()]
        assert (each.code, each.key.encode()) == (spoiled.fault, spoiled.key)


def _sent(command: Add) -> tuple[bytes, bytes, list[tuple[str, bytes | None]]]:
    return command.kafka_key.encode(), command.model_dump_json().encode(), headers_of(command)


async def test_a_mended_command_gets_an_answer_of_its_own(kello: Kello) -> None:
    """Its answer and that to the unreadable one are two events, although both follow from one id."""
    command = add(amount=0)
    headers = headers_of(command)
    async with kello.running_service(probe.service()):
        await kello.publish_raw("probe.commands", command.kafka_key.encode(), b"{", headers)
        await kello.dead_letters("probe", 1)
        await kello.publish_raw(
            "probe.commands", command.kafka_key.encode(), command.model_dump_json().encode(), headers
        )
        await kello.expect(probe.CommandAccepted, key=command.kafka_key)
    answers = await kello.records("probe.events")
    assert len({header(each, "ce_id") for each in answers}) == len(answers) == 2


async def test_what_is_odd_and_not_wrong_is_taken(kello: Kello) -> None:
    large = add(text="x" * (MIB - 200))
    late, null, binary, twice, unknown = add(), add(), add(), add(), add()
    odd: list[tuple[Add, dict[str, bytes | str | None]]] = [
        (large, {}),
        (late, {"ce_time": "1999-12-31T23:59:59+14:00"}),
        (null, {"ce_subject": None, "traceparent": None, "other": None}),
        (binary, {"ce_correlationid": b"\xff", "traceparent": b"\x00\x01", "other": b"\xfe\xff"}),
    ]
    for command, changes in odd:
        key, value = command.kafka_key.encode(), command.model_dump_json().encode()
        await kello.publish_raw("probe.commands", key, value, headers_of(command, **changes))
    key, value, headers = _sent(twice)
    await kello.publish_raw("probe.commands", key, value, [("ce_id", b"an id"), ("ce_id", None), *headers])
    event = structured(data=unknown.model_dump(mode="json"))
    content_type = [("content-type", b"application/cloudevents+json; charset=utf-8")]
    await kello.publish_raw("probe.commands", unknown.kafka_key.encode(), orjson.dumps(event), content_type)
    async with kello.running_service(probe.service()):
        for command in (large, late, null, binary, twice, unknown):
            await kello.expect(Added, counter_id=command.counter_id)
        await kello.settled()
    assert not await kello.dead_letters("probe")


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_records_that_others_compressed_are_read(kello: Kello, codec: str) -> None:
    command = add()
    key, value, headers = _sent(command)
    async with AIOKafkaProducer(bootstrap_servers=kello.kafka, compression_type=codec) as producer:
        await producer.send_and_wait(kello.prefix + "probe.commands", value, key, headers=headers)
    async with kello.running_service(probe.service()):
        await kello.expect(Added, counter_id=command.counter_id)


async def test_a_tombstone_is_an_erasure_only_where_erasures_belong(kello: Kello) -> None:
    assert Profile.topic not in registry.COMPACTED_TOPICS
    profile = Profile(counter_id=uuid4(), total=1, version=1)
    await kello.publish_raw("probe.profiles", profile.kafka_key.encode(), None, headers_of(profile))
    async with kello.running_service(probe.service()):
        (letter,) = await kello.dead_letters("probe", 1)
    assert (header(letter, "kello_dead_code"), letter.value) == ("no-value", None)
