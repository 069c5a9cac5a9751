"""Which fields of a payload are read: the payload notes it while a service decides."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from shared.schemas.base import Payload, Value


class Trace:
    """Notes each field that is read of the payloads that it watches, as `lines[].sku` or `consents.*.status`."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[str, str]] = {}
        self._watched: list[BaseModel] = []
        self._found: dict[str, set[str]] = defaultdict(set)

    def watch(self, payload: Payload) -> None:
        self._found[payload.ce_type] |= set()
        self._walk(payload, payload.ce_type, "")

    @property
    def reads(self) -> dict[str, set[str]]:
        """The fields by type. Of a part that was looked into, those of it; of one that was only passed on, itself."""
        return {
            ce_type: {path for path in paths if not any(other.startswith((f"{path}[", f"{path}.")) for other in paths)}
            for ce_type, paths in self._found.items()
        }

    @contextmanager
    def noting(self) -> Iterator[None]:
        """While this lasts, reading is noted."""
        trace = self

        def noted(part: Any, name: str) -> Any:
            if name in type(part).__pydantic_fields__ and (place := trace._places.get(id(part))):
                trace._found[place[0]].add(place[1] + name)
            return object.__getattribute__(part, name)

        with pytest.MonkeyPatch.context() as patch:
            for base in (Payload, Value):
                patch.setattr(base, "__getattribute__", noted, raising=False)
            yield

    def _walk(self, part: BaseModel, ce_type: str, path: str) -> None:
        self._watched.append(part)  # an id is its own only while the object lives
        self._places[id(part)] = ce_type, path
        for name in type(part).model_fields:
            self._look(getattr(part, name), ce_type, path + name)

    def _look(self, value: Any, ce_type: str, path: str) -> None:
        if isinstance(value, Value):
            self._walk(value, ce_type, f"{path}.")
        elif isinstance(value, tuple):
            for each in value:
                self._look(each, ce_type, f"{path}[]")
        elif isinstance(value, dict):
            for each in value.values():
                self._look(each, ce_type, f"{path}.*")
