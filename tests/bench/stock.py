"""What is in a database before a run: customers, their accounts, and as many invoices as asked for."""

import asyncpg
import orjson

from tests.bench.contenders.work import KNOWN_CUSTOMER

FILL_SECONDS = 3600
PIECE = 100_000
LINE = {"sku": "SKU-00000", "description": "Article 0", "quantity": 1, "unit_price": 1000, "discount": 0}
LINES = orjson.dumps([{**LINE, "net": 1000, "tax_rate": 2000, "tax": 200, "gross": 1200}] * 3).decode()
BILL_TO = orjson.dumps({**KNOWN_CUSTOMER, "tax_id": None}).decode()

IDS = """
CREATE FUNCTION pg_temp.numbered(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$SELECT ('00000000-0000-' || kind || '-8000-' || lpad(to_hex(n), 12, '0'))::uuid$$
"""


async def contender(url: str, customers: int) -> None:
    """The accounts of a contender's table."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(IDS)
        await connection.execute(
            """
            INSERT INTO account
            SELECT pg_temp.numbered('7000', n), pg_temp.numbered('7003', n), 'EUR', 0, 1
            FROM generate_series(0, $1::integer - 1) AS n
            """,
            customers,
            timeout=FILL_SECONDS,
        )
        await connection.execute("VACUUM ANALYZE account")
    finally:
        await connection.close()


async def billing(url: str, customers: int, *, lanes: int = 1, invoices: int = 0) -> None:
    """Customers whom billing knows from their profiles, an account each, and invoices of theirs from a year long ago.

    Invoices are as long as those that are measured, with their ledger; half of them are paid.
    """
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(IDS)
        await connection.execute("UPDATE legal_entity SET lanes = $1", lanes)
        await _fill_customers(connection, customers)
        await connection.execute("SET session_replication_role = replica")  # no triggers: what we write is right
        if invoices:
            await _fill_tables_of_invoices(connection, customers, invoices)
        # what is empty stays unknown to the planner, as in a new database: of a table seen empty it expects no growth
        await connection.execute("VACUUM ANALYZE customer, account", timeout=FILL_SECONDS)
        if invoices:
            await connection.execute("VACUUM ANALYZE invoice, ledger_entry", timeout=FILL_SECONDS)
            await connection.execute("CHECKPOINT", timeout=FILL_SECONDS)  # or the disk is busy with it while we measure
    finally:
        await connection.close()


async def _fill_customers(connection: asyncpg.Connection, customers: int) -> None:
    await connection.execute(
        """
        INSERT INTO customer
        SELECT pg_temp.numbered('7000', n), 1, 'known', $2::jsonb, 1, now(), 0
        FROM generate_series(0, $1::integer - 1) AS n
        """,
        customers,
        BILL_TO,
        timeout=FILL_SECONDS,
    )
    await connection.execute(
        """
        INSERT INTO account
        SELECT pg_temp.numbered('7003', n), pg_temp.numbered('7000', n), 'EUR', 0, 0, 1
        FROM generate_series(0, $1::integer - 1) AS n
        """,
        customers,
        timeout=FILL_SECONDS,
    )


async def _fill_tables_of_invoices(connection: asyncpg.Connection, customers: int, invoices: int) -> None:
    """Their indexes are built when everything is there, and not row by row."""
    await connection.execute(
        """
        UPDATE pg_index SET indisready = false, indisvalid = false
        WHERE indrelid IN ('invoice'::regclass, 'ledger_entry'::regclass)
        """
    )
    for first in range(0, invoices, PIECE):
        await _fill_invoices(connection, first, min(first + PIECE, invoices) - 1, customers)
    await connection.execute("SET maintenance_work_mem = '1GB'")
    for table in ("invoice", "ledger_entry"):
        await connection.execute(f"REINDEX TABLE {table}", timeout=FILL_SECONDS)


async def _fill_invoices(connection: asyncpg.Connection, first: int, last: int, customers: int) -> None:
    """The customers take turns, in an order that is far from that of their ids."""
    await connection.execute(
        """
        INSERT INTO invoice (
            id, customer_id, currency, cause_kind, cause_id, ordered_at, lines, net, tax, total, status, account_id,
            legal_entity, year, lane, number, printed, issued_on, due_on, bill_to, paid, version
        )
        SELECT pg_temp.numbered('7004', i), pg_temp.numbered('7000', n), 'EUR', 'command',
            pg_temp.numbered('7004', i), '2020-01-31T12:00Z', $4::json, 3000, 600, 3600,
            CASE i % 2 WHEN 0 THEN 'issued' ELSE 'paid' END, pg_temp.numbered('7003', n), 'KELLO', 2020, 0, i + 1,
            'KELLO-2020-0-' || i + 1, '2020-01-31', '2020-02-14', $5::json, 3600 * (i % 2), 1 + i % 2
        FROM generate_series($1::bigint, $2::bigint) AS i, LATERAL (SELECT (i * 7919) % $3::bigint AS n) AS c
        """,
        first,
        last,
        customers,
        LINES,
        BILL_TO,
        timeout=FILL_SECONDS,
    )
    await connection.execute(
        """
        INSERT INTO ledger_entry (
            id, account_id, currency, kind, business_on, invoice_id, receivable, revenue, tax_payable
        )
        SELECT pg_temp.numbered('7004', i), pg_temp.numbered('7003', (i * 7919) % $3::bigint), 'EUR', 'invoice',
            '2020-01-31', pg_temp.numbered('7004', i), 3600, -3000, -600
        FROM generate_series($1::bigint, $2::bigint) AS i
        """,
        first,
        last,
        customers,
        timeout=FILL_SECONDS,
    )
