"""Payloads of every contract: those that were recorded, and generated ones that follow its JSON Schema."""

import json
from datetime import date, datetime
from functools import cache
from typing import Any

from hypothesis import strategies as st

from shared.schemas.base import Payload
from shared.schemas.publish import FOLDER, document

Json = Any

TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
EXAMPLES = {
    "iso-4217": ["EUR", "JPY", "KWD", "CLF"],
    "iso-3166-1": ["AT", "US", "XK"],
    "iana-time-zone": ["UTC", "Europe/Vienna", "America/Argentina/Ushuaia"],
    "email": ["a@example.org", "Ünal@exämple.org"],
    "e164": ["+43123456789", "+12025550123"],
    "iban": ["AT611904300234573201", "DE89370400440532013000"],
    "bcp-47": ["en", "de-AT", "zh-Hant-TW", "es-419"],
}
UNIT_PRICE_MAX = 10**6  # so that no generated purchase sums to more than a purchase may


def samples_of(ce_type: str) -> list[dict[str, Json]]:
    """What was recorded of a published type: first a payload with every field, then one with the required alone."""
    found: list[dict[str, Json]] = json.loads((FOLDER / "samples" / f"{ce_type}.json").read_text(encoding="utf-8"))
    return found


@cache  # a strategy takes longer to build than to draw from
def payloads_of(model: type[Payload]) -> st.SearchStrategy[dict[str, Json]]:
    """JSON objects that the model accepts."""
    schema = document(model)
    return _objects(schema, schema.get("$defs", {}))


def _objects(schema: Json, parts: Json) -> st.SearchStrategy[dict[str, Json]]:
    if "patternProperties" in schema:
        ((pattern, values),) = schema["patternProperties"].items()
        return st.dictionaries(_matching(pattern), _values("", values, parts), max_size=3)
    required = schema.get("required", [])
    fields = {name: _values(name, field, parts) for name, field in schema["properties"].items()}
    return st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: fields[name] for name in fields if name not in required},
    ).map(_consistent)


def _values(name: str, schema: Json, parts: Json) -> st.SearchStrategy[Json]:
    if "$ref" in schema:
        return _values(name, parts[schema["$ref"].rpartition("/")[2]], parts)
    if "anyOf" in schema:
        return st.one_of(*(_values(name, one, parts) for one in schema["anyOf"]))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return _of_type(name, schema, parts)


def _of_type(name: str, schema: Json, parts: Json) -> st.SearchStrategy[Json]:
    match schema["type"]:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"], UNIT_PRICE_MAX if name == "unit_price" else schema["maximum"])
        case "array":
            items = _values(name, schema["items"], parts)
            return st.lists(items, min_size=schema.get("minItems", 0), max_size=min(schema["maxItems"], 4))
        case "object":
            return _objects(schema, parts)
        case _:
            return _texts(schema)


def _texts(schema: Json) -> st.SearchStrategy[str]:
    match schema.get("format"):
        case "uuid":
            return st.uuids().map(str)
        case "date":
            return st.dates(date(1900, 1, 1), date(2200, 12, 31)).map(str)
        case "date-time":
            moments = st.datetimes(datetime(1900, 1, 2), datetime(2200, 12, 30))  # noqa: DTZ001 - the bounds are naive
            return moments.map(lambda moment: f"{moment.isoformat()}Z")
        case str() as standard:
            return st.sampled_from(EXAMPLES[standard])
    if "pattern" in schema:
        return _matching(schema["pattern"])
    return st.text(TEXT, min_size=schema["minLength"], max_size=min(schema["maxLength"], 30))


def _matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern.replace("$", r"\Z"))  # in Python, $ matches before a last newline, too


def _consistent(fields: dict[str, Json]) -> dict[str, Json]:
    """What no JSON Schema says: rules across fields."""
    if "discount" in fields and "tax_rate" not in fields:
        fields["discount"] = min(fields["discount"], fields["quantity"] * fields["unit_price"])
    if "starts_on" in fields:
        fields["starts_on"], fields["ends_on"] = sorted([fields["starts_on"], fields["ends_on"]])
    if fields.get("kind") == "csat":
        fields["score"] = min(max(fields["score"], 1), 5)
    if "channel" in fields and "value" in fields:
        fields["channel"] = "email" if fields["channel"] == "in_app" else fields["channel"]
        fields["value"] = EXAMPLES["email" if fields["channel"] == "email" else "e164"][0]
    return fields
