"""What billing answers over HTTP: accounts, invoices and statements. Read-only; amounts are minor units."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel

from services.billing.store import views
from shared.messaging.database import Pool, Row
from shared.messaging.http import NotFound, Paged, Problem, reader
from shared.schemas.base import Day
from shared.schemas.billing import BillTo, Cause, InvoiceLine
from shared.schemas.money import Currency


class Balance(BaseModel):
    """An account: what is owed on issued invoices, and what was paid too much."""

    account_id: UUID
    currency: str
    outstanding: int
    credit: int
    version: int


class Accounts(BaseModel):
    """A customer's accounts. `as_of` is the time of the last profile that billing has seen."""

    customer_id: UUID
    accounts: list[Balance]
    as_of: dict[str, datetime | None]


class InvoiceSummary(BaseModel):
    """An invoice in a list. A draft waits for its customer's profile and has no number yet."""

    invoice_id: UUID
    status: str
    number: str | None
    issued_on: date | None
    due_on: date | None
    currency: str
    net: int
    tax: int
    total: int
    paid: int
    open: int
    cause: Cause
    version: int


class InvoicePayment(BaseModel):
    """A payment that is meant for an invoice, or paid some of it: `allocated`."""

    payment_id: UUID
    state: str
    method: str
    amount: int
    allocated: int
    received_on: date | None
    failure_code: str | None


class WholeInvoice(InvoiceSummary):
    """An invoice as it was issued, and what was paid of it."""

    customer_id: UUID
    account_id: UUID | None
    series: str | None
    lines: tuple[InvoiceLine, ...]
    bill_to: BillTo | None
    payments: list[InvoicePayment]
    as_of: dict[str, datetime | None]


class Invoices(BaseModel):
    """One page; `next` is the `after` of the next one, where there may be one."""

    invoices: list[InvoiceSummary]
    next: UUID | None


class Movement(BaseModel):
    """An entry of the ledger as the customer sees it: what is owed grows by invoices and shrinks by payments."""

    entry_id: UUID
    business_on: date
    kind: str
    invoice_id: UUID | None
    payment_id: UUID | None
    amount: int


class Statement(BaseModel):
    """What was owed before and after some days, and why; below zero it is the customer's credit. From the ledger alone.

    The balances are those of all the days, whichever page of the movements this is.
    """

    customer_id: UUID
    account_id: UUID
    currency: str
    first_day: date
    last_day: date
    opening_balance: int
    movements: list[Movement]
    closing_balance: int
    next: UUID | None


def routes(pool: Pool) -> APIRouter:
    router = APIRouter(dependencies=[reader("billing:read")])

    @router.get("/accounts/{customer_id}")
    async def accounts(customer_id: UUID) -> Accounts:
        """What a customer owes and has in credit, one account for each currency."""
        async with views.snapshot(pool) as tx:
            customer = await views.customer_row(tx, customer_id)
            if customer is None:
                raise NotFound("customer", customer_id)
            rows = await views.account_rows(tx, customer_id)
        return Accounts(customer_id=customer_id, accounts=[Balance(**row) for row in rows], as_of=_as_of(customer))

    @router.get("/invoices/{invoice_id}")
    async def invoice(invoice_id: UUID) -> WholeInvoice:
        """One invoice as it was issued, and what was paid of it."""
        async with views.snapshot(pool) as tx:
            row = await views.invoice_row(tx, invoice_id)
            if row is None:
                raise NotFound("invoice", invoice_id)
            payments = await views.payment_rows(tx, invoice_id)
        return _whole_invoice(row, payments)

    @router.get("/customers/{customer_id}/invoices")
    async def invoices(customer_id: UUID, page: Paged) -> Invoices:
        """A customer's invoices, page by page."""
        async with views.snapshot(pool) as tx:
            if await views.customer_row(tx, customer_id) is None:
                raise NotFound("customer", customer_id)
            rows = await views.invoice_rows(tx, customer_id, page.after, page.limit)
        found = [InvoiceSummary(**_summary(row)) for row in rows]
        return Invoices(invoices=found, next=found[-1].invoice_id if len(found) == page.limit else None)

    @router.get("/customers/{customer_id}/statement")
    async def statement(
        customer_id: UUID,
        currency: Currency,
        first_day: Annotated[Day, Query(alias="from", description="the first day, such as 2026-01-01")],
        last_day: Annotated[Day, Query(alias="to", description="the last day")],
        page: Paged,
    ) -> Statement:
        """What a customer owed before and after some days, and why."""
        if last_day < first_day:
            raise Problem(400, "Invalid request", "The last day (to) must not lie before the first (from).")
        async with views.snapshot(pool) as tx:
            account = await _account_in(tx, customer_id, currency)
            opening, closing = await views.balances(tx, account, first_day, last_day)
            rows = await views.movement_rows(tx, account, first_day, last_day, after=page.after, limit=page.limit)
        movements = [Movement(**row) for row in rows]
        return Statement(
            customer_id=customer_id,
            account_id=account,
            currency=currency,
            first_day=first_day,
            last_day=last_day,
            opening_balance=opening,
            movements=movements,
            closing_balance=closing,
            next=movements[-1].entry_id if len(movements) == page.limit else None,
        )

    return router


async def _account_in(tx: Any, customer_id: UUID, currency: str) -> UUID:
    if await views.customer_row(tx, customer_id) is not None:
        for row in await views.account_rows(tx, customer_id):
            if row["currency"] == currency:
                account_id: UUID = row["account_id"]
                return account_id
    raise NotFound(f"account in {currency} of customer", customer_id)


def _whole_invoice(row: Row, payments: Sequence[Row]) -> WholeInvoice:
    return WholeInvoice(
        **_summary(row),
        customer_id=row["customer_id"],
        account_id=row["account_id"],
        series=f"{row['legal_entity']}/{row['year']}/{row['lane']}" if row["printed"] else None,
        lines=orjson.loads(row["lines"]),
        bill_to=orjson.loads(row["bill_to"]) if row["bill_to"] else None,
        payments=[InvoicePayment(**payment) for payment in payments],
        as_of=_as_of(row),
    )


def _summary(row: Row) -> dict[str, Any]:
    return {
        "invoice_id": row["id"],
        "status": row["status"],
        "number": row["printed"],
        "issued_on": row["issued_on"],
        "due_on": row["due_on"],
        "currency": row["currency"],
        "net": row["net"],
        "tax": row["tax"],
        "total": row["total"],
        "paid": row["paid"],
        "open": 0 if row["status"] == "draft" else row["total"] - row["paid"],
        "cause": {"kind": row["cause_kind"], "id": str(row["cause_id"])},
        "version": row["version"],
    }


def _as_of(row: Row) -> dict[str, datetime | None]:
    return {"customer.profiles": row["source_time"]}
