"""Answers, tombstones and versions: what the registry knows beside the payloads of today."""

import uuid
from collections.abc import Iterator

import pytest

from shared.schemas import registry, versions
from shared.schemas.base import Event, Payload
from shared.schemas.customer import ProfileErased, TagCustomer
from shared.schemas.envelope import Unreadable
from shared.schemas.registry import answers, newest, parse, parse_tombstone, upcaster


@pytest.mark.parametrize("service", ["billing", "customer", "notify", "payroll"])
def test_every_service_answers_commands_on_its_own_topic(service: str) -> None:
    for answer in answers(service):
        assert answer.topic == f"{service}.events"
        assert answer.key_field == "key"
        assert issubclass(answer, Event)


def test_answers_that_are_none_are_a_bug(two_versions: tuple[type[Payload], type[Payload]]) -> None:
    for answer in ("accepted", "rejected"):
        Payload.contracts[f"kello.test.command-{answer}.v1"] = two_versions[0]
    with pytest.raises(TypeError, match="must derive from Accepted and Rejected"):
        answers("test")


def test_nobody_answers_for_the_systems_outside() -> None:
    with pytest.raises(Unreadable):
        answers("sales")


def test_a_tombstone_is_the_erasure_of_a_profile() -> None:
    key = str(uuid.UUID(int=2)).encode()
    erased = parse_tombstone("customer.profiles", key, [("kello_version", b"12"), ("other", None)])
    assert erased == ProfileErased(customer_id=uuid.UUID(int=2), version=12)
    assert (erased.topic, erased.kafka_key.encode()) == ("customer.profiles", key)


def test_an_erasure_with_a_value_is_refused() -> None:
    assert registry.model_of(ProfileErased.ce_type) is ProfileErased
    with pytest.raises(Unreadable) as error:
        parse(ProfileErased.ce_type, b'{"version": 1}')
    assert error.value.code == "not-empty"


@pytest.mark.parametrize("topic", ["billing.events", "customer.events", "sales.events", "customer.commands"])
def test_a_tombstone_where_none_belongs_is_refused(topic: str) -> None:
    with pytest.raises(Unreadable) as error:
        parse_tombstone(topic, b"key", [("kello_version", b"1")])
    assert error.value.code == "no-value"


@pytest.mark.parametrize("version", [None, b"", b"0", b"-1", b"1.5", b"one", b"\xff", b"9" * 30, b"1\n"])
def test_a_tombstone_without_its_version_is_refused(version: bytes | None) -> None:
    with pytest.raises(Unreadable, match="kello_version"):
        parse_tombstone("customer.profiles", str(uuid.UUID(int=2)).encode(), [("kello_version", version)])


@pytest.mark.parametrize("key", [None, b"", b"somebody", b"\xff"])
def test_a_tombstone_without_a_customer_is_refused(key: bytes | None) -> None:
    with pytest.raises(Unreadable, match="customer's id"):
        parse_tombstone("customer.profiles", key, [("kello_version", b"1")])


@pytest.fixture
def two_versions() -> Iterator[tuple[type[Payload], type[Payload]]]:
    """A type of this test alone in an old and a new version, with an upcaster between them."""
    before, upcasters = dict(Payload.contracts), dict(versions.upcasters)

    class Weighed(Event, type="kello.test.weighed.v1", topic="test.events", key="parcel", subject="parcel/{parcel}"):
        parcel: str
        grams: int

    class WeighedAgain(
        Event, type="kello.test.weighed.v2", topic="test.events", key="parcel", subject="parcel/{parcel}"
    ):
        parcel: str
        milligrams: int

    def in_milligrams(old: Weighed) -> WeighedAgain:
        return WeighedAgain(version=old.version, parcel=old.parcel, milligrams=old.grams * 1000)

    upcaster(Weighed, WeighedAgain)(in_milligrams)
    yield Weighed, WeighedAgain
    Payload.contracts.clear()
    Payload.contracts.update(before)
    versions.upcasters.clear()
    versions.upcasters.update(upcasters)


def test_an_old_version_is_read_as_the_newest(two_versions: tuple[type[Payload], type[Payload]]) -> None:
    old, new = two_versions
    found = parse(old.ce_type, b'{"version": 1, "parcel": "a", "grams": 5}')
    assert found == new.model_validate({"version": 1, "parcel": "a", "milligrams": 5000})
    assert newest(old.ce_type) == newest(new.ce_type) == new.ce_type


def test_a_version_has_one_upcaster(two_versions: tuple[type[Payload], type[Payload]]) -> None:
    old, new = two_versions
    with pytest.raises(TypeError, match="has an upcaster already"):
        upcaster(old, new)(lambda payload: payload)


@pytest.mark.parametrize(
    "declaration",
    [
        {"type": "weighed", "topic": "test.events", "key": "version"},
        {"type": "kello.test.weighed.v0", "topic": "test.events", "key": "version"},
        {"type": "kello.test.weighed.v1", "topic": "", "key": "version"},
        {"type": "kello.test.weighed.v1", "topic": "test.events", "key": "nothing"},
        {"type": "kello.test.weighed.v1", "topic": "test.events", "key": "version", "subject": "a/{nothing}"},
        {"type": TagCustomer.ce_type, "topic": "test.events", "key": "version"},
    ],
)
def test_a_contract_that_is_declared_wrongly_is_a_bug(declaration: dict[str, str]) -> None:
    with pytest.raises(TypeError):
        type("Weighed", (Event,), {"__module__": __name__, "__qualname__": "Weighed"}, **declaration)
