"""What one batch has loaded and changed: rows by class, key and root."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from shared.messaging.decision import Entity
from shared.schemas.immutable import immutable

E = TypeVar("E", bound=Entity)


@immutable(frozen=True, slots=True)
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
        self._tables: defaultdict[type, _Table] = defaultdict(_Table)
        self._undo: list[tuple[_Table, Hashable, Any]] = []

    def add(self, rows: Iterable[Entity]) -> None:
        """Rows as the database holds them."""
        for row in rows:
            table = self._tables[type(row)]
            table.loaded[row.key] = row
            table.by_root = None

    def find(self, cls: type[E], key: Hashable) -> E | None:
        row: E | None = self._tables[cls].find(key)
        return row

    def under(self, cls: type[E], root: Hashable) -> Iterator[E]:
        """The rows of a class that belong to a root, in the order in which they were added."""
        table = self._tables[cls]
        for key in table.keys_under(root):
            yield table.find(key)

    def inserted(self, cls: type[E]) -> list[E]:
        """The rows that the database does not hold yet, as they are at the end of the batch."""
        table = self._tables[cls]
        return [row for key, row in table.changed.items() if key not in table.loaded]

    def updated(self, cls: type[E]) -> list[Changed[E]]:
        """The rows that were loaded and are different at the end of the batch."""
        table = self._tables[cls]
        return [
            Changed(before, row)
            for key, row in table.changed.items()
            if (before := table.loaded.get(key)) is not None and before is not row
        ]

    def changes(self) -> list[tuple[Entity | None, Entity]]:
        """Every row that is new or different, of whatever class, with what was loaded of it; None: it is new."""
        return [
            (table.loaded.get(key), row)
            for table in self._tables.values()
            for key, row in table.changed.items()
            if table.loaded.get(key) is not row
        ]

    def put(self, row: Entity) -> None:
        """For the kit: a decision's change takes effect for the messages after it."""
        table, key = self._tables[type(row)], row.key
        self._undo.append((table, key, table.change(key, row)))

    def keep(self) -> None:
        """For the kit: the message is decided; its changes stay."""
        self._undo.clear()

    def undo(self) -> None:
        """For the kit: the message is refused, poison or a bug; nothing of it stays."""
        for table, key, before in reversed(self._undo):
            table.change(key, before)
        self._undo.clear()


class _Table:
    """The rows of one class: as they were loaded, and those that were changed since.

    The keys by root are gathered when they are first asked for: of most classes they never are.
    """

    __slots__ = ("by_root", "changed", "loaded")

    def __init__(self) -> None:
        self.loaded: dict[Hashable, Any] = {}
        self.changed: dict[Hashable, Any] = {}
        self.by_root: defaultdict[Hashable, dict[Hashable, None]] | None = None

    def find(self, key: Hashable) -> Any:
        row = self.changed.get(key)
        return self.loaded.get(key) if row is None else row

    def change(self, key: Hashable, row: Any) -> Any:
        """Puts a row in place of the change that is there, or, with None, takes it back; returns what was there."""
        before = self.changed.get(key)
        if self.by_root is not None:
            self._move(key, self.find(key), self.loaded.get(key) if row is None else row)
        if row is None:
            del self.changed[key]
        else:
            self.changed[key] = row
        return before

    def keys_under(self, root: Hashable) -> Iterable[Hashable]:
        if self.by_root is None:
            self.by_root = defaultdict(dict)
            for key in self.loaded | self.changed:
                self.by_root[self.find(key).root][key] = None
        return self.by_root.get(root, ())

    def _move(self, key: Hashable, before: Any, after: Any) -> None:
        """A row that keeps its root keeps its place among the others."""
        assert self.by_root is not None  # noqa: S101 - asked by `change`
        if before is not None and (after is None or after.root != before.root):
            del self.by_root[before.root][key]
        if after is not None:
            self.by_root[after.root][key] = None
