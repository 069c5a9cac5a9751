"""Writers against readers: what each service reads of an event, and whom a change of a contract would break.

A reader declares the fields that it reads of each event: `number`, `lines[].sku`, `consents.*.status`; a field with
parts stands for all of them. The key is read by everybody. Commands need no declaration: whoever answers them is their
only reader, and reads all of them.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from shared.schemas.base import Command, Payload
from shared.schemas.compatibility import Schema
from shared.schemas.customer import ProfileErased
from shared.schemas.envelope import Unreadable
from shared.schemas.publish import Difference, document
from shared.schemas.registry import newest, parse

Reads: TypeAlias = Mapping[type[Payload], str]
"""What a service reads of each event, as field names with spaces between."""

WHOLE = "payload"


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who reads events. `reads` holds the fields by the newest type of the event."""

    name: str
    reads: Mapping[str, Sequence[str]]

    def receives(self, ce_type: str) -> bool:
        return newest(ce_type) in self.reads

    def reads_at(self, ce_type: str, where: str) -> bool:
        """Whether it reads what stands at a place of a payload, or something below or above it."""
        place = where.removeprefix(WHOLE).lstrip(".")
        return any(_overlap(place, path) for path in self.reads.get(newest(ce_type), ()))


@dataclass(frozen=True, slots=True)
class Broken:
    """One thing that must not be published: where, what, for whom, and the known readers whom it hits."""

    ce_type: str
    where: str
    what: str
    breaks: str
    readers: tuple[str, ...] = ()

    def __str__(self) -> str:
        hit = ", ".join(self.readers) or "none that is known here"
        return f"{self.ce_type}: {self.where}: {self.what} (breaks {self.breaks}: {hit})"


def declared(name: str, reads: Reads) -> Reader:
    """A reader as its own page declares it; the key of each event is added."""
    return Reader(
        name, {model.ce_type: tuple(sorted({model.key_field, *paths.split()})) for model, paths in reads.items()}
    )


def undeclared(name: str, types: Collection[str], reader: Reader) -> Iterator[Broken]:
    """Events that a service decides upon without saying what it reads of them, and the other way round."""
    for ce_type in sorted(types - reader.reads.keys()):
        if ce_type != ProfileErased.ce_type and not _is_command(ce_type):
            yield Broken(
                ce_type, WHOLE, f"{name} decides upon it and does not declare what it reads", "the gate", (name,)
            )
    for ce_type in sorted(reader.reads.keys() - types):
        yield Broken(ce_type, WHOLE, f"{name} declares to read it and does not decide upon it", "the gate", (name,))


def changes(differences: Iterable[Difference], readers: Sequence[Reader]) -> Iterator[Broken]:
    """What changed of a published contract in a way that breaks somebody, and the readers whom it hits.

    Who cannot read older payloads any more is everybody who receives them; older readers are hit where they read.
    """
    for one in differences:
        if one.state == "withdrawn":
            who = tuple(reader.name for reader in readers if one.ce_type in reader.reads)
            yield Broken(
                one.ce_type, WHOLE, "it is declared no more, and its records are still on Kafka", "readers", who
            )
        for each in one.breaks:
            hit = (
                reader.name
                for reader in readers
                if reader.receives(one.ce_type)
                and (each.whom == "older payloads" or reader.reads_at(one.ce_type, each.where))
            )
            yield Broken(one.ce_type, each.where, each.what, each.whom, tuple(hit))


def unwritten(models: Mapping[str, type[Payload]], readers: Iterable[Reader]) -> Iterator[Broken]:
    """Fields that somebody reads and nobody writes."""
    schemas = {ce_type: document(model) for ce_type, model in models.items()}
    for reader in readers:
        for ce_type, paths in sorted(reader.reads.items()):
            if ce_type not in schemas:
                yield Broken(ce_type, WHOLE, "nobody publishes it", "readers", (reader.name,))
                continue
            for path in paths:
                if not has_field(schemas[ce_type], path):
                    yield Broken(ce_type, f"{WHOLE}.{path}", "nobody writes this field", "readers", (reader.name,))


def unreadable(samples: Mapping[str, Sequence[Any]], readers: Sequence[Reader]) -> Iterator[Broken]:
    """Recorded payloads of published types that can no longer be read."""
    for ce_type, recorded in sorted(samples.items()):
        for number, sample in enumerate(recorded):
            try:
                parse(ce_type, json.dumps(sample).encode())
            except Unreadable as error:
                who = tuple(reader.name for reader in readers if reader.receives(ce_type))
                yield Broken(ce_type, f"sample {number}", error.message, "older payloads", who)


def has_field(schema: Schema, path: str) -> bool:
    """Whether a contract has a field: `lines[].sku`, or `consents.*.status` where the names are the data's."""
    spots = [schema]
    for step in path.replace("[]", ".[]").split("."):
        spots = [found for spot in spots for shape in _shapes(spot, schema) for found in _below(shape, step)]
    return bool(spots)


def _below(shape: Schema, step: str) -> list[Schema]:
    match step:
        case "[]":
            return [shape["items"]] if "items" in shape else []
        case "*":
            rest = shape.get("additionalProperties")
            return [*shape.get("patternProperties", {}).values(), *([rest] if isinstance(rest, dict) else [])]
        case name:
            return [shape["properties"][name]] if name in shape.get("properties", {}) else []


def _shapes(node: Schema, whole: Schema) -> Iterator[Schema]:
    if "$ref" in node:
        yield from _shapes(whole["$defs"][node["$ref"].rpartition("/")[2]], whole)
    elif "anyOf" in node:
        for one in node["anyOf"]:
            yield from _shapes(one, whole)
    else:
        yield node


def _overlap(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return not shorter or longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))


def _is_command(ce_type: str) -> bool:
    return issubclass(Payload.contracts.get(ce_type, Payload), Command)
