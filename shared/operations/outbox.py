"""`kello outbox`: what a service is to publish and has not, and why."""

from datetime import datetime
from typing import Any

import typer

from shared.messaging.outbox import contents, header
from shared.operations.installation import Installation, ServiceName, installation
from shared.operations.output import Failed, Json, Yes, ago, answer, counted, run, table

app = typer.Typer(no_args_is_help=True, help="What a service is to publish and has not.")

ROWS_MAX = 50


@app.command()
def show(service: ServiceName, as_json: Json = False) -> None:
    """By topic and key: how many rows wait, the oldest of them, and whether it blocks its key.

    kello outbox show billing
    """
    rows = run(_waiting(installation(), service))
    columns = ("topic", "key", "rows #", "oldest", "waits", "blocked because")
    shown = table(
        *columns,
        rows=(
            (r["topic"], r["key"], r["rows"], r["oldest_type"], ago(r["waiting_seconds"]), r["reason"]) for r in rows
        ),
    )
    answer(rows, shown if rows else "the outbox is empty", as_json=as_json)


@app.command()
def retry(service: ServiceName, yes: Yes = False, as_json: Json = False) -> None:
    """Let the relay try again what Kafka refused for ever: after the topic takes larger records, for one.

    Keys wait behind such a row. Exit code 1 where none is blocked.

    kello outbox retry billing --yes
    """
    ids = run(_retry(installation(), service, do_it=yes))
    said = (
        f"the relay tries {counted(len(ids), 'row')} again"
        if yes
        else f"would try {counted(len(ids), 'row')} again: add --yes"
    )
    answer({"service": service, "outbox_ids": ids, "done": yes}, said, as_json=as_json)


async def _waiting(here: Installation, service: str) -> list[dict[str, Any]]:
    async with here.database(service) as connection:
        rows = await connection.fetch(
            """
            SELECT w.topic, w.key, w.rows, w.first_id, o.records, o.created_at, b.reason, clock_timestamp() AS now
            FROM (
                SELECT topic, key, count(*) AS rows, min(id) AS first_id FROM messaging.outbox GROUP BY topic, key
            ) AS w
            JOIN messaging.outbox AS o ON o.id = w.first_id
            LEFT JOIN messaging.outbox_blocked AS b ON b.id = w.first_id
            ORDER BY b.id IS NULL, w.first_id
            LIMIT $1
            """,
            ROWS_MAX,
        )
    return [
        {
            "topic": row["topic"],
            "key": (row["key"] or b"").decode("utf-8", "backslashreplace"),
            "rows": row["rows"],
            "oldest_id": row["first_id"],
            "oldest_type": header(contents(row["records"])[0].headers, "ce_type"),
            "waiting_seconds": _seconds(row["now"], row["created_at"]),
            "reason": row["reason"],
        }
        for row in rows
    ]


def _seconds(now: datetime, then: datetime) -> float:
    return (now - then).total_seconds()


async def _retry(here: Installation, service: str, *, do_it: bool) -> list[int]:
    async with here.database(service) as connection, connection.transaction():
        rows = await connection.fetch("SELECT id FROM messaging.outbox_blocked ORDER BY id")
        ids = [row["id"] for row in rows]
        if not ids:
            raise Failed(f"nothing blocks the outbox of {service}")
        if do_it:
            await connection.execute("DELETE FROM messaging.outbox_blocked WHERE id = ANY ($1::bigint[])", ids)
        return ids
