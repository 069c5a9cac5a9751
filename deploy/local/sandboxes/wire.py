"""HTTP of the sandboxes: a listener on loopback, bodies, pages and replies, and the routes of a provider."""

import asyncio
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Generic, Protocol, Self, TypeVar

import orjson
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from deploy.local.sandboxes.provider import Provider, R, Reply, refusal

HOST = "127.0.0.1"
BACKLOG = 1024
BODY_BYTES_MAX = 64 * 1024
PAGE_MAX = 10_000
PAGE_DEFAULT = 1_000
STOP_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection: they close it first, so that no request meets a closing one."""
KEY_SHAPE = re.compile(r"[\x21-\x7e]{1,255}")

NO_CONTENT = Response(status_code=204)

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class InvalidRequestError(Exception):
    """What came in is not what the page says; the message tells what is wrong with it."""


class Outage(BaseModel):
    model_config = ConfigDict(extra="forbid")

    down: bool


class Latency(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    seconds: float = Field(ge=0, le=600)


class Listener:
    """A Starlette application on a loopback port; port 0 takes a free one.

    It is uvicorn's protocol without uvicorn's server, which installs signal handlers and is slow to start and to stop.
    """

    def __init__(self, routes: Sequence[Route], port: int = 0) -> None:
        self.port = port
        self._app = Starlette(
            routes=routes, exception_handlers={InvalidRequestError: _invalid_request, ClientDisconnect: _gone}
        )
        self._app.state.drop = self._drop
        self._state = ServerState()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        config = uvicorn.Config(
            self._answer, interface="asgi3", http="h11", ws="none", lifespan="off",
            log_config=None, access_log=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )  # fmt: skip
        config.load()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: H11Protocol(config, self._state, {}), sock=listening_socket(self.port)
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops listening, gives the requests in hand a moment to be answered, and cuts what is left."""
        self._server.close()
        for connection in self._connections():
            connection.shutdown()
        in_hand = set(self._state.tasks)
        if in_hand:
            in_hand = (await asyncio.wait(in_hand, timeout=STOP_SECONDS))[1]
        for connection in self._connections():
            connection.transport.abort()
        await asyncio.sleep(0)  # in this round of the loop each request learns that its client is gone
        for task in in_hand:
            task.cancel()
        if in_hand:
            await asyncio.wait(in_hand)
        await self._server.wait_closed()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Only a stop cancels a request, when nobody waits for its answer any more: no error to be logged."""
        with suppress(asyncio.CancelledError):
            await self._app(scope, receive, send)

    def _connections(self) -> list[H11Protocol]:
        return [connection for connection in self._state.connections if isinstance(connection, H11Protocol)]

    def _drop(self, client: tuple[str, int]) -> None:
        for connection in self._connections():
            if connection.client == tuple(client):
                connection.transport.abort()


class Dropped(Response):
    """The connection closes without an answer, as when the network fails."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's signature
        scope["app"].state.drop(scope["client"])
        while (await receive())["type"] != "http.disconnect":
            pass


def listening_socket(port: int) -> socket.socket:
    """Names its protocol, because asyncio sets TCP_NODELAY only where it is named: 40 ms an answer otherwise."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def json_response(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def respond(reply: Reply | None) -> Response:
    if reply is None:
        return Dropped()
    media_type = "application/problem+json" if reply.problem else "application/json"
    return Response(orjson.dumps(reply.body), reply.status, dict(reply.headers), media_type)


async def body_of(request: HttpRequest, model: type[M]) -> M:
    """The validated body. InvalidRequestError: too large, no JSON, or not as the model says."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise InvalidRequestError(f"the body is larger than {BODY_BYTES_MAX} bytes")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidRequestError(f"{where}: {first['msg']}") from None


def page(
    request: HttpRequest, name: str, rows: Sequence[T], view: Callable[[int, T], dict[str, Any] | None]
) -> Response:
    """Rows after `?after=`, at most `?limit=`, numbered from 1. A row that `view` makes None is left out."""
    after, limit = _whole(request, "after", 0, 0), min(_whole(request, "limit", PAGE_DEFAULT, 1), PAGE_MAX)
    shown: list[dict[str, Any]] = []
    for n in range(after + 1, len(rows) + 1):
        row = view(n, rows[n - 1])
        if row is None:
            continue
        if len(shown) == limit:
            return json_response({name: shown, "next": shown[-1]["n"]})
        shown.append(row)
    return json_response({name: shown, "next": None})


def _whole(request: HttpRequest, name: str, default: int, least: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < least:
        raise InvalidRequestError(f"{name} must be a whole number from {least} on")
    return int(text)


async def _invalid_request(_request: HttpRequest, error: Exception) -> Response:
    return respond(refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", str(error)))


async def _gone(_request: HttpRequest, _error: Exception) -> Response:
    """The client went away in the middle of its request: nothing was done, and nobody reads this."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


class Stage(Protocol):
    """What the director of every sandbox can do."""

    def outage(self, down: bool) -> None: ...

    def latency(self, seconds: float) -> None: ...


def stage_routes(stage: Stage) -> list[Route]:
    """What every sandbox answers: POST /admin/outage, POST /admin/latency, GET /healthz."""

    async def outage(request: HttpRequest) -> Response:
        stage.outage((await body_of(request, Outage)).down)
        return NO_CONTENT

    async def latency(request: HttpRequest) -> Response:
        stage.latency((await body_of(request, Latency)).seconds)
        return NO_CONTENT

    async def healthz(_request: HttpRequest) -> Response:
        return json_response({"status": "ok"})

    return [
        Route("/admin/outage", outage, methods=["POST"]),
        Route("/admin/latency", latency, methods=["POST"]),
        Route("/healthz", healthz),
    ]


class Front(Generic[R]):
    """Where a provider's clients come in: POST /{noun}s, GET /{noun}s/by-key/{key}, GET /{noun}s?idempotency_key=.

    And where its director stands: /admin/outage, /admin/latency, /healthz and the routes that only this provider has.
    """

    def __init__(self, provider: Provider[R], admin_routes: Sequence[Route], port: int) -> None:
        self._provider = provider
        self._latency_seconds = 0.0
        path = f"/{provider.words.noun}s"
        orders = [
            Route(path, self._post, methods=["POST"]),
            Route(path, self._get_by_query),
            Route(path + "/by-key/{key:path}", self._get_by_path),
        ]
        self.listener = Listener([*orders, *stage_routes(self), *admin_routes], port)

    def outage(self, down: bool) -> None:
        self._provider.down = down

    def latency(self, seconds: float) -> None:
        self._latency_seconds = seconds

    async def _post(self, request: HttpRequest) -> Response:
        await asyncio.sleep(self._latency_seconds)
        key = request.headers.get("idempotency-key")
        if key is None:
            return respond(
                refusal(HTTPStatus.BAD_REQUEST, "idempotency_key_missing", "send the header Idempotency-Key")
            )
        if not KEY_SHAPE.fullmatch(key):
            detail = "an idempotency key is 1 to 255 visible ASCII characters"
            return respond(refusal(HTTPStatus.BAD_REQUEST, "idempotency_key_invalid", detail))
        return respond(await self._provider.place(key, await body_of(request, self._provider.request)))

    async def _get_by_path(self, request: HttpRequest) -> Response:
        return await self._get(request.path_params["key"])

    async def _get_by_query(self, request: HttpRequest) -> Response:
        return await self._get(request.query_params.get("idempotency_key", ""))

    async def _get(self, key: str) -> Response:
        await asyncio.sleep(self._latency_seconds)
        return respond(self._provider.ask(key))
