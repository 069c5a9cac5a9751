"""The outside of payroll: the payment gateway, over HTTP, once per idempotency key; and payroll's own timers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
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

CONNECT_TIMEOUT_SECONDS = 2.0
LEASE_PER_TIMEOUT = 3
"""A call that has not ended by three times its timeout belongs to a process that is gone."""

NOTHING_WAS_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Before a connection stands, no request can have gone out."""

NO_ANSWER = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


class PayrollSettings(ServiceSettings):
    """What payroll is told besides what every service is."""

    gateway_url: str = Field(pattern=r"^https?://", description="the payment gateway")
    payments_at_once: int = Field(32, ge=1, le=500, description="calls to the gateway at the same time")
    payment_timeout_seconds: float = Field(10, gt=0, description="so long the gateway may take to answer")
    payment_attempts_max: int = Field(
        60, ge=1, description="calls without an effect, up to a minute apart, after which a payment has failed"
    )


@asynccontextmanager
async def task_kinds(settings: PayrollSettings) -> AsyncIterator[Sequence[TaskKind[Any]]]:
    """What payroll does outside, with one client for all calls, and its timers."""
    timeout = aiohttp.ClientTimeout(total=settings.payment_timeout_seconds, sock_connect=CONNECT_TIMEOUT_SECONDS)
    connections = aiohttp.TCPConnector(limit=settings.payments_at_once)
    async with aiohttp.ClientSession(settings.gateway_url, connector=connections, timeout=timeout) as client:
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
                call_timeout_seconds=settings.payment_timeout_seconds,
                lease_seconds=LEASE_PER_TIMEOUT * settings.payment_timeout_seconds,
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

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client

    async def pay(self, salary: PaySalary, call: TaskCall) -> Paid | Declined:
        """Raises Later where nothing was done, Uncertain where nobody can say."""
        wanted = {
            "kind": "payout",
            "amount": salary.amount,
            "currency": salary.currency,
            "token": salary.token,
            "reference": str(salary.payslip_id),
        }
        key = {"Idempotency-Key": call.idempotency_key}
        try:
            async with self._client.post("/payments", headers=key, json=wanted, allow_redirects=False) as response:
                status, body = response.status, await response.read()
        except NOTHING_WAS_SENT as error:
            raise Later(f"the gateway cannot be reached: {type(error).__name__}") from error
        except NO_ANSWER as error:
            raise Uncertain(f"the gateway's answer is lost: {type(error).__name__}") from error
        match status:
            case 201:
                return _ended(body)
            case 400 | 402:
                return Declined(_code(body))
            case 422 if _code(body) == "invalid_request":
                return Declined("invalid_request")
            case 429 | 503:
                raise Later(f"the gateway says later: {status}")
        raise Uncertain(f"the gateway answered {status}")

    async def outcome(self, _salary: PaySalary, call: TaskCall) -> Any:
        """What came of a payment: Paid, Declined or NOT_DONE. Raises Later or Uncertain where it cannot be told yet."""
        asked = {"idempotency_key": call.idempotency_key}
        try:
            async with self._client.get("/payments", params=asked, allow_redirects=False) as response:
                status, body = response.status, await response.read()
        except NO_ANSWER as error:
            raise Later(f"the gateway cannot be asked: {type(error).__name__}") from error
        if status == 404 and _code(body) == "payment_not_found":
            return NOT_DONE
        if status != 200:
            raise Later(f"the gateway answered {status}")
        return _ended(body)


def _ended(body: bytes) -> Paid | Declined:
    """A payment that has come to its end. Raises Uncertain for any other, and where the answer cannot be read."""
    try:
        payment = Payment.model_validate_json(body)
    except ValidationError as error:
        raise Uncertain("the gateway's answer cannot be read") from error
    match payment.state:
        case "succeeded" if payment.id is not None:
            return Paid(payment.id)
        case "declined":
            return Declined(payment.code or "declined")
    raise Uncertain("the gateway is still at it")


def _code(body: bytes) -> str:
    """The gateway's word for why not; `declined` where it has none."""
    try:
        return Refusal.model_validate_json(body).code
    except ValidationError:
        return "declined"
