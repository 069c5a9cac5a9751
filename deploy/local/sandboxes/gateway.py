"""The payment gateway: takes money from cards and pays salaries out, over HTTP, once per idempotency key.

    POST /payments
        Idempotency-Key: 1 to 255 visible ASCII characters, chosen by the client, the same over all its retries
        {"kind": "capture" | "payout", "amount": 1999, "currency": "EUR", "token": "tok_ok", "reference": "invoice-7"}
        amount: integer minor units, 1 to 10^15; token: 1 to 255 characters; reference: 1 to 255 characters

    GET /payments/by-key/{key}                  the key percent-encoded
    GET /payments?idempotency_key={key}         the same

A payment, as POST and GET answer it:

    {"id": "pay_000000000001", "state": "succeeded" | "declined" | "pending", "code": null | "card_declined" | …,
     "key": …, "kind": …, "amount": …, "currency": …, "token": …, "reference": …, "captured_at": RFC 3339 | null}

    POST answers                                                                     did money move?
    201  the payment, `succeeded`                                                    yes
    202  the payment, `pending`: ask by key                                          not known yet
    402  problem; `code` card_declined | insufficient_funds | …; `payment`           no, and never under this key
    409  problem `in_flight`: this key is being worked on; Retry-After               ask by key
    422  problem `idempotency_key_reused`: seen with another body                    not by this request
    400  problem `idempotency_key_missing` | `idempotency_key_invalid`               no
    422  problem `invalid_request`: the body is not a payment                        no
    429  problem `throttled`; Retry-After                                            no
    503  problem `unavailable`; Retry-After                                          no
    the connection closes without an answer                                          ask by key

    GET answers 200 with the payment in any of its three states (`pending` while a request is in flight), 404 problem
    `payment_not_found` when no request with that key was ever accepted: nothing moved, sending it again is right;
    503 when the gateway is down.

The same key with the same body answers what was answered before (201, 402, or 202 and later 201), with the header
`Idempotency-Replayed: true`. 400, 409, 422, 429 and 503 are not kept: the key is still free. Bodies are the same when
their JSON values are. Problems are `application/problem+json` (RFC 9457) with a `code` for programs.

How it behaves is scripted by token. A token behaves like the longest of these names that it is, or that it begins with
before a dash (`tok_declined-42` is declined); every other token succeeds.

    tok_ok                   succeeds
    tok_declined             402 card_declined
    tok_insufficient_funds   402 insufficient_funds
    tok_expired_card         402 expired_card
    tok_slow                 succeeds, answers after 2 s
    tok_lost_reply           succeeds, then closes the connection without an answer; the first time for a key
    tok_lost_request         closes the connection and forgets the request; the first time for a key
    tok_down                 503 two times for a key, then succeeds
    tok_throttled            429 with `Retry-After: 1` the first time for a key, then succeeds
    tok_pending              202; the first two questions about it answer `pending`, the third `succeeded`
    tok_pending_declined     202; the first two questions about it answer `pending`, the third `declined`
    tok_unknown              succeeds, loses the reply, and the first two questions answer `pending`
    tok_duplicate            the request arrives twice, as if the network had repeated it; one effect

For the demo, tests and audits (never for an adapter):

    GET    /admin/captures?reference=&token=&kind=&after=0&limit=1000      every effect, in order; limit at most 10,000
           {"captures": [{"n": 1, "id", "key", "kind", "amount", "currency", "token", "reference", "captured_at",
                          "requests": how many POSTs came with this key}], "next": n to go on after | null}
    GET    /admin/payments?…                                               the same for payments in every state, as
           {"payments": [{"n": 1, "requests": …, and a payment as above}], "next": n | null}
    GET    /admin/summary
           {"captures": 7, "declined": 1, "pending": 0, "requests": 9,
            "totals": {"capture": {"EUR": 1999}, "payout": {}},
            "references_captured_again": [references with more than one capture]}
    POST   /admin/script   {"token": … or "reference": …, any fields of `Behaviour`}     204; reference before token
    DELETE /admin/script                                                   204, every script is forgotten
    POST   /admin/outage   {"down": true | false}                          204; while down, payments answer 503
    POST   /admin/latency  {"seconds": 0.2}                                204; added to every POST and GET of payments
    GET    /healthz                                                        200 {"status": "ok"}

Payments survive a restart, of the process too; scripts, an outage and a latency do not.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from deploy.local.sandboxes.journal import Journal
from deploy.local.sandboxes.provider import Behaviour, Order, Provider, Request, Words
from deploy.local.sandboxes.wire import NO_CONTENT, Front, body_of, json_response, page

WORDS = Words("payment", "succeeded", "declined", "captured_at", "pay", HTTPStatus.PAYMENT_REQUIRED)

Name = Annotated[str, Field(min_length=1, max_length=255)]

BY_TOKEN = {
    "tok_ok": Behaviour(),
    "tok_declined": Behaviour(decline_code="card_declined"),
    "tok_insufficient_funds": Behaviour(decline_code="insufficient_funds"),
    "tok_expired_card": Behaviour(decline_code="expired_card"),
    "tok_slow": Behaviour(delay_seconds=2),
    "tok_lost_reply": Behaviour(lose_replies=1),
    "tok_lost_request": Behaviour(lose_requests=1),
    "tok_down": Behaviour(unavailable_times=2),
    "tok_throttled": Behaviour(throttled_times=1),
    "tok_pending": Behaviour(pending_polls=2),
    "tok_pending_declined": Behaviour(pending_polls=2, decline_code="card_declined"),
    "tok_unknown": Behaviour(pending_polls=2, lose_replies=1),
    "tok_duplicate": Behaviour(deliveries=2),
}


class PaymentRequest(Request):
    """The body of POST /payments."""

    kind: Literal["capture", "payout"]
    amount: int = Field(strict=True, ge=1, le=10**15)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    token: Name
    reference: Name


class GatewayScript(Behaviour):
    """The body of POST /admin/script: a behaviour, and the token or the reference that it is for."""

    token: Name | None = None
    reference: Name | None = None

    @model_validator(mode="after")
    def _for_one(self) -> Self:
        if (self.token is None) == (self.reference is None):
            raise ValueError("a script is for a token or for a reference")
        return self


@dataclass(frozen=True, slots=True)
class Capture:
    """Money that moved. `n` counts them from 1; `requests` tells how many POSTs came with the key."""

    n: int
    id: str
    key: str
    kind: Literal["capture", "payout"]
    amount: int
    currency: str
    token: str
    reference: str
    captured_at: datetime
    requests: int


@asynccontextmanager
async def open_gateway(state_dir: Path, port: int = 0) -> AsyncIterator["Gateway"]:
    """A gateway that listens; port 0 takes a free one. Its state is DIR/gateway.sqlite."""
    with closing(Journal(state_dir / "gateway.sqlite")) as journal:
        gateway = Gateway(journal, port)
        async with gateway.front.listener:
            yield gateway


class Gateway:
    """The payment gateway, as its director sees it. Its clients see `url`."""

    def __init__(self, journal: Journal, port: int) -> None:
        self._provider = Provider(WORDS, PaymentRequest, self._behaviour_of, journal)
        self._by_token = dict(BY_TOKEN)
        self._by_reference: dict[str, Behaviour] = {}
        self.front = Front(self._provider, self._admin_routes(), port)

    @property
    def url(self) -> str:
        return self.front.listener.url

    def script(self, behaviour: Behaviour, *, token: str | None = None, reference: str | None = None) -> None:
        """From now on, new payments with this token or reference behave like this. A reference goes before a token."""
        if token is not None:
            self._by_token[token] = behaviour
        if reference is not None:
            self._by_reference[reference] = behaviour

    def forget_scripts(self) -> None:
        self._by_token, self._by_reference = dict(BY_TOKEN), {}

    def outage(self, down: bool) -> None:
        """While down, every payment request is answered with 503."""
        self.front.outage(down)

    def latency(self, seconds: float) -> None:
        """Every payment request waits this long before anything else happens."""
        self.front.latency(seconds)

    def captures(self) -> list[Capture]:
        """Every effect, in order."""
        return [_capture(n, order) for n, order in enumerate(self._provider.done, 1)]

    def payments(self) -> list[dict[str, Any]]:
        """The accepted payments in every state, as the wire shows them, in order of acceptance."""
        return [self._provider.view(order) for order in self._provider.accepted.values()]

    def summary(self) -> dict[str, Any]:
        """Counts and sums of what happened, and the references that were captured more than once."""
        totals: dict[str, Counter[str]] = {"capture": Counter(), "payout": Counter()}
        references: Counter[str] = Counter()
        for capture in self.captures():
            totals[capture.kind][capture.currency] += capture.amount
            references[capture.reference] += 1
        return {
            "captures": len(self._provider.done),
            "declined": self._provider.count("declined"),
            "pending": self._provider.count("pending"),
            "requests": self._provider.requests,
            "totals": totals,
            "references_captured_again": [reference for reference, times in references.items() if times > 1],
        }

    def _behaviour_of(self, request: PaymentRequest) -> Behaviour:
        scripted = self._by_reference.get(request.reference) or self._by_token.get(request.token)
        if scripted is not None:
            return scripted
        names = [name for name in self._by_token if request.token.startswith(f"{name}-")]
        return self._by_token[max(names, key=len)] if names else Behaviour()

    def _admin_routes(self) -> list[Route]:
        return [
            Route("/admin/captures", self._get_captures),
            Route("/admin/payments", self._get_payments),
            Route("/admin/summary", self._get_summary),
            Route("/admin/script", self._post_script, methods=["POST"]),
            Route("/admin/script", self._delete_script, methods=["DELETE"]),
        ]

    async def _get_captures(self, request: HttpRequest) -> Response:
        def view(n: int, order: Order[PaymentRequest]) -> dict[str, Any] | None:
            return asdict(_capture(n, order)) if _wanted(request, order) else None

        return page(request, "captures", self._provider.done, view)

    async def _get_payments(self, request: HttpRequest) -> Response:
        def view(n: int, order: Order[PaymentRequest]) -> dict[str, Any] | None:
            if not _wanted(request, order):
                return None
            return {"n": n, "requests": order.requests} | self._provider.view(order)

        return page(request, "payments", list(self._provider.accepted.values()), view)

    async def _get_summary(self, _request: HttpRequest) -> Response:
        return json_response(self.summary())

    async def _post_script(self, request: HttpRequest) -> Response:
        script = await body_of(request, GatewayScript)
        self.script(script, token=script.token, reference=script.reference)
        return NO_CONTENT

    async def _delete_script(self, _request: HttpRequest) -> Response:
        self.forget_scripts()
        return NO_CONTENT


def _wanted(request: HttpRequest, order: Order[PaymentRequest]) -> bool:
    return all(
        getattr(order.request, name) == request.query_params.get(name, getattr(order.request, name))
        for name in ("reference", "token", "kind")
    )


def _capture(n: int, order: Order[PaymentRequest]) -> Capture:
    payment = order.request
    return Capture(
        n=n,
        id=order.id,
        key=order.key,
        kind=payment.kind,
        amount=payment.amount,
        currency=payment.currency,
        token=payment.token,
        reference=payment.reference,
        captured_at=order.moment,
        requests=order.requests,
    )
