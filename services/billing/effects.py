"""The outside of billing: the payment gateway, over HTTP, once per idempotency key."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import Field

from services.billing.domain.payment import CAPTURE_PAYMENT, Captured, CapturePayment, Declined
from shared.messaging.settings import ServiceSettings
from shared.messaging.tasks import NOT_DONE, Later, TaskCall, TaskKind, Uncertain

CONNECTIONS_MAX = 32
CALL_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 2.0
CODE = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")

NOTHING_WAS_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Before a connection stands, no request can have gone out."""


class BillingSettings(ServiceSettings):
    """What billing is told besides what every service is."""

    gateway_url: str = Field(pattern=r"^https?://", description="the payment gateway")


@asynccontextmanager
async def task_kinds(settings: BillingSettings) -> AsyncIterator[Sequence[TaskKind[Any]]]:
    """What billing does outside, with one client for all calls."""
    timeout = httpx.Timeout(CALL_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
    limits = httpx.Limits(max_connections=CONNECTIONS_MAX)
    async with httpx.AsyncClient(base_url=settings.gateway_url, timeout=timeout, limits=limits) as client:
        gateway = Gateway(client)
        yield [
            TaskKind(
                CAPTURE_PAYMENT,
                CapturePayment,
                perform=gateway.capture,
                reconcile=gateway.outcome,
                concurrency=CONNECTIONS_MAX,
                call_timeout_seconds=CALL_TIMEOUT_SECONDS,
                lease_seconds=3 * CALL_TIMEOUT_SECONDS,
            )
        ]


class Gateway:
    """Takes money by a token. Whatever is not clearly an answer leaves the outcome uncertain, and is asked about."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def capture(self, asked: CapturePayment, call: TaskCall) -> Captured | Declined:
        """Raises Later where nothing was done, Uncertain where nobody can say."""
        try:
            response = await self._client.post(
                "/payments",
                headers={"Idempotency-Key": call.idempotency_key},
                json={
                    "kind": "capture",
                    "amount": asked.amount,
                    "currency": asked.currency,
                    "token": asked.token,
                    "reference": asked.reference,
                },
            )
        except NOTHING_WAS_SENT as error:
            raise Later(f"the gateway cannot be reached: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise Uncertain(f"the gateway's answer is lost: {type(error).__name__}") from error
        match response.status_code:
            case 201:
                return Captured(response.json()["id"])
            case 400 | 402:
                return Declined(_code(response))
            case 422 if _code(response) == "invalid_request":
                return Declined("invalid_request")
            case 429 | 503:
                raise Later(f"the gateway says later: {response.status_code}")
        raise Uncertain(f"the gateway answered {response.status_code}")

    async def outcome(self, _asked: CapturePayment, call: TaskCall) -> Any:
        """What came of a capture: Captured, Declined or NOT_DONE. Raises Later where it cannot be told yet."""
        try:
            response = await self._client.get(f"/payments/by-key/{quote(call.idempotency_key, safe='')}")
        except httpx.HTTPError as error:
            raise Later(f"the gateway cannot be asked: {type(error).__name__}") from error
        if response.status_code == 404:
            return NOT_DONE
        if response.status_code != 200:
            raise Later(f"the gateway answered {response.status_code}")
        payment = response.json()
        match payment["state"]:
            case "succeeded":
                return Captured(payment["id"])
            case "declined":
                return Declined(_told(payment["code"]))
        raise Later("the gateway is still at it")


def _code(response: httpx.Response) -> str:
    """Why, from a problem (RFC 9457)."""
    try:
        return _told(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return "declined"


def _told(code: Any) -> str:
    """A reason as events tell it; `declined` where the gateway's own is no such word."""
    return code if isinstance(code, str) and CODE.match(code) else "declined"
