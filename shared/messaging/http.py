"""Reading over HTTP: bearer tokens with scopes, problems as RFC 9457 has them, keyset pages, health and metrics."""

import hmac
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

LIMIT_DEFAULT = 50
LIMIT_MAX = 200

BEARER = HTTPBearer(auto_error=False, description="A token with the scope `<service>:read`.")
"""Told to readers of the OpenAPI document; `reader` checks."""


class Problem(Exception):
    """An answer other than the one that was asked for (RFC 9457). `detail` says what to do about it."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail


class NotFound(Problem):
    """404, the same for what never was and what was erased."""

    def __init__(self, what: str, key: object) -> None:
        super().__init__(404, f"No such {what}", f"There is no {what} {key}: it may be not known yet, or erased.")


@dataclass(frozen=True, slots=True)
class Page:
    """A keyset page: what follows `after`, the id of the last item of the page before, and at most `limit` items."""

    after: UUID | None
    limit: int


def page(
    after: Annotated[UUID | None, Query(description="the last id of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
) -> Page:
    """The dependency of every list."""
    return Page(after, limit)


Paged = Annotated[Page, Depends(page)]


def reader(scope: str) -> Any:
    """A route's dependency: a bearer token that has the scope, such as `billing:read`. 401 without, 403 otherwise."""

    def check(request: Request, _told: Annotated[Any, Depends(BEARER)]) -> None:
        scopes = _scopes_of(request, request.app.state.tokens)
        if scopes is None:
            raise Problem(401, "Not authenticated", "Send the header Authorization: Bearer <token>.")
        if scope not in scopes:
            raise Problem(
                403, "Not allowed", f"The token lacks the scope {scope}: ask an operator for one that has it."
            )

    return Depends(check)


def _scopes_of(request: Request, tokens: Mapping[str, Sequence[str]]) -> Sequence[str] | None:
    """Compared in constant time, each with each."""
    given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
    found = None
    for token, scopes in tokens.items():
        if hmac.compare_digest(token.encode(), given):
            found = scopes
    return found


def application(
    name: str,
    tokens: Mapping[str, Sequence[str]],
    routes: Sequence[APIRouter],
    health: Callable[[], str | None],
    readiness: Callable[[], str | None],
) -> FastAPI:
    """The service's HTTP. `health` and `readiness` return None, or what is wrong."""
    app = FastAPI(
        title=f"Kello {name}",
        version="1",
        description="Read only: writing is by command on Kafka. Amounts are minor units; times are UTC (RFC 3339).",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.tokens = tokens
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    for router in routes:
        app.include_router(router, responses=_PROBLEMS)

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> Response:
        return _state(health())

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> Response:
        return _state(health() or readiness())

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


def _problem_of(description: str) -> dict[str, Any]:
    """How a problem looks, for the OpenAPI document (RFC 9457, 3)."""
    fields = {"type": "string", "title": "string", "status": "integer", "detail": "string"}
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in fields.items()},
        "required": list(fields),
    }
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _problem_of("A parameter is wrong; the problem names it and the rule."),
    401: _problem_of("No bearer token, or an unknown one."),
    403: _problem_of("The token lacks the scope."),
    404: _problem_of("There is none, not yet or no longer: what was erased is not found either."),
    "default": _problem_of("Any other problem."),
}


def _state(wrong: str | None) -> Response:
    return JSONResponse({"status": wrong or "ok"}, status_code=503 if wrong else 200)


def _answer_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - registered for this class alone
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return _problem(error.status, error.title, error.detail, headers)


def _answer_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
    return _problem(error.status_code, str(error.detail), "See /openapi.json for what there is.", None)


def _answer_invalid(_request: Request, error: Exception) -> Response:
    """Names the parameter and the rule, never the value."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
    rules = "; ".join(f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}" for each in error.errors())
    return _problem(400, "Invalid request", rules, None)


def _problem(status: int, title: str, detail: str, headers: dict[str, str] | None) -> Response:
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(content, status_code=status, media_type="application/problem+json", headers=headers)


class Server(uvicorn.Server):
    """Uvicorn inside a process that has its own signals."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def server(app: FastAPI) -> Server:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=5,
        limit_concurrency=200,
        h11_max_incomplete_event_size=16 * 1024,
    )
    return Server(config)
