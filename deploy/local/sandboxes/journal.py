"""What happened in one sandbox: an append-only journal in SQLite, so that a restart goes on from it.

A sandbox keeps its state in memory and changes it by journal entries alone: each is written and committed first, then
applied; a start applies all of them again. The file belongs to one process at a time.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

LOCK_WAIT_SECONDS = 5.0
"""How long a start waits for a predecessor that is still closing the same journal."""

SCHEMA = """
    CREATE TABLE IF NOT EXISTS entry (
        n    INTEGER PRIMARY KEY,
        at   TEXT NOT NULL,
        what TEXT NOT NULL,
        key  TEXT NOT NULL,
        body TEXT NOT NULL,
        raw  BLOB
    );
    CREATE TRIGGER IF NOT EXISTS entry_is_not_changed BEFORE UPDATE ON entry
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
    CREATE TRIGGER IF NOT EXISTS entry_is_not_deleted BEFORE DELETE ON entry
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: when, what, to which key; `body` is JSON."""

    n: int
    at: datetime
    what: str
    key: str
    body: str


class Journal:
    """The entries of one sandbox, in order. An appended entry is committed when `append` returns."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the journal. sqlite3.OperationalError: another process has it open."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=LOCK_WAIT_SECONDS, isolation_level=None)
        try:
            # The lock keeps a second process out; without a sync per commit it still survives any kill of this one.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(SCHEMA)
        except BaseException:
            self._db.close()
            raise

    def append(self, what: str, key: str, body: str = "{}", raw: bytes | None = None) -> Entry:
        """Writes and commits one entry."""
        at = datetime.now(UTC)
        n = self._db.execute(
            "INSERT INTO entry (at, what, key, body, raw) VALUES (?, ?, ?, ?, ?)",
            (at.isoformat(), what, key, body, raw),
        ).lastrowid
        if n is None:
            raise AssertionError("SQLite gives every inserted row a number")
        return Entry(n, at, what, key, body)

    def entries(self) -> Iterator[Entry]:
        """Everything so far, oldest first, without the raw parts."""
        for n, at, what, key, body in self._db.execute("SELECT n, at, what, key, body FROM entry ORDER BY n"):
            yield Entry(n, datetime.fromisoformat(at), what, key, body)

    def raw(self, n: int) -> bytes:
        """The raw part of one entry. LookupError: no such entry, or it has none."""
        row = self._db.execute("SELECT raw FROM entry WHERE n = ? AND raw IS NOT NULL", (n,)).fetchone()
        if row is None:
            raise LookupError(f"entry {n} has no raw part")
        return bytes(row[0])

    def close(self) -> None:
        self._db.close()
