"""What must hold of billing's database and topic at any time, whatever came in."""

from collections import defaultdict

import orjson

from shared.harness.kello import Kello

UNBALANCED = "SELECT entry_id FROM ledger_posting GROUP BY entry_id HAVING sum(amount) <> 0"

WRONG_ACCOUNTS = """
    SELECT a.id, a.outstanding, a.credit, i.open, l.receivable, l.credit AS ledger_credit
    FROM account AS a
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(total - paid), 0) AS open FROM invoice
        WHERE account_id = a.id AND status <> 'draft'
    ) AS i
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(p.amount) FILTER (WHERE p.ledger_account = 'receivable'), 0) AS receivable,
            -coalesce(sum(p.amount) FILTER (WHERE p.ledger_account = 'customer_credit'), 0) AS credit
        FROM ledger_entry AS e JOIN ledger_posting AS p ON p.entry_id = e.id
        WHERE e.account_id = a.id
    ) AS l
    WHERE (a.outstanding, a.outstanding, a.credit) IS DISTINCT FROM (i.open, l.receivable, l.credit)
"""

WRONG_INVOICES = """
    SELECT i.id, i.total, i.paid FROM invoice AS i
    WHERE total <> (SELECT sum((line ->> 'gross')::bigint) FROM json_array_elements(lines) AS line)
        OR tax <> (SELECT sum((line ->> 'tax')::bigint) FROM json_array_elements(lines) AS line)
        OR paid <> (SELECT coalesce(sum(amount), 0) FROM allocation WHERE invoice_id = i.id)
"""

WRONG_SERIES = """
    SELECT s.*, count(i.id), max(i.number) FROM number_series AS s
    LEFT JOIN invoice AS i USING (legal_entity, year, lane)
    GROUP BY s.legal_entity, s.year, s.lane
    HAVING count(i.id) <> s.next_number - 1 OR max(i.number) <> s.next_number - 1 OR min(i.number) <> 1
"""

WRONG_PAYMENTS = """
    SELECT p.id FROM payment AS p
    WHERE p.state = 'received'
        AND p.amount <> p.credit + (SELECT coalesce(sum(amount), 0) FROM allocation WHERE payment_id = p.id)
"""


async def assert_the_books_are_right(kello: Kello) -> None:
    """Ledger, accounts, invoices, numbers and payments agree with each other, and versions count from 1."""
    for wrong in (UNBALANCED, WRONG_ACCOUNTS, WRONG_INVOICES, WRONG_SERIES, WRONG_PAYMENTS):
        assert await kello.rows("billing", wrong) == [], wrong
    versions: defaultdict[str, list[int]] = defaultdict(list)
    for record in await kello.records("billing.events"):
        versions[dict(record.headers)["ce_subject"].decode()].append(orjson.loads(record.value)["version"])
    for subject, seen in versions.items():
        assert seen == list(range(1, len(seen) + 1)), f"{subject}: {seen}"
