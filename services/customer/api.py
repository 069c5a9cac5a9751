"""What customer answers over HTTP: customers from all sides, timelines, tickets, salaries. Amounts are minor units.

Read-only; writing is by command on Kafka. Lists inside an answer are bounded by LATEST, the latest first.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel

from services.customer.store import views
from services.customer.store.views import View
from shared.messaging.database import ACQUIRE_TIMEOUT_SECONDS, Pool, Tx
from shared.messaging.http import NotFound, Paged, reader
from shared.schemas.customer import AttributeValue, ProfileAddress

LATEST = 50
"""So many of each list stand in the view of one customer."""

Code = Annotated[str | None, Query(max_length=63)]


class Source(BaseModel):
    """How fresh a source is: the time of its last fact about this person, and up to when it has been read at all."""

    source: str
    time: datetime | None
    read_until: datetime | None


class CustomerSummary(BaseModel):
    """A customer in a list."""

    id: UUID
    kind: str
    status: str
    name: str
    country: str
    locale: str
    version: int
    registered_at: datetime


class Customers(BaseModel):
    """Customers in the order of their ids."""

    customers: list[CustomerSummary]


class ContactPoint(BaseModel):
    id: UUID
    channel: str
    value: str
    purpose: str
    verified: bool
    added_at: datetime


class Consent(BaseModel):
    """What a customer said about a purpose at one time; the last word on it is the current one."""

    purpose: str
    status: str
    legal_basis: str
    policy_version: str
    evidence: str | None
    valid_until: date | None
    recorded_at: datetime
    recorded_by: str
    version: int
    is_current: bool


class Tag(BaseModel):
    tag: str
    tagged_at: datetime
    tagged_by: str


class Segment(BaseModel):
    """A segment that the customer is in."""

    segment: str
    rule_version: int
    since: datetime


class LoyaltyEntry(BaseModel):
    payment_id: UUID
    points: int
    rule_version: int
    earned_at: datetime


class Loyalty(BaseModel):
    """The balance, and the latest of what it is the sum of."""

    points: int
    entries: list[LoyaltyEntry]


class Balance(BaseModel):
    """An account as billing told of it last."""

    account_id: UUID
    currency: str
    outstanding: int
    credit: int
    source_version: int
    source_time: datetime


class TicketSummary(BaseModel):
    """A ticket in a list: open, resolved or closed."""

    id: UUID
    category: str
    subject_line: str
    priority: str
    status: str
    version: int
    opened_at: datetime
    changed_at: datetime | None
    payslip_id: UUID | None


class Ticket(TicketSummary):
    """A whole ticket. `requester_kind` says whether a customer or an employee asked."""

    requester_id: UUID
    requester_kind: str
    text: str
    resolution: str | None
    opened_by: str


class Entry(BaseModel):
    """One fact of a history. `reference` is the id of the purchase, booking, invoice or payment that it is about."""

    id: UUID
    kind: str
    reference: UUID
    at: datetime
    amount: int | None
    currency: str | None
    details: dict[str, Any]
    source: str
    source_version: int


class Timeline(BaseModel):
    """What happened to a customer, the latest first."""

    customer_id: UUID
    timeline: list[Entry]


class Told(BaseModel):
    """What became of a notification: sent, failed, suppressed or unknown, and why."""

    notification_id: UUID
    at: datetime
    status: str
    template: str
    category: str
    cause_type: str
    channel: str | None = None
    reason: str | None = None


class Interaction(BaseModel):
    id: UUID
    kind: str
    direction: str
    occurred_at: datetime
    summary: str
    written_by: str
    recorded_at: datetime


class Feedback(BaseModel):
    id: UUID
    kind: str
    score: int
    text: str | None
    ticket_id: UUID | None
    purchase_id: UUID | None
    recorded_at: datetime


class Note(BaseModel):
    id: UUID
    text: str
    pinned: bool
    written_by: str
    recorded_at: datetime


class Customer(CustomerSummary):
    """All that is known of a customer, at one moment."""

    zone: str
    birth_date: date | None
    tax_id: str | None
    address: ProfileAddress | None
    attributes: dict[str, AttributeValue]
    preferred_channels: list[str]
    changed_at: datetime
    contact_points: list[ContactPoint]
    consents: list[Consent]
    consent_history: list[Consent]
    tags: list[Tag]
    segments: list[Segment]
    loyalty: Loyalty
    balances: list[Balance]
    tickets: list[TicketSummary]
    timeline: list[Entry]
    communication: list[Told]
    interactions: list[Interaction]
    feedback: list[Feedback]
    notes: list[Note]
    as_of: list[Source]


class SalaryPayment(BaseModel):
    """A payslip as payroll told of it last: calculated, unknown, paid or failed; and the ticket of a failure."""

    payslip_id: UUID
    run_id: UUID
    period: str
    currency: str
    net: int
    status: str
    code: str | None
    payment_reference: str | None
    source_version: int
    source_time: datetime
    ticket_id: UUID | None
    ticket_status: str | None


class SalaryPayments(BaseModel):
    """Whether an employee's salaries were paid, the latest payslip first, and what the employee asked and was told."""

    employee_id: UUID
    salary_payments: list[SalaryPayment]
    tickets: list[TicketSummary]
    communication: list[Told]
    as_of: list[Source]


def routes(pool: Pool) -> APIRouter:
    router = APIRouter(dependencies=[reader("customer:read")])

    @router.get("/customers")
    async def customers(page: Paged, tag: Code = None, segment: Code = None) -> Customers:
        """All customers, or those with a tag, or in a segment."""
        async with _snapshot(pool) as tx:
            rows = await views.customers(tx, tag, segment, page.after, page.limit)
        return Customers.model_validate({"customers": rows})

    @router.get("/customers/{customer_id}")
    async def customer(customer_id: UUID, page: Paged) -> Customer:
        """One customer from all sides; the page is the timeline's."""
        async with _snapshot(pool) as tx:
            view = await _all_round(tx, await _known(tx, customer_id), page.after, page.limit)
        return Customer.model_validate(view)

    @router.get("/customers/{customer_id}/timeline")
    async def timeline(customer_id: UUID, page: Paged) -> Timeline:
        """One customer's history, page by page."""
        async with _snapshot(pool) as tx:
            await _known(tx, customer_id)
            rows = await views.timeline(tx, customer_id, page.after, page.limit)
        return Timeline.model_validate({"customer_id": customer_id, "timeline": rows})

    @router.get("/tickets/{ticket_id}")
    async def ticket(ticket_id: UUID) -> Ticket:
        """One ticket, whoever asked."""
        async with _snapshot(pool) as tx:
            found = await views.ticket(tx, ticket_id)
        if found is None:
            raise NotFound("ticket", ticket_id)
        return Ticket.model_validate(found)

    @router.get("/employees/{employee_id}/salary-payments")
    async def salary_payments(employee_id: UUID, page: Paged) -> SalaryPayments:
        """Care's view of an employee's salaries; the page is theirs."""
        async with _snapshot(pool) as tx:
            if not await views.is_employee(tx, employee_id):
                raise NotFound("employee", employee_id)
            view = await _salaries(tx, employee_id, page.after, page.limit)
        return SalaryPayments.model_validate(view)

    return router


async def _all_round(tx: Tx, customer: View, after: UUID | None, limit: int) -> View:
    customer_id = customer["id"]
    consents = await views.consents(tx, customer_id)
    return {
        **customer,
        "contact_points": await views.contact_points(tx, customer_id),
        "consents": [each for each in consents if each["is_current"]],
        "consent_history": consents,
        "tags": await views.tags(tx, customer_id),
        "segments": await views.segments(tx, customer_id),
        "loyalty": await views.loyalty(tx, customer_id, LATEST),
        "balances": await views.balances(tx, customer_id),
        "tickets": await views.tickets(tx, customer_id, LATEST),
        "timeline": await views.timeline(tx, customer_id, after, limit),
        "communication": await views.communication(tx, customer_id, LATEST),
        "interactions": await views.interactions(tx, customer_id, LATEST),
        "feedback": await views.feedback(tx, customer_id, LATEST),
        "notes": await views.notes(tx, customer_id, LATEST),
        "as_of": await views.freshness(tx, customer_id),
    }


async def _salaries(tx: Tx, employee_id: UUID, after: UUID | None, limit: int) -> View:
    as_of = await views.freshness(tx, employee_id)
    return {
        "employee_id": employee_id,
        "salary_payments": await views.salary_payments(tx, employee_id, after, limit),
        "tickets": await views.tickets(tx, employee_id, LATEST),
        "communication": await views.communication(tx, employee_id, LATEST),
        "as_of": [each for each in as_of if each["source"] in ("payroll.events", "notify.events")],
    }


async def _known(tx: Tx, customer_id: UUID) -> View:
    found = await views.customer(tx, customer_id)
    if found is None:
        raise NotFound("customer", customer_id)
    return found


@asynccontextmanager
async def _snapshot(pool: Pool) -> AsyncIterator[Tx]:
    """All reads of one answer see the same moment."""
    async with (
        pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield connection
