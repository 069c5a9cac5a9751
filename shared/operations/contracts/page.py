"""One HTML page of all contracts: topics, messages and read APIs. No script, font or style comes from elsewhere."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

Json: TypeAlias = dict[str, Any]

TEMPLATE = Path(__file__).with_name("page.html")
DEPTH_MAX = 6
BOUNDS = {
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "minLength": "{}+ characters",
    "maxLength": "≤ {} characters",
    "minItems": "{}+ items",
    "maxItems": "≤ {} items",
    "maxProperties": "≤ {} names",
    "pattern": "{}",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One field of a payload or an answer, as a line of a table."""

    path: str
    kind: str
    is_required: bool
    rules: str
    about: str


def page(documents: Mapping[str, Json]) -> str:
    """The page, from the AsyncAPI document of all of Kello and the OpenAPI documents of its services."""
    kello = documents["asyncapi/kello.json"]
    apis = {place.split("/")[1].removesuffix(".json"): api for place, api in documents.items() if "openapi/" in place}
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        info=kello["info"],
        topics=kello["channels"],
        messages=kello["components"]["messages"],
        operations=kello["operations"],
        topic_of=_topics_of(kello),
        apis=apis,
        rows=lambda schema, document=kello: [*rows(schema, document)],
        last=lambda reference: reference.rpartition("/")[2],
        anchor=_anchor,
        words=_words,
        pretty=lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        readers=_readers(kello),
    )


def rows(schema: Json, document: Json, path: str = "", *, depth: int = 0) -> Iterator[Row]:
    """The fields of an object and of its parts, in their order; each part under the path of its field."""
    shape = _resolved(schema, document)
    for name, field in shape.get("properties", {}).items():
        place = f"{path}{name}"
        yield from _field(place, field, document, is_required=name in shape.get("required", ()), depth=depth)


def _field(place: str, field: Json, document: Json, *, is_required: bool, depth: int) -> Iterator[Row]:
    shapes = [*_shapes(field, document)]
    about = field.get("description") or next((each["description"] for each in shapes if "description" in each), "")
    kinds = [_kind(each, document) for each in shapes]
    rules = "; ".join(rule for each in shapes for rule in _rules(each))
    if "default" in field:
        rules = "; ".join(filter(None, [rules, f"default {json.dumps(field['default'], ensure_ascii=False)}"]))
    yield Row(place, " or ".join(dict.fromkeys(kinds)), is_required, rules, about)
    if depth >= DEPTH_MAX:
        return
    for shape in shapes:
        if "items" in shape:
            for part in _shapes(shape["items"], document):
                yield from rows(part, document, f"{place}[].", depth=depth + 1)
        for part in shape.get("patternProperties", {}).values():
            for one in _shapes(part, document):
                yield from rows(one, document, f"{place}.*.", depth=depth + 1)
        yield from rows(shape, document, f"{place}.", depth=depth + 1)


def _resolved(schema: Json, document: Json) -> Json:
    if "$ref" not in schema:
        return schema
    found: Json = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return {**_resolved(found, document), **{key: value for key, value in schema.items() if key != "$ref"}}


def _shapes(schema: Json, document: Json) -> Iterator[Json]:
    whole = _resolved(schema, document)
    for one in whole.get("anyOf", ()):
        yield from _shapes(one, document)
    if "anyOf" not in whole:
        yield whole


def _kind(shape: Json, document: Json) -> str:
    if "const" in shape:
        return json.dumps(shape["const"])
    if "enum" in shape:
        return " | ".join(map(str, shape["enum"]))
    if shape.get("type") == "array":
        inner = " or ".join(dict.fromkeys(_kind(each, document) for each in _shapes(shape.get("items", {}), document)))
        return f"list of {inner or 'anything'}"
    return str(shape.get("format") or shape.get("type", "anything"))


def _rules(shape: Json) -> Iterator[str]:
    if "x-unit" in shape:
        yield f"in {shape['x-unit']}s"
    for keyword, words in BOUNDS.items():
        if keyword in shape:
            yield words.format(shape[keyword])
    if "items" in shape:
        yield from (f"each {rule}" for rule in _rules(shape["items"]))


def _topics_of(kello: Json) -> dict[str, str]:
    return {message: topic for topic, channel in kello["channels"].items() for message in channel["messages"]}


def _readers(kello: Json) -> dict[str, dict[str, Sequence[str]]]:
    """Who reads what of a message: the services' own declarations; all of a command is read by whom it is for."""
    found: dict[str, dict[str, Sequence[str]]] = {}
    for name, operation in kello["operations"].items():
        if operation["action"] == "receive":
            service, reads = name.partition(".")[0], operation.get("x-reads", {})
            for reference in operation["messages"]:
                ce_type = reference["$ref"].rpartition("/")[2]
                found.setdefault(ce_type, {})[service] = reads.get(ce_type, ())
    return found


def _words(text: str) -> Markup:
    """What stands between backticks is code; between stars, emphasis."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*(\w+)\*", r"<em>\1</em>", marked))  # noqa: S704 - escaped above


def _anchor(*parts: str) -> str:
    return "-".join("".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in part) for part in parts)
