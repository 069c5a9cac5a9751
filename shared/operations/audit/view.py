"""One service's database as an audit sees it: a session with temporary tables, and then one snapshot."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.messaging.dead_letter_store import unpacked
from shared.messaging.offsets import Partition
from shared.messaging.outbox import contents
from shared.messaging.service import Service
from shared.operations.audit.answers import answers_of
from shared.operations.audit.records import OUTBOX, Letter, Lying, Row, letter_of, name_of, row_of
from shared.operations.installation import Connection
from shared.schemas.registry import COMPACTED_TOPICS

TABLES = Path(__file__).with_name("tables.sql")
BUFFER_ROWS = 5_000
STATEMENT_SECONDS = 600.0
COPIED_SECONDS = 60.0


class View:
    """What a service keeps, heard and said. Filled by `add`, then frozen, filled up and sorted."""

    def __init__(self, service: Service[Any, Any], connection: Connection) -> None:
        self.service = service
        self.connection = connection
        self.as_of = datetime.min.replace(tzinfo=UTC)
        self.heard = self.said = 0
        self.letters_topic = f"{service.name}.dead-letters"
        self._rows: list[Row] = []
        self._letters: list[Letter] = []

    @property
    def topics(self) -> set[str]:
        """What it reads, and what it writes."""
        return {*self.service.consumes, *self.service.publishes, self.letters_topic}

    async def prepare(self) -> None:
        """The empty tables. No snapshot is held yet."""
        await self.connection.execute(TABLES.read_text())
        await self.connection.execute(
            "SELECT set_config('kello.service', $1, false),"
            " set_config('idle_in_transaction_session_timeout', $2, false)",
            self.service.name,
            f"{STATEMENT_SECONDS:.0f}s",
        )
        await self.connection.executemany("INSERT INTO own VALUES ($1)", [(each,) for each in self.service.publishes])
        await self.connection.executemany("INSERT INTO answer VALUES ($1, $2)", answers_of(self.service))

    async def add(self, records: Iterable[Lying]) -> None:
        """More of the log."""
        for each in records:
            if each.topic == self.letters_topic:
                self._letters.append(letter_of(each))
            else:
                self._rows.append(row_of(each))
        if len(self._rows) + len(self._letters) >= BUFFER_ROWS:
            await self.flush()

    async def flush(self) -> None:
        """What was added is in the tables."""
        for table, rows, columns in (("record", self._rows, Row._fields), ("letter", self._letters, Letter._fields)):
            if rows:
                await self._copy(table, columns, rows)
                rows.clear()

    async def freeze(self) -> dict[Partition, int]:
        """Takes the snapshot. Gives the end of what it has to do with, of each partition: read so far, or published."""
        await self.flush()
        await self.connection.execute("ANALYZE record")
        await self.connection.transaction(isolation="repeatable_read", readonly=True).start()
        self.as_of = await self.connection.fetchval("SELECT clock_timestamp()")  # the first query takes the snapshot
        rows = await self.connection.fetch(
            """
            SELECT topic, partition, max(reached) AS reached FROM (
                SELECT topic, partition, next_offset FROM messaging.consumer_offset WHERE consumer_group = $1
                UNION ALL
                SELECT topic, partition, acknowledged_offset + 1 FROM messaging.relay_position
            ) AS ends (topic, partition, reached)
            GROUP BY topic, partition
            """,
            self.service.name,
        )
        return {Partition(row["topic"], row["partition"]): row["reached"] for row in rows}

    async def add_outbox(self) -> None:
        """What is committed and not known to be published yet. Numbered in its order: a row holds several records."""
        number = 0
        cursor = self.connection.cursor(
            "SELECT topic, key, records FROM messaging.outbox ORDER BY id", prefetch=BUFFER_ROWS
        )
        async for row in cursor:
            for each in contents(row["records"]):
                await self.add([Lying(row["topic"], OUTBOX, number, row["key"], *each)])
                number += 1

    async def sort(self, log: Sequence[tuple[Any, ...]]) -> None:
        """What was heard and what was said, as of the snapshot. `log` are rows of the table of that name."""
        await self.flush()
        await self._copy("log", None, log)
        await self.connection.execute(
            """
            INSERT INTO whole
            SELECT topic FROM log WHERE topic <> ALL ($1::text[]) GROUP BY topic HAVING max(begins) = 0
            """,
            sorted(COMPACTED_TOPICS),
        )
        await self._forget_later_letters()
        await self._add_mended()
        await self._sort_heard()
        await self._sort_said()
        await self.connection.execute("ANALYZE heard, said, letter")
        self.heard = await self.connection.fetchval("SELECT count(*) FROM heard")
        self.said = await self.connection.fetchval("SELECT count(*) FROM said")

    async def _forget_later_letters(self) -> None:
        """Those of a moment after the snapshot."""
        await self.connection.execute(
            """
            DELETE FROM letter USING log
            WHERE log.topic = $1 AND log.partition = letter.letter_partition AND letter.letter_at >= log.read_to
                AND NOT EXISTS (
                    SELECT FROM messaging.relay_position AS p
                    WHERE p.topic = $1 AND p.partition = letter.letter_partition
                        AND p.acknowledged_offset >= letter.letter_at
                )
            """,
            self.letters_topic,
        )

    async def _add_mended(self) -> None:
        """What was replayed of letters that somebody had mended, in the places of their records."""
        cursor = self.connection.cursor(
            """
            SELECT DISTINCT ON (l.letter_id) l.topic, l.partition, l.at, edit.key, edit.value, edit.headers
            FROM letter AS l
            JOIN messaging.dead_letter_end AS e ON e.letter_id = l.letter_id AND e.outcome = 'replayed'
            JOIN messaging.dead_letter_edit AS edit
                ON edit.letter_id = e.letter_id AND edit.number = e.edit_number AND edit.headers IS NOT NULL
            """,
            prefetch=BUFFER_ROWS,
        )
        rows = [
            row_of(Lying(row["topic"], row["partition"], row["at"], row["key"], row["value"], unpacked(row["headers"])))
            async for row in cursor
        ]
        await self._copy("mended", Row._fields, rows)

    async def _sort_heard(self) -> None:
        await self.connection.execute(
            """
            INSERT INTO heard
            SELECT DISTINCT ON (r.source, r.id)
                r.topic, r.source, r.id, r.type, r.version, r.key, r.said, coalesce(NOT l.is_heard, false)
            FROM (
                SELECT * FROM record
                WHERE NOT EXISTS (
                    SELECT FROM mended AS m
                    WHERE m.topic = record.topic AND m.partition = record.partition AND m.at = record.at
                )
                UNION ALL
                SELECT * FROM mended
            ) AS r
            JOIN messaging.consumer_offset AS o ON o.topic = r.topic AND o.partition = r.partition
            LEFT JOIN (
                SELECT topic, partition, at, bool_or(is_heard) AS is_heard FROM put_aside GROUP BY topic, partition, at
            ) AS l ON l.topic = r.topic AND l.partition = r.partition AND l.at = r.at
            WHERE o.consumer_group = $1 AND r.at < o.next_offset AND r.type = ANY ($2::text[])
            ORDER BY r.source, r.id, coalesce(NOT l.is_heard, false), r.topic, r.partition, r.at
            """,
            self.service.name,
            sorted({name_of(ce_type) for ce_type in self.service.handlers.types}),
        )

    async def _sort_said(self) -> None:
        await self.connection.execute(
            """
            INSERT INTO said
            SELECT DISTINCT ON (r.id)
                r.topic, r.partition, r.at, r.id, r.type, r.subject, r.version, r.key, r.cause, r.said
            FROM record AS r
            JOIN own ON own.topic = r.topic
            LEFT JOIN messaging.relay_position AS p ON p.topic = r.topic AND p.partition = r.partition
            WHERE r.source = 'kello/' || $1 AND (r.partition = -1 OR r.at <= p.acknowledged_offset)
            ORDER BY r.id, r.partition = -1, r.partition, r.at
            """,
            self.service.name,
        )

    async def _copy(self, table: str, columns: Sequence[str] | None, rows: Sequence[tuple[Any, ...]]) -> None:
        await self.connection.copy_records_to_table(
            table, columns=columns, records=rows, schema_name="pg_temp", timeout=COPIED_SECONDS
        )
