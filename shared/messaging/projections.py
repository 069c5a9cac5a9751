"""What of a service's tables is a copy of others' data: it can be made again from Kafka, beside the live one."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.schemas.base import Payload


@dataclass(frozen=True, slots=True)
class Copy:
    """A table of others' data. `ours` are the columns in it that are our own: no rebuild compares or writes them.

    `settled_by` is one of them that, once it is set, keeps the whole row as it is.
    """

    table: str
    ours: Sequence[str] = ()
    settled_by: str | None = None


@dataclass(frozen=True, slots=True)
class Projection:
    """Copies that follow from some types of messages, by their projection decisions alone.

    `roots` are tables whose rows the copies hang on: a rebuild adds those that are missing, and touches no other.
    """

    types: Sequence[type[Payload]]
    copies: Sequence[Copy]
    roots: Sequence[str] = ()

    @property
    def topics(self) -> frozenset[str]:
        return frozenset(model.topic for model in self.types)
