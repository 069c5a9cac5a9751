"""What one batch has loaded and changed: rows by class, key and root."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.messaging.decision import Entity

E = TypeVar("E", bound=Entity)


@dataclass(frozen=True, slots=True)
class Changed(Generic[E]):
    """A row that was loaded and is different now: save guards its write by `before.version` where it has one."""

    before: E
    after: E


class WorkingSet:
    """The rows that decisions read, and what they changed. Services subclass it to give it words of their own.

    `load` adds what the database holds; decisions only read; the kit alone puts a decision's changes in, and takes them
    back when the message is refused after all. `save` asks for what is new and what is changed: a row that a batch
    changed fifty times is written once.
    """

    def __init__(self) -> None:
        self._rows: defaultdict[type, dict[Hashable, Any]] = defaultdict(dict)
        self._loaded: defaultdict[type, dict[Hashable, Any]] = defaultdict(dict)
        self._by_root: defaultdict[type, defaultdict[Hashable, dict[Hashable, None]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        self._touched: defaultdict[type, dict[Hashable, None]] = defaultdict(dict)
        self._undo: list[tuple[type, Hashable, Any, bool]] = []

    def add(self, rows: Iterable[Entity]) -> None:
        """Rows as the database holds them."""
        for row in rows:
            cls, key = type(row), row.key
            self._rows[cls][key] = row
            self._loaded[cls][key] = row
            self._by_root[cls][row.root][key] = None

    def find(self, cls: type[E], key: Hashable) -> E | None:
        row: E | None = self._rows[cls].get(key)
        return row

    def under(self, cls: type[E], root: Hashable) -> Iterator[E]:
        """The rows of a class that belong to a root, in the order in which they were added."""
        rows = self._rows[cls]
        roots = self._by_root[cls]
        if root in roots:
            for key in roots[root]:
                yield rows[key]

    def inserted(self, cls: type[E]) -> list[E]:
        """The rows that the database does not hold yet, as they are at the end of the batch."""
        rows, loaded = self._rows[cls], self._loaded[cls]
        return [rows[key] for key in self._touched[cls] if key not in loaded]

    def updated(self, cls: type[E]) -> list[Changed[E]]:
        """The rows that were loaded and are different at the end of the batch."""
        rows, loaded = self._rows[cls], self._loaded[cls]
        return [
            Changed(loaded[key], rows[key])
            for key in self._touched[cls]
            if key in loaded and rows[key] is not loaded[key]
        ]

    def put(self, row: Entity) -> None:
        """For the kit: a decision's change takes effect for the messages after it."""
        cls, key = type(row), row.key
        touched = self._touched[cls]
        self._undo.append((cls, key, self._rows[cls].get(key), key in touched))
        self._replace(cls, key, row)
        touched[key] = None

    def keep(self) -> None:
        """For the kit: the message is decided; its changes stay."""
        self._undo.clear()

    def undo(self) -> None:
        """For the kit: the message is refused, poison or a bug; nothing of it stays."""
        for cls, key, before, was_touched in reversed(self._undo):
            self._replace(cls, key, before)
            if not was_touched:
                del self._touched[cls][key]
        self._undo.clear()

    def _replace(self, cls: type, key: Hashable, row: Entity | None) -> None:
        """Another row, or none, under a key. A row that keeps its root keeps its place among the others."""
        rows, roots = self._rows[cls], self._by_root[cls]
        before = rows.pop(key, None)
        if before is not None and (row is None or row.root != before.root):
            del roots[before.root][key]
        if row is not None:
            rows[key] = row
            roots[row.root][key] = None
