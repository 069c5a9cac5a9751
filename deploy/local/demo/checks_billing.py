"""What must hold of money that customers owe and pay."""

from collections import Counter
from collections.abc import Mapping

from deploy.local.demo.evidence import Evidence, check
from shared.schemas.billing import CommandRejected, InvoiceIssued, IssueInvoice, PaymentReceived
from shared.schemas.sales import BookingConfirmed, PurchaseRecorded


@check
async def billed_once(evidence: Evidence) -> list[str]:
    """Every purchase, booking and request has exactly one invoice, or a draft of a customer nobody knows yet."""
    wanted = {("purchase", each.payload["purchase_id"]) for each in evidence.taken_in("billing", PurchaseRecorded)}
    wanted |= {("booking", each.payload["booking_id"]) for each in evidence.taken_in("billing", BookingConfirmed)}
    refused = {each.payload["command_id"] for each in evidence.events(CommandRejected)}
    asked = [each for each in evidence.taken_in("billing", IssueInvoice) if each.id not in refused]
    wanted |= {("command", each.payload["invoice_id"]) for each in asked}
    rows = await evidence.rows("billing", "SELECT cause_kind, cause_id::text, id::text, status FROM invoice")
    found = Counter((row["cause_kind"], row["cause_id"]) for row in rows)
    issued = Counter(each.payload["invoice_id"] for each in evidence.events(InvoiceIssued))
    offending = [f"{kind} {id_} has {found[kind, id_]} invoices" for kind, id_ in wanted if found[kind, id_] != 1]
    offending += [f"{kind} {id_} was billed and nobody asked" for kind, id_ in found.keys() - wanted]
    return offending + [
        f"invoice {row['id']} is {row['status']} and was told {issued[row['id']]} times"
        for row in rows
        if issued[row["id"]] != (row["status"] != "draft")
    ]


@check
async def lines_sum_up(evidence: Evidence) -> list[str]:
    """Every invoice is the sum of its lines and their tax."""
    rows = await evidence.rows(
        "billing",
        """
        SELECT i.id::text FROM invoice AS i CROSS JOIN LATERAL (
            SELECT sum((l->>'net')::bigint) AS net, sum((l->>'tax')::bigint) AS tax, sum((l->>'gross')::bigint) AS gross
            FROM jsonb_array_elements(i.lines) AS l
        ) AS line
        WHERE (i.net, i.tax, i.total) IS DISTINCT FROM (line.net, line.tax, line.gross) OR i.total <> i.net + i.tax
        """,
    )
    told = {each.payload["invoice_id"]: each.payload["total"] for each in evidence.events(InvoiceIssued)}
    kept = {
        row["id"]: row["total"]
        for row in await evidence.rows("billing", "SELECT id::text, total FROM invoice WHERE status <> 'draft'")
    }
    return [row["id"] for row in rows] + [f"invoice {id_} was told otherwise" for id_ in _differing(told, kept)]


@check
async def numbers_gapless(evidence: Evidence) -> list[str]:
    """Invoice numbers are gapless in every series."""
    rows = await evidence.rows(
        "billing",
        """
        SELECT s.legal_entity || '/' || s.year || '/' || s.lane AS series FROM number_series AS s
        LEFT JOIN invoice AS i USING (legal_entity, year, lane)
        GROUP BY s.legal_entity, s.year, s.lane, s.next_number
        HAVING count(i.number) <> s.next_number - 1 OR min(i.number) <> 1 OR max(i.number) <> s.next_number - 1
            OR count(DISTINCT i.number) <> count(*)
        """,
    )
    return [row["series"] for row in rows]


@check
async def invoices_are_settled_or_owed(evidence: Evidence) -> list[str]:
    """Invoices = payments + credit used + outstanding, for every account."""
    rows = await evidence.rows(
        "billing",
        """
        WITH billed AS (
            SELECT account_id, sum(total) AS total, sum(paid) AS paid FROM invoice WHERE status <> 'draft'
            GROUP BY account_id
        ), allocated AS (
            SELECT e.account_id, sum(a.amount) AS amount,
                sum(a.amount) FILTER (WHERE a.payment_id IS NULL) AS from_credit
            FROM allocation AS a JOIN ledger_entry AS e ON e.id = a.entry_id GROUP BY e.account_id
        ), received AS (
            SELECT account_id, sum(credit) AS credit FROM payment WHERE state = 'received' GROUP BY account_id
        )
        SELECT account.id::text FROM account
        LEFT JOIN billed ON billed.account_id = account.id
        LEFT JOIN allocated ON allocated.account_id = account.id
        LEFT JOIN received ON received.account_id = account.id
        WHERE coalesce(billed.total, 0) <> coalesce(allocated.amount, 0) + account.outstanding
            OR coalesce(billed.paid, 0) <> coalesce(allocated.amount, 0)
            OR coalesce(received.credit, 0) <> coalesce(allocated.from_credit, 0) + account.credit
        """,
    )
    return [f"account {row['id']}" for row in rows]


@check
async def ledger_balances(evidence: Evidence) -> list[str]:
    """The ledger balances in every entry and currency, and says what the accounts say."""
    entries = await evidence.rows(
        "billing",
        "SELECT entry_id::text AS id FROM ledger_posting GROUP BY entry_id HAVING sum(amount) <> 0"
        " UNION ALL SELECT id::text FROM ledger_entry WHERE id NOT IN (SELECT entry_id FROM ledger_posting)",
    )
    accounts = await evidence.rows(
        "billing",
        """
        SELECT a.id::text FROM account AS a LEFT JOIN LATERAL (
            SELECT coalesce(sum(p.amount) FILTER (WHERE p.ledger_account = 'receivable'), 0) AS owed,
                coalesce(-sum(p.amount) FILTER (WHERE p.ledger_account = 'customer_credit'), 0) AS credit
            FROM ledger_entry AS e JOIN ledger_posting AS p ON p.entry_id = e.id WHERE e.account_id = a.id
        ) AS booked ON true
        WHERE (booked.owed, booked.credit) IS DISTINCT FROM (a.outstanding, a.credit)
        """,
    )
    currencies = await evidence.rows(
        "billing",
        """
        SELECT e.currency FROM ledger_entry AS e JOIN ledger_posting AS p ON p.entry_id = e.id
        GROUP BY e.currency HAVING sum(p.amount) <> 0
        """,
    )
    return [
        *(f"entry {row['id']}" for row in entries),
        *(f"account {row['id']}" for row in accounts),
        *(f"currency {row['currency']}" for row in currencies),
    ]


@check
async def captured_once(evidence: Evidence) -> list[str]:
    """Every payment by card was captured exactly once at the gateway, and none that failed."""
    rows = await evidence.rows(
        "billing",
        "SELECT id::text, state, amount, currency, reference FROM payment WHERE method = 'gateway'",
    )
    captured = {
        each["id"]: (each["amount"], each["currency"]) for each in evidence.captures if each["kind"] == "capture"
    }
    keys = Counter(each["key"] for each in evidence.captures)
    offending = [f"idempotency key {key} was captured {count} times" for key, count in keys.items() if count > 1]
    received = {row["reference"]: (row["amount"], row["currency"]) for row in rows if row["state"] == "received"}
    offending += [f"capture {id_} differs from its payment" for id_ in _differing(captured, received)]
    return offending + [
        f"payment {row['id']} is still {row['state']}" for row in rows if row["state"] in ("pending", "unknown")
    ]


@check
async def payments_told_once(evidence: Evidence) -> list[str]:
    """Every payment received was told once, and is its allocations and its credit."""
    told = Counter(each.payload["payment_id"] for each in evidence.events(PaymentReceived))
    rows = await evidence.rows(
        "billing",
        """
        SELECT p.id::text, p.amount, p.credit, coalesce(sum(a.amount), 0) AS allocated
        FROM payment AS p LEFT JOIN allocation AS a ON a.payment_id = p.id
        WHERE p.state = 'received' GROUP BY p.id
        """,
    )
    offending = [f"payment {row['id']}" for row in rows if row["amount"] != row["credit"] + row["allocated"]]
    received = Counter(row["id"] for row in rows)
    return offending + [
        f"payment {id_} was told {told[id_]} times" for id_ in told | received if told[id_] != received[id_]
    ]


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """The keys under which two differ, or that only one of them has."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
