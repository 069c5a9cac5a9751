"""Invoices in PostgreSQL."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import orjson
from pydantic import TypeAdapter

from services.billing.domain.invoice import Bill, CauseKind, Invoice, Issue
from services.billing.store.columns import columns
from shared.messaging.database import COMMAND_TIMEOUT_SECONDS, Row, Tx, expect_rows
from shared.messaging.working_set import Changed
from shared.schemas.billing import BillTo, InvoiceLine

LINES = TypeAdapter(tuple[InvoiceLine, ...])
INSERTED = (
    *("id", "customer_id", "currency", "cause_kind", "cause_id", "ordered_at", "payment_token"),
    *("lines", "net", "tax", "total", "status", "place", "paid", "version"),
    *("account_id", "legal_entity", "year", "lane", "number", "printed", "issued_on", "due_on", "bill_to"),
)
_NOT_ISSUED = (None,) * 9


async def invoices_of_causes(tx: Tx, causes: Collection[tuple[CauseKind, UUID]]) -> list[Invoice]:
    """What was billed for these causes already, whoever the customer is."""
    rows = await tx.fetch(
        """
        SELECT invoice.* FROM invoice
        JOIN unnest($1::text[], $2::uuid[]) AS b (kind, id) ON invoice.cause_id = b.id AND invoice.cause_kind = b.kind
        """,
        *columns(causes, 2),
    )
    return [_invoice(row) for row in rows]


async def invoices_with_ids(tx: Tx, ids: Collection[UUID]) -> list[Invoice]:
    rows = await tx.fetch("SELECT * FROM invoice WHERE id = ANY ($1)", list(ids))
    return [_invoice(row) for row in rows]


async def unpaid_invoices_of(tx: Tx, customer_ids: Collection[UUID]) -> list[Invoice]:
    """Drafts and what is owed."""
    rows = await tx.fetch("SELECT * FROM invoice WHERE customer_id = ANY ($1) AND status <> 'paid'", list(customer_ids))
    return [_invoice(row) for row in rows]


async def insert_invoices(tx: Tx, invoices: Sequence[Invoice]) -> None:
    await tx.copy_records_to_table(
        "invoice", columns=INSERTED, records=[_record(each) for each in invoices], timeout=COMMAND_TIMEOUT_SECONDS
    )


async def update_invoices(tx: Tx, changed: Sequence[Changed[Invoice]]) -> None:
    """What may change: a draft is issued, an issued one is paid."""
    after = [each.after for each in changed]
    status = await tx.execute(
        """
        UPDATE invoice AS i
        SET payment_token = u.payment_token, status = u.status, place = u.place, paid = u.paid, version = u.version,
            account_id = u.account_id, legal_entity = u.legal_entity, year = u.year, lane = u.lane,
            number = u.number, printed = u.printed, issued_on = u.issued_on, due_on = u.due_on, bill_to = u.bill_to
        FROM unnest(
            $1::uuid[], $2::bigint[], $3::bigint[], $4::text[],
            $5::text[], $6::integer[], $7::bigint[], $8::bigint[],
            $9::uuid[], $10::text[], $11::integer[], $12::integer[], $13::bigint[], $14::text[], $15::date[],
            $16::date[], $17::json[]
        ) AS u (
            id, loaded_version, loaded_paid, payment_token, status, place, paid, version,
            account_id, legal_entity, year, lane, number, printed, issued_on, due_on, bill_to
        )
        WHERE i.id = u.id AND i.version = u.loaded_version AND i.paid = u.loaded_paid
        """,
        [each.bill.id for each in after],
        [each.before.version for each in changed],
        [each.before.paid for each in changed],
        [_kept_token(each) for each in after],
        *_progress_columns(after),
        *_issue_columns(after),
    )
    expect_rows(status, len(changed))


def _record(invoice: Invoice) -> tuple[Any, ...]:
    """An invoice in the order of INSERTED."""
    bill = invoice.bill
    return (
        bill.id,
        bill.customer_id,
        bill.currency,
        bill.cause_kind,
        bill.cause_id,
        bill.ordered_at,
        _kept_token(invoice),
        _json([line.__dict__ for line in bill.lines]),
        bill.net,
        bill.tax,
        bill.total,
        invoice.status,
        invoice.place,
        invoice.paid,
        invoice.version,
        *(_NOT_ISSUED if invoice.issue is None else _issue_row(invoice.issue)),
    )


def _kept_token(invoice: Invoice) -> str | None:
    """Nothing is kept of a means of payment once it was handed on."""
    return invoice.bill.payment_token if invoice.status == "draft" else None


def _progress_columns(invoices: Sequence[Invoice]) -> tuple[list[Any], ...]:
    return (
        [each.status for each in invoices],
        [each.place for each in invoices],
        [each.paid for each in invoices],
        [each.version for each in invoices],
    )


def _issue_columns(invoices: Sequence[Invoice]) -> list[list[Any]]:
    rows = [_NOT_ISSUED if each.issue is None else _issue_row(each.issue) for each in invoices]
    return columns(rows, 9)


def _issue_row(issue: Issue) -> tuple[Any, ...]:
    return (
        issue.account_id,
        issue.legal_entity,
        issue.year,
        issue.lane,
        issue.number,
        issue.printed,
        issue.issued_on,
        issue.due_on,
        _json(issue.bill_to.__dict__),
    )


def _invoice(row: Row) -> Invoice:
    bill = Bill(
        row["id"],
        row["customer_id"],
        row["currency"],
        row["cause_kind"],
        row["cause_id"],
        row["ordered_at"],
        row["payment_token"],
        LINES.validate_json(row["lines"]),
        row["net"],
        row["tax"],
        row["total"],
    )
    return Invoice(bill, row["status"], row["place"], _issue(row), row["paid"], row["version"])


def _issue(row: Row) -> Issue | None:
    if row["number"] is None:
        return None
    return Issue(
        row["account_id"],
        row["legal_entity"],
        row["year"],
        row["lane"],
        row["number"],
        row["printed"],
        row["issued_on"],
        row["due_on"],
        BillTo.model_validate_json(row["bill_to"]),
    )


def _json(plain: object) -> str:
    """What a schema holds is plain already: orjson writes it several times faster than the schema does."""
    return orjson.dumps(plain).decode()
