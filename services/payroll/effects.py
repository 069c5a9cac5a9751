"""The outside of payroll: the payment gateway, over HTTP, once per idempotency key; and payroll's own timers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field, ValidationError

from services.payroll.domain.payslip import Declined, Paid
from services.payroll.domain.work import (
    CALCULATE_PAYSLIPS,
    GENERATE_REPORT,
    PAY_PAYSLIPS,
    PAY_SALARY,
    MakeReport,
    PaySalary,
    Turn,
)
from shared.messaging.settings import ServiceSettings
from shared.messaging.tasks import NOT_DONE, Later, TaskCall, TaskKind, Uncertain
from shared.schemas.base import Code, ShortText

CALL_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 2.0

NOTHING_WAS_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Before a connection stands, no request can have gone out."""


class PayrollSettings(ServiceSettings):
    """What payroll is told besides what every service is."""

    gateway_url: str = Field(pattern=r"^https?://", description="the payment gateway")
    payments_at_once: int = Field(32, ge=1, le=500, description="calls to the gateway at the same time")
    payment_attempts_max: int = Field(
        60, ge=1, description="calls without an effect, up to a minute apart, after which a payment has failed"
    )


@asynccontextmanager
async def task_kinds(settings: PayrollSettings) -> AsyncIterator[Sequence[TaskKind[Any]]]:
    """What payroll does outside, with one client for all calls, and its timers."""
    timeout = httpx.Timeout(CALL_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
    limits = httpx.Limits(
        max_connections=settings.payments_at_once, max_keepalive_connections=settings.payments_at_once
    )
    async with httpx.AsyncClient(base_url=settings.gateway_url, timeout=timeout, limits=limits) as client:
        gateway = Gateway(client)
        yield [
            TaskKind(CALCULATE_PAYSLIPS, Turn),
            TaskKind(PAY_PAYSLIPS, Turn),
            TaskKind(GENERATE_REPORT, MakeReport),
            TaskKind(
                PAY_SALARY,
                PaySalary,
                perform=gateway.pay,
                reconcile=gateway.outcome,
                concurrency=settings.payments_at_once,
                call_timeout_seconds=CALL_TIMEOUT_SECONDS,
                lease_seconds=3 * CALL_TIMEOUT_SECONDS,
                attempts_max=settings.payment_attempts_max,
            ),
        ]


class Payment(BaseModel):
    """What the gateway says of a payment, as far as it matters here."""

    id: ShortText | None = None
    state: str
    code: Code | None = None


class Refusal(BaseModel):
    """A problem (RFC 9457) with the gateway's word for it."""

    code: Code


class Gateway:
    """Pays salaries out by a token. Whatever is not clearly an answer leaves it uncertain, and is asked about."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def pay(self, salary: PaySalary, call: TaskCall) -> Paid | Declined:
        """Raises Later where nothing was done, Uncertain where nobody can say."""
        try:
            response = await self._client.post(
                "/payments",
                headers={"Idempotency-Key": call.idempotency_key},
                json={
                    "kind": "payout",
                    "amount": salary.amount,
                    "currency": salary.currency,
                    "token": salary.token,
                    "reference": str(salary.payslip_id),
                },
            )
        except NOTHING_WAS_SENT as error:
            raise Later(f"the gateway cannot be reached: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise Uncertain(f"the gateway's answer is lost: {type(error).__name__}") from error
        match response.status_code:
            case 201:
                return _ended(response)
            case 400 | 402:
                return Declined(_code(response))
            case 422 if _code(response) == "invalid_request":
                return Declined("invalid_request")
            case 429 | 503:
                raise Later(f"the gateway says later: {response.status_code}")
        raise Uncertain(f"the gateway answered {response.status_code}")

    async def outcome(self, _salary: PaySalary, call: TaskCall) -> Any:
        """What came of a payment: Paid, Declined or NOT_DONE. Raises Later or Uncertain where it cannot be told yet."""
        try:
            response = await self._client.get(f"/payments/by-key/{quote(call.idempotency_key, safe='')}")
        except httpx.HTTPError as error:
            raise Later(f"the gateway cannot be asked: {type(error).__name__}") from error
        if response.status_code == 404 and _code(response) == "payment_not_found":
            return NOT_DONE
        if response.status_code != 200:
            raise Later(f"the gateway answered {response.status_code}")
        return _ended(response)


def _ended(response: httpx.Response) -> Paid | Declined:
    """A payment that has come to its end. Raises Uncertain for any other, and where the answer cannot be read."""
    try:
        payment = Payment.model_validate_json(response.content)
    except ValidationError as error:
        raise Uncertain("the gateway's answer cannot be read") from error
    match payment.state:
        case "succeeded" if payment.id is not None:
            return Paid(payment.id)
        case "declined":
            return Declined(payment.code or "declined")
    raise Uncertain("the gateway is still at it")


def _code(response: httpx.Response) -> str:
    """The gateway's word for why not; `declined` where it has none."""
    try:
        return Refusal.model_validate_json(response.content).code
    except ValidationError:
        return "declined"
