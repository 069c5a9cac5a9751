"""The published JSON Schemas: one file per type, frozen once it is there.

`python -m shared.schemas.publish` writes what is new or has changed compatibly, and refuses what would break somebody;
with `--check` it writes nothing and fails where anything differs. `kello contracts publish` writes the documents that
are made of them, too.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import DictSchema

from shared.schemas.base import Command, Payload
from shared.schemas.compatibility import Break, Schema, breaks
from shared.schemas.registry import PUBLISHERS, newest
from shared.schemas.words import WORDS

FOLDER = Path(__file__).parent / "published"

DIALECT = "https://json-schema.org/draft/2020-12/schema"

State = Literal["same", "new", "compatible", "breaking", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Difference:
    """How the model of a type stands to what was published of it."""

    ce_type: str
    state: State
    breaks: Sequence[Break] = ()

    def __str__(self) -> str:
        match self.state:
            case "breaking":
                reasons = "".join(f"\n    {reason}" for reason in self.breaks)
                return f"{self.ce_type}: declare a new version and an upcaster instead of this change:{reasons}"
            case "withdrawn":
                return f"{self.ce_type}: declare it again: a published type stays, for its records are still on Kafka"
            case "compatible":
                return f"{self.ce_type}: changed, and breaks nobody: run kello contracts publish --yes"
            case "new":
                return f"{self.ce_type}: not published yet: run kello contracts publish --yes"
            case "same":
                return f"{self.ce_type}: as published"


class _Plain(GenerateJsonSchema):
    """Pydantic's schemas without the titles that only repeat a field's name, and strict about a dictionary's names."""

    def dict_schema(self, schema: DictSchema) -> JsonSchemaValue:
        shape = super().dict_schema(schema)
        if "patternProperties" in shape:
            shape["additionalProperties"] = False
        return shape

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the signature is pydantic's
        return False


def contracts() -> dict[str, type[Payload]]:
    """Every contract of the six publishers, by type."""
    modules = {module.__name__ for module in PUBLISHERS}
    return {
        ce_type: model
        for ce_type, model in sorted(Payload.contracts.items())
        if any(model.__module__ == name or model.__module__.startswith(f"{name}.") for name in modules)
    }


@cache  # for the gate asks again and again
def document(model: type[Payload]) -> Schema:
    """The JSON Schema of a contract, and where its records travel. Not to be changed."""
    schema = model.model_json_schema(schema_generator=_Plain)
    for owner, part in ((model.__name__, schema), *schema.get("$defs", {}).items()):
        _describe(owner, part)
    return {
        "$schema": DIALECT,
        "$id": f"urn:kello:schema:{model.ce_type}",
        "title": model.__name__,
        "description": schema.pop("description", ""),
        "x-kind": "command" if issubclass(model, Command) else "event",
        "x-topic": model.topic,
        "x-key": model.key_field,
        "x-subject": model.subject_pattern,
        **({"deprecated": True, "x-newest": newest(model.ce_type)} if newest(model.ce_type) != model.ce_type else {}),
        **{key: schema[key] for key in schema if key != "title"},
    }


def _describe(owner: str, part: Schema) -> None:
    """Gives each field that has no words of its own those that it has everywhere."""
    for name, field in part.get("properties", {}).items():
        words = WORDS.get(f"{owner}.{name}") or WORDS.get(name)
        if words and "description" not in field and "$ref" not in field:
            field["description"] = words


def published(folder: Path = FOLDER) -> dict[str, Schema]:
    """What was published, by type."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def differences(models: dict[str, type[Payload]], frozen: dict[str, Schema]) -> list[Difference]:
    """Every type that was published or is declared, in order, and how the two stand to each other."""
    return [_difference(ce_type, models.get(ce_type), frozen.get(ce_type)) for ce_type in sorted({*models, *frozen})]


def publish(models: dict[str, type[Payload]], folder: Path = FOLDER) -> list[Difference]:
    """Writes what is new or changed compatibly; returns what it refused to write."""
    folder.mkdir(exist_ok=True)
    found = differences(models, published(folder))
    for one in found:
        if one.state in {"new", "compatible"}:
            text = json.dumps(document(models[one.ce_type]), indent=2, ensure_ascii=False)
            (folder / f"{one.ce_type}.json").write_text(f"{text}\n", encoding="utf-8")
    return [one for one in found if one.state in {"breaking", "withdrawn"}]


def main(arguments: Sequence[str], folder: Path = FOLDER) -> int:
    """0 where everything is (now) published as it is declared."""
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write("usage: python -m shared.schemas.publish [--check]\n")
        return 2
    models = contracts()
    checked = [one for one in differences(models, published(folder)) if one.state != "same"]
    wrong = checked if arguments else publish(models, folder)
    for one in wrong:
        sys.stderr.write(f"{one}\n")
    return 1 if wrong else 0


def _difference(ce_type: str, model: type[Payload] | None, frozen: Schema | None) -> Difference:
    if model is None:
        return Difference(ce_type, "withdrawn")
    current = document(model)
    if frozen is None:
        return Difference(ce_type, "new")
    if frozen == json.loads(json.dumps(current)):
        return Difference(ce_type, "same")
    found = breaks(frozen, current)
    return Difference(ce_type, "breaking" if found else "compatible", found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
