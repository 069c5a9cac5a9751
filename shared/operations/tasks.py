"""`kello tasks`: calls to the outside and timers. What is late, what is unknown, and an operator's word on it."""

from dataclasses import fields
from typing import Annotated, Any, Literal

import orjson
import typer
from pydantic import TypeAdapter, ValidationError

from shared.messaging.decision import Exhausted
from shared.messaging.replay import Effect
from shared.messaging.resolution import NotResolved, resolve, results_of
from shared.messaging.service import Service
from shared.operations import effects
from shared.operations.installation import Connection, Installation, ServiceName, installation, service_named
from shared.operations.output import USAGE, Failed, Json, Yes, ago, answer, counted, run, table
from shared.operations.survey import LATE_SECONDS

app = typer.Typer(no_args_is_help=True, help="Calls to the outside and timers: what is late or unknown, and its end.")

State = Literal["waiting", "started", "unknown", "asking"]
Kind = Annotated[str, typer.Argument(help="The task's kind: capture-payment, for one.")]

NOT_DONE = "not-done"
GIVEN_UP = "given-up"


@app.command("list")
def list_(
    service: ServiceName,
    kind: Annotated[str | None, typer.Option(help="Only tasks of this kind.")] = None,
    state: Annotated[State | None, typer.Option(help="Only tasks in this state.")] = None,
    late: Annotated[bool, typer.Option("--late", help=f"Only those that are due for over {LATE_SECONDS} s.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    as_json: Json = False,
) -> None:
    """A service's tasks: what they wait for, how often they were tried, and why they are not done.

    What was started and not settled is unknown: its provider is asked by the idempotency key, and while that goes on
    the state is asking. Exit code 1 where there is none.

    kello tasks list billing --state unknown
    """
    rows = run(_listed(installation(), service, kind, state, limit, only_late=late))
    columns = ("kind", "key", "root", "state", "due", "late", "tried #", "asked #", "last reason", "age")
    shown = table(
        *columns,
        rows=(
            (
                *(row[name] for name in ("kind", "key", "root", "state", "due_at")),
                ago(row["late_seconds"]),
                *(row[name] for name in ("attempts", "reconciliations", "last_reason")),
                ago(row["age_seconds"]),
            )
            for row in rows
        ),
    )
    answer(rows, shown if rows else "no such tasks", as_json=as_json)
    if not rows:
        raise typer.Exit(1)


@app.command()
def retry(
    service: ServiceName,
    kind: Kind,
    key: Annotated[str | None, typer.Argument(help="Its key; all of the kind by default.", show_default=False)] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Do now what waits for its next try, and ask now about what is unknown, without its back-off.

    What is unknown is asked about, never simply done again. A timer keeps its time. Exit code 1 where nothing matches.

    kello tasks retry billing capture-payment --yes
    """
    keys = run(_retry(installation(), service, kind, key, do_it=yes))
    said = (
        f"tried now: {counted(len(keys), 'task')}" if yes else f"would try {counted(len(keys), 'task')} now: add --yes"
    )
    answer({"service": service, "kind": kind, "keys": keys, "done": yes}, said, as_json=as_json)


@app.command("resolve")
def resolve_(
    service: ServiceName,
    kind: Kind,
    key: Annotated[str, typer.Argument()],
    end: Annotated[
        str,
        typer.Option(
            "--as",
            help=f"What came of it: {NOT_DONE} (the provider never saw it: it is done again under the same idempotency "
            f"key), {GIVEN_UP} (it was not done, and will not be), or what a provider says, such as captured or "
            "declined.",
        ),
    ],
    with_: Annotated[str, typer.Option("--with", help="What the provider says, as JSON.")] = "{}",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Tell what came of a task that is unknown, after its provider told you: by its console, or on the phone.

    The service decides on it as if the provider had said it, in one transaction. Without --yes that is rolled back, and
    what would follow is shown.

    kello tasks resolve billing capture-payment 0199… --as captured --with '{"reference": "pay_81"}' --yes
    """
    here = installation()
    if end == NOT_DONE:
        run(_not_done(here, service, kind, key, do_it=yes))
        said = f"{kind} {key} is done again" if yes else f"would do {kind} {key} again: add --yes"
        answer({"service": service, "kind": kind, "key": key, "as": end, "done": yes}, said, as_json=as_json)
        return
    effect = effects.document(run(_resolved(here, service, kind, key, end, with_, do_it=yes)))
    document = {"service": service, "kind": kind, "key": key, "as": end, "done": yes, **effect}
    said = f"{kind} {key} has ended as {end}" if yes else f"{kind} {key} would end as {end}: add --yes"
    answer(document, said, *effects.lines(effect), as_json=as_json)


async def _listed(
    here: Installation, service: str, kind: str | None, state: str | None, limit: int, *, only_late: bool
) -> list[dict[str, Any]]:
    async with here.database(service) as connection:
        rows = await connection.fetch(
            """
            SELECT kind, key, root, state, due_at, attempts, reconciliations, last_reason, lease_until,
                correlation_id, $5 || ':' || kind || ':' || key AS idempotency_key,
                extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds,
                CASE WHEN state = 'waiting' AND due_at < messaging.kello_now()
                    THEN extract(epoch FROM messaging.kello_now() - due_at)::float8 END AS late_seconds
            FROM messaging.task
            WHERE ($1::text IS NULL OR kind = $1)
                AND ($2::text IS NULL OR state = $2 OR ($2 = 'unknown' AND state = 'asking'))
                AND (NOT $3 OR (
                    state = 'waiting' AND due_at <= messaging.kello_now() - make_interval(secs => $6)
                ))
            ORDER BY created_at, kind, key
            LIMIT $4
            """,
            kind,
            state,
            only_late,
            limit,
            service,
            LATE_SECONDS,
        )
    return [dict(row) for row in rows]


async def _retry(here: Installation, service: str, kind: str, key: str | None, *, do_it: bool) -> list[str]:
    async with here.database(service) as connection, connection.transaction():
        rows = await connection.fetch(
            """
            SELECT key FROM messaging.task
            WHERE kind = $1 AND ($2::text IS NULL OR key = $2)
                AND (state IN ('unknown', 'asking') OR state = 'waiting' AND attempts > 0)
            ORDER BY key
            FOR UPDATE
            """,
            kind,
            key,
        )
        keys = [row["key"] for row in rows]
        if not keys:
            raise Failed(f"no task {kind} {key or ''} of {service} waits for another try: kello tasks list {service}")
        if do_it:
            await connection.execute(
                """
                UPDATE messaging.task
                SET due_at = CASE state WHEN 'waiting' THEN messaging.kello_now() ELSE clock_timestamp() END
                WHERE kind = $1 AND key = ANY ($2::text[]) AND state <> 'asking'
                """,
                kind,
                keys,
            )
        return keys


async def _not_done(here: Installation, service: str, kind: str, key: str, *, do_it: bool) -> None:
    async with here.database(service) as connection, connection.transaction():
        if not await _is_unknown(connection, kind, key):
            raise Failed(f"there is no task {kind} {key} whose outcome is unknown: kello tasks list {service}")
        if do_it:
            await connection.execute(
                """
                UPDATE messaging.task
                SET state = 'waiting', due_at = messaging.kello_now(), lease = NULL, lease_until = NULL,
                    last_reason = 'an operator says: not done'
                WHERE kind = $1 AND key = $2
                """,
                kind,
                key,
            )


async def _is_unknown(connection: Connection, kind: str, key: str) -> bool:
    row = await connection.fetchrow(
        """
        SELECT FROM messaging.task WHERE kind = $1 AND key = $2 AND state IN ('unknown', 'asking') FOR UPDATE
        """,
        kind,
        key,
    )
    return row is not None


async def _resolved(here: Installation, name: str, kind: str, key: str, end: str, said: str, *, do_it: bool) -> Effect:
    here.database_url(name)  # whether there is such a service
    service = service_named(name)
    try:
        result = _result(service, kind, end, said)
        async with here.pool(name) as pool:
            return await resolve(service, pool, kind, key, result, is_rehearsal=not do_it)
    except NotResolved as error:
        raise Failed(str(error)) from None


def _result(service: Service[Any, Any], kind: str, end: str, said: str) -> object:
    """What the provider said, in the class that the decision knows. Raises Failed with what it may be."""
    known = results_of(service, kind)
    if end == GIVEN_UP:
        return Exhausted("an operator says: it was not done, and will not be")
    if end not in known:
        raise Failed(f"{kind} ends as {NOT_DONE}, {GIVEN_UP} or {', '.join(sorted(known))}: not as {end}", USAGE)
    try:
        return TypeAdapter(known[end]).validate_python(orjson.loads(said))
    except (orjson.JSONDecodeError, ValidationError) as error:
        wanted = ", ".join(f'"{each.name}"' for each in fields(known[end]))
        raise Failed(f"{end} needs --with a JSON object of {wanted}: {error}", USAGE) from None
