"""Tables beside the live ones: empty or a copy of them, compared with them, and swapped in.

They are temporary tables of one session under the names of the live ones, and PostgreSQL finds them first: so the
session runs a service's own load and save on them. Every table that the service may write has a twin, so that nothing
it does by the way reaches a live row; tables that it may only read are seen as they are. They end with the session.
"""
# ruff: noqa: S608 - tables and columns are no parameters of a statement: their names are the catalogue's, in quotes

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import orjson

from shared.messaging.projections import Copy, Projection

SEEN = "kello_seen"
"""The inbox of a rebuild: (source, id, value_hash)."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not the same in both. `live` or `rebuilt` is None where it is missing there.

    Where it is in both, they hold the columns that differ.
    """

    table: str
    key: dict[str, Any]
    live: dict[str, Any] | None
    rebuilt: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a table and its rebuilt twin compare, in rows. `changed`: in both, and not the same."""

    table: str
    same: int
    changed: int
    only_live: int
    only_rebuilt: int
    settled: int
    """Different, and left as they are: `Copy.settled_by`."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """A table's columns: its primary key, what is copied, and all of them."""

    key: Sequence[str]
    copied: Sequence[str]
    every: Sequence[str]


class Shadow:
    """The twins of a service's tables, for one rebuild of one projection, in a session of its own."""

    def __init__(self, connection: Connection, service: str, projection: Projection) -> None:
        self._connection = connection
        self._service = service
        self._projection = projection
        self._shapes: dict[str, _Shape] = {}

    async def make(self, *, is_on_top: bool) -> None:
        """Makes the twins, in the caller's transaction; `is_on_top`: the copies begin as the live ones are."""
        tables = await self._tables_of_the_service()
        for copy in self._projection.copies:
            self._shapes[copy.table] = await self._shape(copy)
        for table in tables:
            await self._connection.execute(f"CREATE TEMP TABLE {_q(table)} (LIKE {_live(table)} INCLUDING ALL)")
        await self._connection.execute(
            f"""
            CREATE TEMP TABLE {SEEN} (
                source text NOT NULL, id text NOT NULL, value_hash bigint NOT NULL, PRIMARY KEY (source, id)
            )
            """
        )
        if is_on_top:
            for table in (*self._projection.roots, *self._shapes):
                await self._connection.execute(
                    f"INSERT INTO {_twin(table)} OVERRIDING SYSTEM VALUE SELECT * FROM {_live(table)}"
                )

    async def analyze(self) -> None:
        """Lets the planner know the twins: nobody else looks at temporary tables."""
        for table in self._shapes:
            await self._connection.execute(f"ANALYZE {_twin(table)}")

    async def remember(self, identities: Sequence[tuple[str, str]], hashes: Sequence[int]) -> set[tuple[str, str]]:
        """Notes (source, id); returns those that are new. What comes under the id of another event is dead, and old."""
        rows = await self._connection.fetch(
            f"""
            INSERT INTO {SEEN} (source, id, value_hash)
            SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
            ON CONFLICT DO NOTHING
            RETURNING source, id
            """,
            [source for source, _ in identities],
            [event_id for _, event_id in identities],
            hashes,
        )
        return {(row["source"], row["id"]) for row in rows}

    async def compared(self) -> list[Comparison]:
        """Each copy beside its twin."""
        found = []
        for copy in self._projection.copies:
            pairs, keys = self._pairs(copy), self._shapes[copy.table].key
            live, rebuilt = f"l.{_q(keys[0])} IS NOT NULL", f"s.{_q(keys[0])} IS NOT NULL"
            settled = _is_settled(copy)
            row = await self._connection.fetchrow(
                f"""
                SELECT count(*) FILTER (WHERE {live} AND {rebuilt} AND NOT {self._differs(copy)}) AS same,
                    count(*) FILTER (WHERE {live} AND {rebuilt} AND {self._differs(copy)} AND NOT {settled}) AS changed,
                    count(*) FILTER (WHERE NOT ({rebuilt}) AND {self._is_told(copy)}) AS only_live,
                    count(*) FILTER (WHERE NOT ({live})) AS only_rebuilt,
                    count(*) FILTER (WHERE {live} AND {rebuilt} AND {self._differs(copy)} AND {settled}) AS settled
                FROM {pairs}
                """
            )
            assert row is not None  # noqa: S101 - an aggregate gives one row
            found.append(Comparison(copy.table, *row))
        return found

    async def differences(self, limit: int, *, with_only_live: bool) -> list[Difference]:
        """The first of the rows that differ, by table and key."""
        found: list[Difference] = []
        for copy in self._projection.copies:
            shape = self._shapes[copy.table]
            first = _q(shape.key[0])
            rows = await self._connection.fetch(
                f"""
                SELECT to_jsonb(l) AS live, to_jsonb(s) AS rebuilt, l.{first} IS NOT NULL AS is_live,
                    s.{first} IS NOT NULL AS is_rebuilt
                FROM {self._pairs(copy)}
                WHERE l.{first} IS NULL OR ($2 AND s.{first} IS NULL AND {self._is_told(copy)})
                    OR (s.{first} IS NOT NULL AND {self._differs(copy)} AND NOT {_is_settled(copy)})
                ORDER BY {", ".join(f"coalesce(l.{_q(name)}, s.{_q(name)})" for name in shape.key)}
                LIMIT $1
                """,
                limit - len(found),
                with_only_live,
            )
            found += [_difference(copy.table, shape, row) for row in rows]
        return found

    async def swap(self, *, removing: bool) -> int:
        """Writes what is rebuilt where it differs; returns how many rows. `removing`: what is only live goes, too."""
        written = 0
        for root in self._projection.roots:
            await self._connection.execute(
                f"INSERT INTO {_live(root)} SELECT * FROM {_twin(root)} ON CONFLICT DO NOTHING"
            )
        for copy in self._projection.copies:
            for statement in self._writes(copy, removing=removing):
                status = await self._connection.execute(statement)
                written += int(status.rsplit(" ", 1)[1])
        return written

    def _writes(self, copy: Copy, *, removing: bool) -> list[str]:
        shape, twin, live = self._shapes[copy.table], _twin(copy.table), _live(copy.table)
        same_key = _same_key(shape.key)
        every = ", ".join(_q(name) for name in shape.every)
        assigned = ", ".join(f"{_q(name)} = s.{_q(name)}" for name in shape.copied)
        update = f"""
            UPDATE {live} AS l SET {assigned} FROM {twin} AS s
            WHERE {same_key} AND {self._differs(copy)} AND NOT {_is_settled(copy)}
            """
        insert = f"""
            INSERT INTO {live} ({every}) OVERRIDING SYSTEM VALUE
            SELECT {every} FROM {twin} AS s WHERE NOT EXISTS (SELECT FROM {live} AS l WHERE {same_key})
            """
        delete = f"DELETE FROM {live} AS l WHERE NOT EXISTS (SELECT FROM {twin} AS s WHERE {same_key})"
        return [update, insert, delete] if removing and not copy.ours else [update, insert]

    def _pairs(self, copy: Copy) -> str:
        key = self._shapes[copy.table].key
        return f"{_live(copy.table)} AS l FULL JOIN {_twin(copy.table)} AS s ON {_same_key(key)}"

    def _differs(self, copy: Copy) -> str:
        copied = self._shapes[copy.table].copied
        live, rebuilt = (", ".join(f"{side}.{_q(name)}" for name in copied) for side in "ls")
        return f"(ROW({live}) IS DISTINCT FROM ROW({rebuilt}))"

    def _is_told(self, copy: Copy) -> str:
        """Whether anybody has told of a live row: one of source_version 0 is only ours, and waits."""
        return "l.source_version > 0" if "source_version" in self._shapes[copy.table].copied else "true"

    async def _tables_of_the_service(self) -> list[str]:
        """What the service's role may write."""
        rows = await self._connection.fetch(
            """
            SELECT c.relname FROM pg_class AS c
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                AND has_table_privilege($1, c.oid, 'INSERT')
            ORDER BY c.relname
            """,
            self._service,
        )
        return [row["relname"] for row in rows]

    async def _shape(self, copy: Copy) -> _Shape:
        rows = await self._connection.fetch(
            """
            SELECT a.attname AS name, a.attnum = ANY (i.indkey) AS is_key, a.attgenerated <> '' AS is_generated
            FROM pg_attribute AS a
            JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary
            WHERE a.attrelid = to_regclass('public.' || quote_ident($1)) AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY a.attnum
            """,
            copy.table,
        )
        names = [row["name"] for row in rows if not row["is_generated"]]
        unknown = {*copy.ours, *([copy.settled_by] if copy.settled_by else [])} - set(names)
        if not rows or unknown:
            raise TypeError(f"the copy {copy.table} has no primary key, or not the columns {sorted(unknown)}")
        key = [row["name"] for row in rows if row["is_key"]]
        return _Shape(key, [name for name in names if name not in key and name not in copy.ours], names)


def _difference(table: str, shape: _Shape, row: asyncpg.Record) -> Difference:
    live = orjson.loads(row["live"]) if row["is_live"] else None
    rebuilt = orjson.loads(row["rebuilt"]) if row["is_rebuilt"] else None
    there = live or rebuilt or {}
    key = {name: there[name] for name in shape.key}
    if live is None or rebuilt is None:
        return Difference(table, key, live, rebuilt)
    names = [name for name in shape.copied if live[name] != rebuilt[name]]
    return Difference(table, key, {n: live[n] for n in names}, {n: rebuilt[n] for n in names})


def _same_key(key: Sequence[str]) -> str:
    return " AND ".join(f"l.{_q(name)} = s.{_q(name)}" for name in key)


def _is_settled(copy: Copy) -> str:
    return f"(l.{_q(copy.settled_by)} IS NOT NULL)" if copy.settled_by else "false"


def _twin(table: str) -> str:
    return f"pg_temp.{_q(table)}"


def _live(table: str) -> str:
    return f"public.{_q(table)}"


def _q(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'
