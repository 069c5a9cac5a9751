"""From a record to its payload: every contract by its CloudEvents type, and the upcasters from old versions."""

import re
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError

from shared.schemas import billing, customer, hr, notify, payroll, sales
from shared.schemas.answers import Accepted, Rejected
from shared.schemas.base import Payload
from shared.schemas.customer import CustomerProfile, ProfileErased
from shared.schemas.envelope import Envelope, Headers, Unreadable, read

PUBLISHERS = (billing, customer, hr, notify, payroll, sales)
"""The modules that declare contracts."""

PAYLOAD_BYTES_MAX = 1024 * 1024
"""The largest value that is read: 1 MiB."""

ERRORS_TOLD_MAX = 10
"""So many rules that a payload breaks are named; the rest is counted."""

VERSION_HEADER = "kello_version"
"""The header of a tombstone on customer.profiles that says which version of the customer was erased."""

Old = TypeVar("Old", bound=Payload)

_upcasters: dict[type[Payload], Callable[[Any], Payload]] = {}


def contract(ce_type: str) -> type[Payload]:
    """The model of a CloudEvents type. Raises Unreadable for a type that nobody declared."""
    try:
        return Payload.contracts[ce_type]
    except KeyError:
        raise Unreadable(
            "unknown-type", "ce_type must be the type of a published contract, such as kello.sales.purchase-recorded.v1"
        ) from None


def answers(service: str) -> tuple[type[Accepted], type[Rejected]]:
    """The two answers that a service publishes to commands. Raises Unreadable where it declares none."""
    accepted = contract(f"kello.{service}.command-accepted.v1")
    rejected = contract(f"kello.{service}.command-rejected.v1")
    if not issubclass(accepted, Accepted) or not issubclass(rejected, Rejected):
        raise TypeError(f"the answers of {service} must derive from Accepted and Rejected")
    return accepted, rejected


def upcaster(old: type[Old]) -> Callable[[Callable[[Old], Payload]], Callable[[Old], Payload]]:
    """Declares how a payload of an old version becomes one of the next: handlers see the newest version only."""

    def declare(function: Callable[[Old], Payload]) -> Callable[[Old], Payload]:
        if old in _upcasters:
            raise TypeError(f"{old.ce_type} has an upcaster already")
        _upcasters[old] = function
        return function

    return declare


def parse(ce_type: str, value: bytes | None) -> Payload:
    """The validated payload in the newest version of its contract.

    Raises Unreadable for an unknown type, a missing or too large value, what is not JSON (RFC 8259: no NaN, no lone
    surrogate, no bottomless nesting) and what breaks the contract; its message never repeats what was sent.
    """
    model = contract(ce_type)
    if value is None:
        raise Unreadable("no-value", "the record must have a value: only customer.profiles knows tombstones")
    if len(value) > PAYLOAD_BYTES_MAX:
        raise Unreadable("too-large", f"the value must not exceed {PAYLOAD_BYTES_MAX} bytes")
    if b"NaN" in value or b"Infinity" in value:
        _check_numbers(value)
    try:
        payload = model.model_validate_json(value)
    except ValidationError as error:
        raise _broken(model, error) from None
    while upcast := _upcasters.get(type(payload)):
        payload = upcast(payload)
    return payload


def tombstone(key: bytes | None, record_headers: Headers) -> ProfileErased:
    """The erasure that a record without a value on customer.profiles stands for. Raises Unreadable."""
    version = dict(record_headers).get(VERSION_HEADER) or b""
    if not re.fullmatch(rb"[1-9][0-9]{0,17}", version):
        raise Unreadable("missing-version", f"a tombstone must carry the erased version in its header {VERSION_HEADER}")
    try:
        customer_id = UUID((key or b"").decode("ascii"))
    except ValueError:
        raise Unreadable("malformed-key", "the key of a tombstone must be the customer's id") from None
    return ProfileErased(customer_id=customer_id, version=int(version))


def read_record(
    topic: str, key: bytes | None, record_headers: Headers, value: bytes | None
) -> tuple[Envelope, Payload]:
    """A record of a (logical) topic, read and checked whole: envelope, contract, its topic and its key.

    Raises Unreadable.
    """
    pairs = tuple(record_headers)
    envelope, data = read(pairs, value)
    if data is None and topic == CustomerProfile.topic:
        return envelope, tombstone(key, pairs)
    payload = parse(envelope.type, data)
    if payload.topic != topic:
        raise Unreadable("wrong-topic", f"{envelope.type} belongs on {payload.topic}, not on {topic}")
    if key != payload.kafka_key.encode():
        raise Unreadable("wrong-key", f"the key must be the text of {payload.key_field} as in the value")
    return envelope, payload


def _check_numbers(value: bytes) -> None:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        raise Unreadable("malformed-json", "the value must be JSON (RFC 8259): NaN and Infinity are none") from None


def _broken(model: type[Payload], error: ValidationError) -> Unreadable:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return Unreadable("malformed-json", f"the value must be JSON (RFC 8259): {found[0]['msg']}")
    known = _field_names(model)
    rules = [f"{_location(one['loc'], known)}: {_rule(one['type'], one['msg'])}" for one in found[:ERRORS_TOLD_MAX]]
    more = f"; and {len(found) - ERRORS_TOLD_MAX} more" if len(found) > ERRORS_TOLD_MAX else ""
    return Unreadable("breaks-contract", f"{model.ce_type}: {'; '.join(rules)}{more}")


def _location(parts: tuple[int | str, ...], known: frozenset[str]) -> str:
    """Field names of the contract and positions; what the sender named itself could be personal and is a star."""
    return ".".join(str(part) if isinstance(part, int) or part in known else "*" for part in parts) or "value"


def _rule(kind: str, message: str) -> str:
    """Pydantic's and our own messages name the rule alone, but for those few that quote what was sent."""
    if kind.startswith("uuid"):
        return "must be a UUID"
    if kind == "extra_forbidden":
        return "is a field that the command does not have: remove it"
    return message.removeprefix("Value error, ")


def _field_names(model: type[BaseModel]) -> frozenset[str]:
    """The names of a model's fields and of its parts' fields."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for part in parts for name in part.get("properties", {}))
