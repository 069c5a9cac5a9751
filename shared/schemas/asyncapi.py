"""Kello as AsyncAPI 3 tells it: every topic, every message with real examples, who sends it and who receives it.

One document for all of Kello and one for each service, made from the contracts, their recorded samples, the planned
topics and each service's wiring. https://www.asyncapi.com/docs/reference/specification/v3.1.0
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from shared.schemas.base import Command, Payload
from shared.schemas.customer import ProfileErased
from shared.schemas.envelope import TEXT_MAX, Envelope, headers, moment
from shared.schemas.publish import document as json_schema
from shared.schemas.registry import VERSION_HEADER, newest, parse

Json: TypeAlias = dict[str, Any]

ASYNCAPI = "3.1.0"
JSON_TYPE = "application/json"
EXAMPLE_MILLISECONDS = 0x01990A6C7C00
EXAMPLE_TIME = "2026-02-01T09:00:00Z"
OUTSIDE = frozenset({"hr", "sales"})
"""Publishers that are other systems, and no services of Kello."""
DAY_MILLISECONDS = 86_400_000

ABOUT = """\
Kello's services react to each other's events and to their commands, over Apache Kafka.

Every record is a CloudEvent 1.0 in *binary* content mode: the attributes are headers (`ce_id`, `ce_type` …) and the
value is the JSON payload alone. *Structured* mode is accepted, too. `(ce_source, ce_id)` identifies an event: the same
record may come twice, and counts once. The Kafka key is the text of one field, named at each message; partitions are
chosen by murmur2, as Java's clients do. Readers ignore fields that they do not know; commands with unknown fields are
refused. A command is answered by at least one event under its key, whose `ce_causationid` is the command's `ce_id`.
"""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the contracts know of a service: the topics it consumes and publishes, and the types it decides upon.

    `reads` are the fields that it reads of each event, as `services/<name>/reads.py` declares them.
    """

    name: str
    about: str
    consumes: Sequence[str]
    publishes: Sequence[str]
    types: Collection[str]
    reads: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def receives(self, model: type[Payload]) -> bool:
        """Whether it decides upon a type, or upon what an upcaster makes of it."""
        return model.topic in self.consumes and newest(model.ce_type) in self.types

    def sends(self, model: type[Payload]) -> bool:
        return model.topic in self.publishes


@dataclass(frozen=True, slots=True)
class Source:
    """What documents are made from: contracts by type, recorded payloads of each, and planned topics by name."""

    models: Mapping[str, type[Payload]]
    samples: Mapping[str, Sequence[Json]]
    topics: Mapping[str, Json]


def whole(source: Source, services: Sequence[Wiring]) -> Json:
    """The document of all of Kello: every topic and every contract."""
    return _document("Kello", ABOUT, source, services, set(source.topics), {*source.models, ProfileErased.ce_type})


def of_service(source: Source, service: Wiring) -> Json:
    """The document of one service: the topics that it touches, and the messages that it receives or sends."""
    topics = {*service.consumes, *service.publishes, f"{service.name}.dead-letters"}
    types = {model.ce_type for model in _all(source) if service.receives(model) or service.sends(model)}
    return _document(f"Kello {service.name}", f"{service.about}\n\n{ABOUT}", source, [service], topics, types)


def _document(
    title: str, about: str, source: Source, services: Sequence[Wiring], topics: set[str], types: set[str]
) -> Json:
    models = [model for model in _all(source) if model.ce_type in types]
    return {
        "asyncapi": ASYNCAPI,
        "info": {"title": title, "version": "1.0.0", "description": about},
        "defaultContentType": JSON_TYPE,
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "variables": {"bootstrap": {"default": "localhost:9092", "description": "host:port of a broker"}},
            }
        },
        "channels": {name: _channel(name, source.topics[name], models) for name in sorted(topics)},
        "operations": {name: operation for service in services for name, operation in _operations(service, models)},
        "components": {
            "schemas": {**_ENVELOPE_SCHEMAS, **_schemas([model for model in models if model is not ProfileErased])},
            "messages": {
                **{model.ce_type: _message(model, source.samples.get(model.ce_type, ())) for model in models},
                "dead-letter": _DEAD_LETTER,
            },
            "correlationIds": {
                "correlation": {
                    "description": "The first cause of all: the same in everything that follows from it.",
                    "location": "$message.header#/ce_correlationid",
                }
            },
        },
    }


def _all(source: Source) -> list[type[Payload]]:
    return [*source.models.values(), ProfileErased]


def _channel(name: str, topic: Json, models: Sequence[type[Payload]]) -> Json:
    is_dead = name.endswith(".dead-letters")
    types = ["dead-letter"] if is_dead else [model.ce_type for model in models if model.topic == name]
    retention = str(topic["retention"])
    is_compacted = retention == "compacted"
    days = int(retention.split(maxsplit=1)[0]) if retention.endswith(("day", "days")) else None
    writers = ", ".join([topic["owner"], *topic["writers"]])
    lines = [
        f"Kept {'as the last record of each key' if is_compacted else f'for {days} days' if days else 'for ever'}.",
        f"Written by {writers}; read by {', '.join(topic['readers']) or 'operators'}.",
        *(["Holds personal data."] if topic.get("personal_data") else []),
    ]
    return {
        "address": name,
        "description": " ".join(lines),
        "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in types},
        "bindings": {
            "kafka": {
                "topic": name,
                "partitions": topic["partitions"],
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if is_compacted else "delete"],
                    "retention.ms": days * DAY_MILLISECONDS if days else -1,
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations(service: Wiring, models: Sequence[type[Payload]]) -> Iterator[tuple[str, Json]]:
    for topic in service.consumes:
        received = [model for model in models if model.topic == topic and service.receives(model)]
        operation = {
            "action": "receive",
            "title": f"{service.name} receives {topic}",
            **_group(topic, received),
            "bindings": {"kafka": {"groupId": {"type": "string", "const": service.name}, "bindingVersion": "0.5.0"}},
        }
        if reads := {
            model.ce_type: list(service.reads[model.ce_type]) for model in received if model.ce_type in service.reads
        }:
            operation["x-reads"] = reads
        if topic.endswith(".commands"):
            operation["reply"] = _group(f"{service.name}.events", _answers(service.name, models))
        yield f"{service.name}.receives.{topic}", operation
    for topic in service.publishes:
        sent = [model for model in models if model.topic == topic]
        yield (
            f"{service.name}.sends.{topic}",
            {"action": "send", "title": f"{service.name} sends {topic}", **_group(topic, sent)},
        )
    dead = f"{service.name}.dead-letters"
    yield (
        f"{service.name}.sends.{dead}",
        {
            "action": "send",
            "title": f"{service.name} sends {dead}",
            "channel": {"$ref": f"#/channels/{dead}"},
            "messages": [{"$ref": f"#/channels/{dead}/messages/dead-letter"}],
        },
    )


def _group(topic: str, models: Sequence[type[Payload]]) -> Json:
    return {
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [{"$ref": f"#/channels/{topic}/messages/{model.ce_type}"} for model in models],
    }


def _answers(service: str, models: Sequence[type[Payload]]) -> list[type[Payload]]:
    """Whatever comes on the service's events may answer a command: what happened, accepted, or rejected."""
    return [model for model in models if model.topic == f"{service}.events"]


def _message(model: type[Payload], samples: Sequence[Json]) -> Json:
    kind = "command" if issubclass(model, Command) else "event"
    return {
        "name": model.ce_type,
        "title": model.__name__,
        "summary": (model.__doc__ or "").partition("\n")[0],
        "contentType": JSON_TYPE,
        "tags": [{"name": kind}],
        "headers": {
            "allOf": [
                {"$ref": "#/components/schemas/CloudEvent"},
                {"type": "object", "properties": {"ce_type": {"type": "string", "const": model.ce_type}}},
                *([_TOMBSTONE_HEADERS] if model is ProfileErased else []),
            ]
        },
        "correlationId": {"$ref": "#/components/correlationIds/correlation"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": f"The text of {model.key_field}."},
                "bindingVersion": "0.5.0",
            }
        },
        "x-key": model.key_field,
        "x-subject": model.subject_pattern,
        **({"x-newest": newest(model.ce_type)} if newest(model.ce_type) != model.ce_type else {}),
        "payload": (
            {"type": "null", "description": "A tombstone has no value."}
            if model is ProfileErased
            else {"$ref": f"#/components/schemas/{model.ce_type}"}
        ),
        "examples": [_example(model, sample, number) for number, sample in enumerate(samples)],
    }


def _example(model: type[Payload], sample: Json, number: int) -> Json:
    """A recorded payload, in the envelope that it travels in."""
    payload = parse(model.ce_type, json.dumps(sample).encode())
    envelope = Envelope(
        id=str(UUID(int=EXAMPLE_MILLISECONDS << 80 | 0x7 << 76 | 0x8 << 60 | number + 1)),
        source=_example_source(model),
        type=model.ce_type,
        time=moment(EXAMPLE_TIME),
        subject=payload.subject,
    )
    return {
        "name": "whole" if number == 0 else "least",
        "summary": "Every field." if number == 0 else "What must be there alone.",
        "headers": {name: value.decode() for name, value in headers(envelope)},
        "payload": sample,
    }


def _example_source(model: type[Payload]) -> str:
    """Kello's services name themselves; who sends commands, or publishes for other systems, is somebody outside."""
    publisher = model.ce_type.split(".")[1]
    if issubclass(model, Command):
        return "example/crm"
    return f"example/{publisher}" if publisher in OUTSIDE else f"kello/{publisher}"


def _schemas(models: Sequence[type[Payload]]) -> Json:
    """The payloads' JSON Schemas and their parts. A part that means two things in two contracts has two names."""
    documents = {model.ce_type: json_schema(model) for model in models}
    meanings: dict[str, list[Json]] = defaultdict(list)
    for document in documents.values():
        for name, part in document.get("$defs", {}).items():
            if part not in meanings[name]:
                meanings[name].append(part)
    schemas: Json = {}
    for ce_type, document in documents.items():
        names = {name: name if len(meanings[name]) == 1 else f"{ce_type}.{name}" for name in document.get("$defs", {})}
        for name, part in document.get("$defs", {}).items():
            schemas[names[name]] = _pointing(part, names)
        body = {key: value for key, value in document.items() if not key.startswith(("$", "x-"))}
        schemas[ce_type] = {"x-schema-id": document["$id"], **_pointing(body, names)}
    return dict(sorted(schemas.items()))


def _pointing(node: Any, names: Mapping[str, str]) -> Any:
    """The same schema, whose references lead to the document's components."""
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            target = names[reference.rpartition("/")[2]]
            return {**node, "$ref": f"#/components/schemas/{target}"}
        return {key: _pointing(value, names) for key, value in node.items()}
    return [_pointing(each, names) for each in node] if isinstance(node, list) else node


def _text(description: str, **keywords: Any) -> Json:
    return {"type": "string", "description": description, **keywords}


_BOUNDED = {"minLength": 1, "maxLength": TEXT_MAX}

_ENVELOPE_SCHEMAS: Json = {
    "CloudEvent": {
        "title": "CloudEvent",
        "description": "The attributes of CloudEvents 1.0 as headers, in UTF-8. Others may be there besides.",
        "type": "object",
        "properties": {
            "ce_specversion": _text("Of CloudEvents.", const="1.0"),
            "ce_id": _text("With the source, identifies the event.", **_BOUNDED),
            "ce_source": _text("Who says it: `kello/billing` …", **_BOUNDED),
            "ce_type": _text("Which contract the payload follows.", **_BOUNDED),
            "ce_time": _text("When it happened (RFC 3339), at most 24 hours ahead.", format="date-time"),
            "ce_subject": _text("What it is about; `version` counts the events of a subject.", maxLength=TEXT_MAX),
            "ce_correlationid": _text("The first cause's `ce_id`.", maxLength=TEXT_MAX),
            "ce_causationid": _text("The `ce_id` of the record that led to this one.", maxLength=TEXT_MAX),
            "traceparent": _text("W3C Trace Context.", maxLength=TEXT_MAX),
            "content-type": _text(f"`{JSON_TYPE}`; in structured mode `application/cloudevents+json`."),
        },
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"],
    }
}

_TOMBSTONE_HEADERS: Json = {
    "type": "object",
    "properties": {VERSION_HEADER: _text("Which version of the customer was erased.", pattern="^[1-9][0-9]{0,17}$")},
    "required": [VERSION_HEADER],
}

_DEAD_LETTER: Json = {
    "name": "dead-letter",
    "title": "Dead letter",
    "summary": "A record that could not be handled: its key, value and headers as they came, and why.",
    "headers": {
        "type": "object",
        "properties": {
            "kello_dead_id": _text("The letter's own id: the same however often it is written.", format="uuid"),
            "kello_dead_kind": _text("Whose fault it is.", enum=["poison", "refused", "bug"]),
            "kello_dead_code": _text("Why, for programs."),
            "kello_dead_reason": _text("What to do, for people; without personal data.", maxLength=1000),
            "kello_dead_group": _text("The service that could not handle it."),
            "kello_dead_topic": _text("The topic that the record stood on."),
            "kello_dead_partition": _text("Its partition.", pattern="^[0-9]+$"),
            "kello_dead_offset": _text("Its offset.", pattern="^[0-9]+$"),
            "kello_dead_timestamp": _text("Its timestamp, in milliseconds since 1970.", pattern="^-?[0-9]+$"),
        },
        "required": ["kello_dead_id", "kello_dead_kind", "kello_dead_code", "kello_dead_reason", "kello_dead_group"],
    },
    "payload": {"description": "The value of the record as it came: any bytes, or none."},
}
