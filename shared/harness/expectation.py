"""What a test expects to arrive: which events match, and what is told when none does."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.harness.eyes import Event, RawRecord
from shared.schemas.answers import Rejected
from shared.schemas.base import Payload

P = TypeVar("P", bound=Payload)
LINES_MAX = 30
LINE_CHARACTERS_MAX = 400


@dataclass(frozen=True)
class Expectation(Generic[P]):
    """An event of a type whose fields are as given. Raises TypeError for a field that the type does not have."""

    model: type[P]
    fields: Mapping[str, Any]

    def __post_init__(self) -> None:
        unknown = [
            name for name in self.fields if name not in self.model.model_fields and not hasattr(self.model, name)
        ]
        if unknown:
            known = ", ".join(self.model.model_fields)
            raise TypeError(f"{self.model.__name__} has no {', '.join(unknown)}: its fields are {known}")

    def __str__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"{self.model.__name__}({fields})"

    def among(self, events: Iterable[Event]) -> list[P]:
        """The payloads that match, in order."""
        return [
            event.payload
            for event in events
            if isinstance(event.payload, self.model) and not self._differences(event.payload)
        ]

    def told(self, events: Iterable[Event]) -> str:
        """What arrived instead, the latest last: those of the type with what differs, then the others."""
        same = [event for event in events if isinstance(event.payload, self.model)]
        others = [event for event in events if not isinstance(event.payload, self.model)]
        near = [f"{event.key}: {'; '.join(self._differences(event.payload)) or 'matches'}" for event in same]
        far = [f"{event.type or 'no ce_type'} {event.key} {event.payload!r}" for event in others]
        return "\n".join(
            [
                *_section(f"Each {self.model.__name__} on {self.model.topic}", near),
                *_section(f"What else came on {self.model.topic}", far),
            ]
        )

    def _differences(self, payload: P) -> list[str]:
        return [
            f"{name} is {getattr(payload, name)!r}, not {value!r}"
            for name, value in self.fields.items()
            if getattr(payload, name) != value
        ]


def refusals(events: Iterable[Event]) -> list[str]:
    """Commands that were answered with a rejection, on one topic."""
    rejected = [event.payload for event in events if isinstance(event.payload, Rejected)]
    found = [f"{answer.command_type} {answer.key}: {answer.code}: {answer.message}" for answer in rejected]
    return _section("Commands that were rejected", found) if found else []


def letters(topic: str, records: Iterable[RawRecord]) -> list[str]:
    """Dead letters with their reasons."""
    found = []
    for record in records:
        told = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
        why = " ".join(told.get(f"kello_dead_{name}", "") for name in ("kind", "code", "reason"))
        found.append(f"{told.get('ce_type', 'no ce_type')} of {told.get('kello_dead_topic', '?')}: {why}")
    return _section(f"What was put aside on {topic}", found) if found else []


def _section(title: str, lines: list[str]) -> list[str]:
    shown = [f"  {line}"[:LINE_CHARACTERS_MAX] for line in lines[-LINES_MAX:]]
    more = len(lines) - len(shown)
    return [f"{title}:", *([f"  ({more} before these)"] if more else []), *(shown or ["  nothing"])]
