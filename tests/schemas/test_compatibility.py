"""The gate: each change that would break somebody is found, said for whom, and nothing harmless is refused."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shared.schemas.compatibility import Break, breaks
from shared.schemas.publish import contracts, document
from tests.schemas.payloads import payloads_of

Schema = dict[str, Any]
Change = Callable[[Schema], None]

PAYLOADS, READERS = "older payloads", "older readers"

NUMBER: Schema = {"type": "integer", "maximum": 5}
WORD: Schema = {"type": "string", "maxLength": 9}

EVENT: Schema = {
    "x-kind": "event",
    "x-topic": "sales.events",
    "x-key": "parcel",
    "x-subject": "parcel/{parcel}",
    "description": "A parcel was weighed.",
    "type": "object",
    "$defs": {
        "Size": {
            "type": "object",
            "properties": {"width": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["width"],
        },
        "Channel": {"type": "string", "enum": ["email", "sms"]},
    },
    "properties": {
        "parcel": {"type": "string", "format": "uuid"},
        "grams": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "Weight.", "x-unit": "gram"},
        "label": {"type": "string", "minLength": 1, "maxLength": 20, "pattern": "^[a-z]+$"},
        "kind": {"type": "string", "enum": ["letter", "box"]},
        "how": {"const": "scale", "type": "string"},
        "size": {"$ref": "#/$defs/Size"},
        "note": {"anyOf": [WORD, {"type": "null"}], "default": None},
        "stops": {"type": "array", "items": {"$ref": "#/$defs/Size"}, "minItems": 1, "maxItems": 5},
        "told": {"type": "array", "items": {"$ref": "#/$defs/Channel"}, "maxItems": 5, "default": []},
        "extra": {
            "type": "object",
            "patternProperties": {"^[a-z]$": {"anyOf": [NUMBER, WORD]}},
            "additionalProperties": False,
            "maxProperties": 5,
            "default": {},
        },
        "fragile": {"type": "boolean", "default": False},
    },
    "required": ["parcel", "grams", "label", "kind", "how", "size", "stops"],
}


def changed(change: Change, schema: Schema = EVENT) -> Schema:
    altered = copy.deepcopy(schema)
    change(altered)
    return altered


def field(name: str, **keywords: object) -> Change:
    """Sets keywords of a field; None takes one away."""

    def change(schema: Schema) -> None:
        spot = schema["properties"][name]
        for keyword, value in keywords.items():
            if value is None:
                del spot[keyword]
            else:
                spot[keyword] = value

    return change


def part(name: str, field_name: str, **keywords: object) -> Change:
    def change(schema: Schema) -> None:
        schema["$defs"][name]["properties"][field_name].update(keywords)

    return change


def root(**keywords: object) -> Change:
    return lambda schema: schema.update(keywords)


def require(name: str) -> Change:
    return lambda schema: schema["required"].append(name)


def release(name: str) -> Change:
    return lambda schema: schema["required"].remove(name)


def add(name: str, schema: Schema) -> Change:
    return lambda whole: whole["properties"].update({name: schema})


def remove(name: str) -> Change:
    def change(schema: Schema) -> None:
        del schema["properties"][name]
        if name in schema["required"]:
            schema["required"].remove(name)

    return change


def both(*changes: Change) -> Change:
    def change(schema: Schema) -> None:
        for one in changes:
            one(schema)

    return change


def in_extra(values: Schema) -> Change:
    return lambda schema: schema["properties"]["extra"]["patternProperties"].update({"^[a-z]$": values})


NEW = {"type": "integer", "default": 0}

BREAKING: dict[str, tuple[Change, set[str]]] = {
    "a required field was removed": (remove("grams"), {READERS}),
    "an optional field was removed": (remove("fragile"), {READERS}),
    "a field was renamed": (
        both(remove("grams"), add("weight", {"type": "integer"}), require("weight")),
        {PAYLOADS, READERS},
    ),
    "a required field is new": (both(add("age", {"type": "integer"}), require("age")), {PAYLOADS}),
    "an optional field is now required": (require("fragile"), {PAYLOADS}),
    "a required field is now optional": (release("grams"), {READERS}),
    "a number became a text": (field("grams", type="string"), {PAYLOADS, READERS}),
    "an amount is counted in another unit": (field("grams", **{"x-unit": "ounce"}), {PAYLOADS, READERS}),
    "a whole number became any number": (field("grams", type="number"), {PAYLOADS, READERS}),
    "a field may now be null": (field("fragile", anyOf=[{"type": "boolean"}, {"type": "null"}], type=None), {READERS}),
    "a field may no longer be null": (field("note", anyOf=[WORD]), {PAYLOADS}),
    "the maximum went up": (field("grams", maximum=2000), {READERS}),
    "the maximum went down": (field("grams", maximum=500), {PAYLOADS}),
    "the maximum went away": (field("grams", maximum=None), {READERS}),
    "the minimum went down": (field("grams", minimum=0), {READERS}),
    "the minimum went up": (field("grams", minimum=2), {PAYLOADS}),
    "a bound is new": (field("fragile", minimum=0), {PAYLOADS}),
    "a text may be longer": (field("label", maxLength=40), {READERS}),
    "a text must be shorter": (field("label", maxLength=10), {PAYLOADS}),
    "a text may be empty": (field("label", minLength=0), {READERS}),
    "the pattern changed": (field("label", pattern="^[a-z0-9]+$"), {PAYLOADS, READERS}),
    "the pattern went away": (field("label", pattern=None), {PAYLOADS, READERS}),
    "the format changed": (field("parcel", format="email"), {PAYLOADS, READERS}),
    "a word is new": (field("kind", enum=["letter", "box", "pallet"]), {READERS}),
    "a word is gone": (field("kind", enum=["letter"]), {PAYLOADS}),
    "a word was replaced": (field("kind", enum=["letter", "crate"]), {PAYLOADS, READERS}),
    "any word may come": (field("kind", enum=None), {READERS}),
    "only some words may come": (field("label", enum=["a", "b"]), {PAYLOADS}),
    "the only word changed": (field("how", const="guess"), {PAYLOADS, READERS}),
    "a word of a shared list is new": (lambda schema: schema["$defs"]["Channel"]["enum"].append("fax"), {READERS}),
    "a part became wider": (part("Size", "width", maximum=99), {READERS}),
    "a part has a new required field": (
        lambda schema: (
            schema["$defs"]["Size"]["properties"].update(depth={"type": "integer"}),
            schema["$defs"]["Size"]["required"].append("depth"),
        )[0],
        {PAYLOADS},
    ),
    "a list may be longer": (field("stops", maxItems=6), {READERS}),
    "a list must be shorter": (field("stops", maxItems=4), {PAYLOADS}),
    "a list may be empty": (field("stops", minItems=0), {READERS}),
    "a list holds something else": (field("stops", items={"type": "string"}), {PAYLOADS, READERS}),
    "a list became one": (field("stops", type="object"), {PAYLOADS, READERS}),
    "a dictionary's values became wider": (
        in_extra({"anyOf": [NUMBER | {"maximum": 6}, WORD]}),
        {READERS},
    ),
    "a dictionary's values became fewer": (in_extra(WORD), {PAYLOADS}),
    "a dictionary's names changed": (
        field("extra", patternProperties={"^[A-Z]$": {"type": "string"}}),
        {PAYLOADS, READERS},
    ),
    "a dictionary takes any name": (field("extra", additionalProperties=True), {READERS}),
    "a dictionary's rest is something": (field("extra", additionalProperties={"type": "string"}), {PAYLOADS, READERS}),
    "unknown fields are refused": (root(additionalProperties=False), {PAYLOADS}),
    "the default changed": (field("fragile", default=True), {PAYLOADS}),
    "a keyword that nobody knows came": (field("grams", **{"not": {"const": 7}}), {PAYLOADS, READERS}),
    "two alternatives have the same type": (
        field("note", anyOf=[WORD, {"type": "string"}, {"type": "null"}]),
        {PAYLOADS, READERS},
    ),
    "the topic changed": (root(**{"x-topic": "hr.events"}), {PAYLOADS, READERS}),
    "the key changed": (root(**{"x-key": "grams"}), {PAYLOADS, READERS}),
    "the subject changed": (root(**{"x-subject": "box/{parcel}"}), {PAYLOADS, READERS}),
    "an event became a command": (root(**{"x-kind": "command"}), {PAYLOADS, READERS}),
}

HARMLESS: dict[str, Change] = {
    "nothing": lambda schema: None,  # noqa: ARG005 - a change that changes nothing
    "an optional field is new": add("colour", NEW),
    "an optional field with parts is new": both(
        lambda schema: schema["$defs"].update(New={"type": "object", "properties": {}}),
        add("more", {"anyOf": [{"$ref": "#/$defs/New"}, {"type": "null"}], "default": None}),
    ),
    "a part has a new optional field": lambda schema: schema["$defs"]["Size"]["properties"].update(depth=NEW),
    "a unit is said, too": part("Size", "width", **{"x-unit": "metre"}),
    "a newer version is there": root(deprecated=True, **{"x-newest": "kello.test.weighed.v2"}),
    "the prose changed": both(field("grams", description="How heavy it is."), root(description="Weighed.", title="W")),
    "words are listed in another order": field("kind", enum=["box", "letter"]),
    "a part was given another name": both(
        lambda schema: schema["$defs"].update(Measure=schema["$defs"]["Size"]),
        field("size", **{"$ref": "#/$defs/Measure"}),
    ),
    "a part was written in place": lambda schema: schema["properties"].update(size=schema["$defs"]["Size"]),
    "alternatives are listed in another order": field("note", anyOf=[{"type": "null"}, WORD]),
}

AS_COMMAND = {"x-kind": "command", "additionalProperties": False}


def whom(found: list[Break]) -> set[str]:
    return {one.whom for one in found}


@pytest.mark.parametrize("name", BREAKING)
def test_a_change_that_breaks_somebody_is_found(name: str) -> None:
    change, expected = BREAKING[name]
    found = breaks(EVENT, changed(change))
    assert whom(found) == expected
    assert all(one.where.startswith("payload") and one.what and one.whom in str(one) for one in found)


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_change_is_let_through(name: str) -> None:
    assert breaks(EVENT, changed(HARMLESS[name])) == []


def test_a_break_is_named_with_its_place() -> None:
    (found,) = breaks(EVENT, changed(part("Size", "width", maximum=8)))
    assert str(found) == "payload.size.width: its maximum went from 9 to 8: narrower (breaks older payloads)"
    (found,) = breaks(EVENT, changed(field("told", items={"type": "string", "enum": ["email"]})))
    assert str(found) == "payload.told[]: it can no longer be sms (breaks older payloads)"


def test_a_command_may_learn_what_only_its_service_reads() -> None:
    command = EVENT | AS_COMMAND
    for change in (add("colour", NEW), field("grams", maximum=2000), field("kind", enum=["letter", "box", "crate"])):
        assert breaks(command, changed(change, command)) == []


def test_a_command_may_not_refuse_what_was_sent_before() -> None:
    command = EVENT | AS_COMMAND
    for change in (remove("fragile"), require("fragile"), field("grams", maximum=500), field("kind", enum=["box"])):
        assert whom(breaks(command, changed(change, command))) == {PAYLOADS}


def test_unknown_fields_that_are_ignored_again_break_readers_who_refuse_them() -> None:
    strict = EVENT | {"additionalProperties": False}
    assert whom(breaks(strict, EVENT)) == {READERS}
    assert whom(breaks(strict, changed(add("colour", NEW), strict))) == {READERS}


@pytest.mark.parametrize("model", contracts().values(), ids=lambda model: model.ce_type)
def test_every_contract_is_compatible_with_itself(model: Any) -> None:
    assert breaks(document(model), document(model)) == []


@given(data=st.data(), name=st.sampled_from(sorted(contracts())))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_what_the_gate_lets_through_still_reads_what_was_written(data: st.DataObject, name: str) -> None:
    """Random edits of real contracts: the new schema refuses a payload of the old one only where the gate said so."""
    model = contracts()[name]
    old = document(model)
    new = copy.deepcopy(old)
    spot = data.draw(st.sampled_from(sorted(old["properties"])))
    edit = data.draw(st.sampled_from(["narrow", "require", "forbid", "retype", "remove"]))
    if edit == "narrow" and "maximum" in new["properties"][spot]:
        new["properties"][spot]["maximum"] //= 2
    elif edit == "require":
        new["required"] = sorted({*new["required"], spot})
    elif edit == "forbid":
        new["additionalProperties"] = False
    elif edit == "retype":
        new["properties"][spot] = {"type": "integer"}
    else:
        del new["properties"][spot]
        new["required"] = [one for one in new["required"] if one != spot]
    if PAYLOADS not in whom(breaks(old, new)):
        Draft202012Validator(new).validate(data.draw(payloads_of(model)))
