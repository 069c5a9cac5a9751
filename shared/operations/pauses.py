"""`kello pause` and `kello resume`: whether a service takes records in, durably."""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from shared.messaging import offsets
from shared.operations.installation import Connection, Installation, ServiceName, installation
from shared.operations.output import Failed, Json, Yes, answer, counted, run


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a service takes nothing in, or less: its pause, and how many partitions have dead letters in a row."""

    service: str
    reason: str | None
    partitions_with_dead_letters: int


def pause(
    service: ServiceName,
    reason: Annotated[str, typer.Option(help="Why; `kello status` shows it.")] = "by an operator",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Let a service take in no more records until `kello resume`, whichever process runs and whatever restarts.

    It counts from the moment in which the command returns: what was in hand is fenced and read again later. What was
    decided before is still published, and tasks go on. Nothing is lost, lag grows.

    kello pause billing --reason "the gateway is being replaced" --yes
    """
    run(_pause(installation(), service, reason, do_it=yes))
    document = {"service": service, "reason": reason, "done": yes}
    said = f"{service} takes nothing in until: kello resume {service} --yes"
    answer(document, said if yes else f"would pause {service}: add --yes", as_json=as_json)


def resume(service: ServiceName, yes: Yes = False, as_json: Json = False) -> None:
    """Let a service go on that was paused, or whose partitions stopped after too many dead letters in a row.

    Running processes go on within seconds. Exit code 1 where nothing was halted.

    kello resume billing --yes
    """
    halt = run(_resume(installation(), service, do_it=yes))
    what = [f"the pause ({halt.reason})"] if halt.reason is not None else []
    if halt.partitions_with_dead_letters:
        what.append(f"{counted(halt.partitions_with_dead_letters, 'partition')} with dead letters in a row")
    said = f"{service} goes on; it was held by" if yes else f"would let {service} go on, which is held by"
    answer({**asdict(halt), "done": yes}, f"{said} {' and '.join(what)}{'' if yes else ': add --yes'}", as_json=as_json)


async def _pause(here: Installation, service: str, reason: str, *, do_it: bool) -> None:
    async with here.database(service) as connection, connection.transaction():
        if do_it:
            await offsets.pause(connection, service, reason)


async def _resume(here: Installation, service: str, *, do_it: bool) -> Halt:
    async with here.database(service) as connection, connection.transaction():
        halt = await _halt(connection, service)
        if halt.reason is None and not halt.partitions_with_dead_letters:
            raise Failed(f"{service} is not halted: kello status")
        if do_it:
            await offsets.unpause(connection, service)
            await offsets.resume(connection, service)
        return halt


async def _halt(connection: Connection, service: str) -> Halt:
    row = await connection.fetchrow(
        """
        SELECT (SELECT reason FROM messaging.consumer_pause WHERE consumer_group = $1) AS reason,
            (SELECT count(*) FROM messaging.consumer_offset WHERE consumer_group = $1 AND dead_run > 0) AS partitions
        """,
        service,
    )
    assert row is not None  # noqa: S101 - a SELECT without FROM gives one row
    return Halt(service, row["reason"], row["partitions"])
