"""From a record to its payload: every contract by its CloudEvents type, read as its newest version."""

import re
from functools import cache
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError

from shared.schemas import billing, customer, hr, notify, payroll, sales
from shared.schemas.answers import Accepted, Rejected
from shared.schemas.base import Payload
from shared.schemas.customer import CustomerProfile, ProfileErased
from shared.schemas.envelope import Headers, Unreadable
from shared.schemas.versions import newest, upcast, upcaster

__all__ = [
    "COMPACTED_TOPICS",
    "ERRORS_TOLD_MAX",
    "PAYLOAD_BYTES_MAX",
    "PUBLISHERS",
    "VERSION_HEADER",
    "answers",
    "model_of",
    "newest",
    "parse",
    "parse_tombstone",
    "upcaster",
]

PUBLISHERS = (billing, customer, hr, notify, payroll, sales)
"""The modules that declare contracts."""

COMPACTED_TOPICS = frozenset({CustomerProfile.topic})
"""Topics that keep the last record of each key, and on which a record without a value stands for an erasure."""

PAYLOAD_BYTES_MAX = 1024 * 1024
"""The largest value that is read: 1 MiB."""

ERRORS_TOLD_MAX = 10
"""So many rules that a payload breaks are named; the rest is counted."""

VERSION_HEADER = "kello_version"
"""The header of a tombstone on customer.profiles that says which version of the customer was erased."""


def model_of(ce_type: str) -> type[Payload]:
    """The model of a CloudEvents type. Raises Unreadable for a type that nobody declared."""
    if ce_type == ProfileErased.ce_type:
        return ProfileErased
    try:
        return Payload.contracts[ce_type]
    except KeyError:
        raise Unreadable(
            "unknown-type", "ce_type must be the type of a published contract, such as kello.sales.purchase-recorded.v1"
        ) from None


def answers(service: str) -> tuple[type[Accepted], type[Rejected]]:
    """The two answers that a service publishes to commands. Raises Unreadable where it declares none."""
    accepted = model_of(f"kello.{service}.command-accepted.v1")
    rejected = model_of(f"kello.{service}.command-rejected.v1")
    if not issubclass(accepted, Accepted) or not issubclass(rejected, Rejected):
        raise TypeError(f"the answers of {service} must derive from Accepted and Rejected")
    return accepted, rejected


def parse(ce_type: str, value: bytes) -> Payload:
    """The validated payload in the newest version of its contract.

    Raises Unreadable for an unknown type, a missing or too large value, what is not JSON (RFC 8259: no NaN, no lone
    surrogate, no bottomless nesting) and what breaks the contract; its message never repeats what was sent.
    """
    model = model_of(ce_type)
    if model is ProfileErased:
        raise Unreadable("not-empty", "an erased profile is a record without a value: a tombstone")
    if not value:
        raise Unreadable("no-value", "the record must have a value: the JSON payload")
    if len(value) > PAYLOAD_BYTES_MAX:
        raise Unreadable("too-large", f"the value must not exceed {PAYLOAD_BYTES_MAX} bytes")
    if b"NaN" in value or b"Infinity" in value:
        _check_numbers(value)
    try:
        payload = model.model_validate_json(value)
    except ValidationError as error:
        raise _broken(model, error) from None
    return upcast(payload)


def parse_tombstone(topic: str, key: bytes | None, record_headers: Headers) -> ProfileErased:
    """The erasure that a record without a value on customer.profiles stands for.

    Raises Unreadable on any other topic, and where its key or its version is missing.
    """
    if topic != CustomerProfile.topic:
        raise Unreadable("no-value", f"the record must have a value: only {CustomerProfile.topic} knows tombstones")
    version = dict(record_headers).get(VERSION_HEADER) or b""
    if not re.fullmatch(rb"[1-9][0-9]{0,17}", version):
        raise Unreadable("missing-version", f"a tombstone must carry the erased version in its header {VERSION_HEADER}")
    try:
        customer_id = UUID((key or b"").decode("ascii"))
    except ValueError:
        raise Unreadable("malformed-key", "the key of a tombstone must be the customer's id") from None
    return ProfileErased(customer_id=customer_id, version=int(version))


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


@cache  # a flood of broken payloads must not build a schema for each
def _field_names(model: type[BaseModel]) -> frozenset[str]:
    """The names of a model's fields and of its parts' fields."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for part in parts for name in part.get("properties", {}))
