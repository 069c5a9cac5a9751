"""What a payment gateway and an SMS provider have in common: orders under idempotency keys, and scripted trouble.

Nothing here knows HTTP but its status codes: `Provider.place` and `Provider.ask` return a `Reply`, or None for a
connection that closes without an answer.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from deploy.local.sandboxes.journal import Entry, Journal

RETRY_AFTER_SECONDS = 1
WORTH_A_RETRY = frozenset({HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
ARRIVALS = frozenset({"accepted", "repeated", "request_lost", "throttled", "unavailable"})
"""The journal entries that each stand for one request that came in under a key."""


class Behaviour(BaseModel):
    """What happens to an order; the default is prompt success. Counts are per idempotency key.

    In this order: the request is turned away (`unavailable_times` with 503, `throttled_times` with 429) or lost on its
    way (`lose_requests`); it waits `delay_seconds`; it succeeds, or is declined with `decline_code`, at once or when
    it was asked about `pending_polls` times in vain; its reply is lost (`lose_replies`). With `deliveries` above 1 the
    network repeats the request, and the client gets the first reply.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    decline_code: str | None = Field(default=None, pattern=r"^[a-z0-9_]{1,63}$")
    delay_seconds: float = Field(default=0, ge=0, le=600)
    unavailable_times: int = Field(default=0, ge=0)
    throttled_times: int = Field(default=0, ge=0)
    lose_requests: int = Field(default=0, ge=0)
    lose_replies: int = Field(default=0, ge=0)
    pending_polls: int = Field(default=0, ge=0)
    deliveries: int = Field(default=1, ge=1, le=10)


class Request(BaseModel):
    """The body of an order. Two requests are the same when their fields are."""

    model_config = ConfigDict(frozen=True, extra="forbid")


R = TypeVar("R", bound=Request)


class Acceptance(BaseModel, Generic[R]):
    """What was ordered, and how it will end: decided when the order was accepted, whatever is scripted later."""

    request: R
    decline_code: str | None
    pending_polls: int


@dataclass(slots=True)
class Order(Generic[R]):
    """An accepted request. Until it is settled nobody knows how it ends; `moment` is when its state last changed."""

    id: str
    key: str
    request: R
    decline_code: str | None
    pending_polls: int
    moment: datetime
    requests: int
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """How one provider names what all of them do."""

    noun: str
    done: str
    declined: str
    moment: str
    id_prefix: str
    declined_status: HTTPStatus


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on the wire: a problem (RFC 9457) if it says so."""

    status: HTTPStatus
    body: dict[str, Any]
    headers: tuple[tuple[str, str], ...] = ()
    problem: bool = False


def refusal(status: HTTPStatus, code: str, detail: str, **more: Any) -> Reply:
    """A problem with a code for programs. One that is worth a retry says when."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "code": code, "detail": detail}
    retry = (("Retry-After", str(RETRY_AFTER_SECONDS)),) if status in WORTH_A_RETRY else ()
    return Reply(status, body | more, retry, problem=True)


class Provider(Generic[R]):
    """Takes orders: at most one effect per key, whatever the network does, across restarts.

    `accepted` holds the orders by key, `done` those that had their effect, both in order; `requests` counts all that
    came in under a key. While `down`, everything is answered with 503.
    """

    def __init__(
        self, words: Words, request: type[R], behaviour_of: Callable[[R], Behaviour], journal: Journal
    ) -> None:
        self.words = words
        self.request = request
        self.accepted: dict[str, Order[R]] = {}
        self.done: list[Order[R]] = []
        self.requests = 0
        self.down = False
        self._behaviour_of = behaviour_of
        self._journal = journal
        self._acceptance = Acceptance[request]  # type: ignore[valid-type]  # the parameter is known when this runs
        self._in_flight: dict[str, R] = {}
        self._happened: Counter[tuple[str, str]] = Counter()
        for entry in journal.entries():
            self._apply(entry)

    async def place(self, key: str, request: R) -> Reply | None:
        """POST: does what is ordered, once, or says why not. None: the connection closes without an answer."""
        if self.down:
            return self._unavailable()
        behaviour = self._behaviour_of(request)
        deliveries = [self._deliver(key, request, behaviour) for _ in range(behaviour.deliveries)]
        if len(deliveries) == 1:
            return await deliveries[0]
        return (await asyncio.gather(*deliveries))[0]

    def ask(self, key: str) -> Reply:
        """GET: the order in its state. To be asked about is what moves a pending one on."""
        if self.down:
            return self._unavailable()
        if key in self._in_flight:
            return Reply(HTTPStatus.OK, self._in_flight_view(key, self._in_flight[key]))
        order = self.accepted.get(key)
        if order is None:
            noun = self.words.noun
            detail = f"no {noun} was accepted under this idempotency key"
            return refusal(HTTPStatus.NOT_FOUND, f"{noun}_not_found", detail)
        self._move_on(order)
        return Reply(HTTPStatus.OK, self.view(order))

    def view(self, order: Order[R]) -> dict[str, Any]:
        """An order as the wire shows it."""
        done = order.settled and order.decline_code is None
        return {
            "id": order.id,
            "state": self.state(order),
            "code": order.decline_code if order.settled else None,
            "key": order.key,
            **order.request.model_dump(),
            self.words.moment: order.moment if done else None,
        }

    def state(self, order: Order[R]) -> str:
        if not order.settled:
            return "pending"
        return self.words.declined if order.decline_code else self.words.done

    def count(self, state: str) -> int:
        """How many accepted orders are in this state."""
        return sum(self.state(order) == state for order in self.accepted.values())

    async def _deliver(self, key: str, request: R, behaviour: Behaviour) -> Reply | None:
        """One arrival of a request."""
        order = self.accepted.get(key)
        earlier = order.request if order else self._in_flight.get(key)
        if earlier is None:
            return await self._work(key, request, behaviour)
        self._record("repeated", key)
        if earlier != request:
            detail = "this idempotency key was used with another body: use a new key for a new request"
            return refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
        if order is None:
            return refusal(HTTPStatus.CONFLICT, "in_flight", "a request with this idempotency key is being worked on")
        self._move_on(order)
        answer = self._answer(order)
        return replace(answer, headers=(*answer.headers, ("Idempotency-Replayed", "true")))

    async def _work(self, key: str, request: R, behaviour: Behaviour) -> Reply | None:
        """The first arrival of a request that is not turned away or lost is accepted, after its delay."""
        if self._happens("unavailable", key, behaviour.unavailable_times):
            return self._unavailable()
        if self._happens("throttled", key, behaviour.throttled_times):
            return refusal(HTTPStatus.TOO_MANY_REQUESTS, "throttled", "too many requests: wait and send it again")
        if self._happens("request_lost", key, behaviour.lose_requests):
            return None
        if behaviour.delay_seconds:
            await self._delay(key, request, behaviour.delay_seconds)
        accepted = Acceptance[R](
            request=request, decline_code=behaviour.decline_code, pending_polls=behaviour.pending_polls
        )
        self._record("accepted", key, accepted.model_dump_json())
        if self._happens("reply_lost", key, behaviour.lose_replies):
            return None
        return self._answer(self.accepted[key])

    async def _delay(self, key: str, request: R, seconds: float) -> None:
        """Only here can another request with the key come in between, so only here is one in flight."""
        self._in_flight[key] = request
        try:
            await asyncio.sleep(seconds)
        finally:
            del self._in_flight[key]

    def _happens(self, trouble: str, key: str, times: int) -> bool:
        """Whether this trouble strikes the key once more."""
        if self._happened[key, trouble] >= times:
            return False
        self._record(trouble, key)
        return True

    def _move_on(self, order: Order[R]) -> None:
        """A pending order was asked about: it stays pending once more, or settles."""
        if not order.settled and not self._happens("polled", order.key, order.pending_polls):
            self._record("settled", order.key)

    def _answer(self, order: Order[R]) -> Reply:
        if not order.settled:
            return Reply(HTTPStatus.ACCEPTED, self.view(order))
        if order.decline_code is None:
            return Reply(HTTPStatus.CREATED, self.view(order))
        noun, code = self.words.noun, order.decline_code
        detail = f"the {noun} was {self.words.declined}: {code}"
        return refusal(self.words.declined_status, code, detail, **{noun: self.view(order)})

    def _in_flight_view(self, key: str, request: R) -> dict[str, Any]:
        empty = {"id": None, "state": "pending", "code": None, "key": key}
        return {**empty, **request.model_dump(), self.words.moment: None}

    def _unavailable(self) -> Reply:
        return refusal(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", f"no {self.words.noun} is taken now: come back")

    def _record(self, what: str, key: str, body: str = "{}") -> None:
        self._apply(self._journal.append(what, key, body))

    def _apply(self, entry: Entry) -> None:
        """The one place where state changes: by new entries, and by the old ones at a start."""
        self._happened[entry.key, entry.what] += 1
        order = self.accepted.get(entry.key)
        if entry.what in ARRIVALS:
            self.requests += 1
            if order is not None:
                order.requests += 1
        if order is not None and entry.what == "settled":
            self._settle(order, entry)
        if entry.what == "accepted":
            self._accept(entry)

    def _accept(self, entry: Entry) -> None:
        accepted = self._acceptance.model_validate_json(entry.body)
        order = self.accepted[entry.key] = Order(
            id=f"{self.words.id_prefix}_{entry.n:012d}",
            key=entry.key,
            request=accepted.request,
            decline_code=accepted.decline_code,
            pending_polls=accepted.pending_polls,
            moment=entry.at,
            requests=sum(self._happened[entry.key, what] for what in ARRIVALS),
        )
        if order.pending_polls == 0:
            self._settle(order, entry)

    def _settle(self, order: Order[R], entry: Entry) -> None:
        order.settled, order.moment = True, entry.at
        if order.decline_code is None:
            self.done.append(order)
