"""What a process looks up now and then to measure it: lag, the outbox, tasks, and whether the world answers.

Of a partition that went to another process, or a kind of which no task is left, nothing is told any more. A look never
takes more than a small share of the time, however much there is to count.
"""

from collections.abc import Mapping
from time import monotonic, time

from prometheus_client import Gauge

from shared.messaging import metrics
from shared.messaging.database import Pool
from shared.messaging.offsets import Partition, Stand

OUTBOX_COUNTED_MAX = 1_000_000
SHARE_MAX = 0.05
"""Of the time that counting may take."""


class Gauges:
    """The gauges of one process of a service."""

    def __init__(self, service: str) -> None:
        metrics.begin(service)
        self._service = service
        self._told: dict[Gauge, set[tuple[str, ...]]] = {}
        self._behind_since: dict[Partition, float] = {}
        self._counts_at = 0.0

    def answers(self, by: str, is_answering: bool) -> None:
        """Whether `postgresql` or `kafka` answered just now."""
        metrics.ANSWERS.labels(self._service, by).set(is_answering)

    def lag(self, ends: Mapping[Partition, int], stands: Mapping[Partition, Stand]) -> None:
        """Of the partitions that are worked on here: how many records behind, and how late.

        The next record came after the one before it, and after the moment at which nothing was behind: so it is late by
        no more than either.
        """
        records: dict[tuple[str, ...], float] = {}
        seconds: dict[tuple[str, ...], float] = {}
        now = monotonic()
        for partition, end in ends.items():
            stand = stands.get(partition)
            behind = max(0, end - (stand.next_offset if stand is not None else 0))
            since = self._behind_since.setdefault(partition, now)
            if not behind:
                since = self._behind_since[partition] = now
            place = (partition.topic, str(partition.partition))
            records[place], seconds[place] = behind, now - since
            if behind and stand is not None and stand.last_timestamp is not None:
                seconds[place] = max(0.0, min(now - since, time() - stand.last_timestamp / 1000))
        self._behind_since = {each: since for each, since in self._behind_since.items() if each in ends}
        self._tell(metrics.LAG_RECORDS, records)
        self._tell(metrics.LAG_SECONDS, seconds)

    async def look(self, pool: Pool, is_relay: bool) -> None:
        """Counts what waits in the database, unless that took long a short while ago."""
        self._tell(metrics.RELAY_HOLDS, {(): is_relay})
        began = monotonic()
        if began < self._counts_at:
            return
        await self._look_at_the_outbox(pool)
        await self._look_at_the_tasks(pool)
        ended = monotonic()
        self._counts_at = ended + (ended - began) / SHARE_MAX

    def take_back(self) -> None:
        """The process is at its end: what it told is told no more."""
        for gauge in self._told:
            self._tell(gauge, {})

    async def _look_at_the_outbox(self, pool: Pool) -> None:
        row = await pool.fetchrow(
            """
            SELECT (SELECT count(*) FROM (SELECT FROM messaging.outbox LIMIT $1) AS counted) AS rows,
                (SELECT count(*) FROM messaging.outbox_blocked) AS blocked,
                coalesce((
                    SELECT extract(epoch FROM clock_timestamp() - o.created_at)
                    FROM messaging.outbox AS o
                    WHERE NOT EXISTS (
                        SELECT FROM messaging.outbox_blocked AS b
                        WHERE b.topic = o.topic AND b.key IS NOT DISTINCT FROM o.key
                    )
                    ORDER BY o.id
                    LIMIT 1
                ), 0) AS age_seconds
            """,
            OUTBOX_COUNTED_MAX,
        )
        assert row is not None  # noqa: S101 - a query without FROM has one row
        self._tell(metrics.OUTBOX_ROWS, {(): row["rows"]})
        self._tell(metrics.OUTBOX_BLOCKED_ROWS, {(): row["blocked"]})
        self._tell(metrics.OUTBOX_AGE_SECONDS, {(): float(row["age_seconds"])})

    async def _look_at_the_tasks(self, pool: Pool) -> None:
        rows = await pool.fetch(
            """
            SELECT kind, CASE WHEN state <> 'waiting' THEN state WHEN is_due THEN 'due' ELSE 'later' END AS state,
                count(*) AS n, extract(epoch FROM max(now - due_at) FILTER (WHERE is_due)) AS late_seconds
            FROM (
                SELECT kind, state, due_at, now, state = 'waiting' AND due_at <= now AS is_due
                FROM messaging.task, messaging.kello_now() AS now
            ) AS task
            GROUP BY 1, 2
            """
        )
        self._tell(metrics.TASKS, {(row["kind"], row["state"]): row["n"] for row in rows})
        late: dict[tuple[str, ...], float] = {(row["kind"],): 0.0 for row in rows}
        late |= {(row["kind"],): float(row["late_seconds"]) for row in rows if row["late_seconds"] is not None}
        self._tell(metrics.TASK_LATE_SECONDS, late)

    def _tell(self, gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
        for labels in self._told.get(gauge, set()) - values.keys():
            gauge.remove(self._service, *labels)
        for labels, value in values.items():
            gauge.labels(self._service, *labels).set(value)
        self._told[gauge] = set(values)
