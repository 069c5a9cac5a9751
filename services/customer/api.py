"""Reading: one customer from all sides, histories in pages, tickets, salaries. Writing is by command on Kafka."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from services.customer.store import views
from services.customer.store.views import View
from shared.messaging.database import ACQUIRE_TIMEOUT_SECONDS, Pool, Tx
from shared.messaging.http import NotFound, Paged, reader

LATEST = 50
"""So many of each list stand in the view of one customer."""


def routes(pool: Pool) -> APIRouter:
    router = APIRouter(dependencies=[reader("customer:read")])

    @router.get("/customers")
    async def customers(
        page: Paged,
        tag: Annotated[str | None, Query(max_length=63)] = None,
        segment: Annotated[str | None, Query(max_length=63)] = None,
    ) -> list[View]:
        """Customers in the order of their ids; those with a tag, or in a segment."""
        async with _snapshot(pool) as tx:
            return await views.customers(tx, tag, segment, page.after, page.limit)

    @router.get("/customers/{customer_id}")
    async def customer(customer_id: UUID, page: Paged) -> View:
        """All that is known of a customer, at one moment, and how fresh each source is. The page is the timeline's."""
        async with _snapshot(pool) as tx:
            return await _all_round(tx, await _known(tx, customer_id), page.after, page.limit)

    @router.get("/customers/{customer_id}/timeline")
    async def timeline(customer_id: UUID, page: Paged) -> list[View]:
        """What happened, the latest first."""
        async with _snapshot(pool) as tx:
            await _known(tx, customer_id)
            return await views.timeline(tx, customer_id, page.after, page.limit)

    @router.get("/tickets/{ticket_id}")
    async def ticket(ticket_id: UUID) -> View:
        async with _snapshot(pool) as tx:
            found = await views.ticket(tx, ticket_id)
        if found is None:
            raise NotFound("ticket", ticket_id)
        return found

    @router.get("/employees/{employee_id}/salary-payments")
    async def salary_payments(employee_id: UUID, page: Paged) -> View:
        """Whether an employee's salaries were paid, as payroll said last, and the tickets about those that were not."""
        async with _snapshot(pool) as tx:
            if not await views.is_employee(tx, employee_id):
                raise NotFound("employee", employee_id)
            as_of = await views.freshness(tx, employee_id)
            return {
                "employee_id": employee_id,
                "salary_payments": await views.salary_payments(tx, employee_id, page.after, page.limit),
                "tickets": await views.tickets(tx, employee_id, LATEST),
                "communication": await views.communication(tx, employee_id, LATEST),
                "as_of": [each for each in as_of if each["source"] in ("payroll.events", "notify.events")],
            }

    return router


async def _all_round(tx: Tx, customer: dict[str, Any], after: UUID | None, limit: int) -> View:
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
