"""`kello`: the operator's command. Each acts on the database of one service, named by KELLO_DATABASE_URL."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from shared.messaging import offsets
from shared.messaging.database import Tx, connect, is_transient, without_password
from shared.messaging.offsets import Partition

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
offsets_app = typer.Typer(
    no_args_is_help=True, help="How far each partition has had its effect, and corrections to it."
)
app.add_typer(offsets_app, name="offsets")

Service = Annotated[
    str, typer.Argument(help="the service, which is its consumer group: billing, customer, notify, payroll")
]
DatabaseUrl = Annotated[
    str, typer.Option(envvar="KELLO_DATABASE_URL", help="the service's database", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", help="do it; without it the command only says what it would do")]


@app.command()
def resume(service: Service, database_url: DatabaseUrl) -> None:
    """Let partitions go on that stopped after a run of dead letters: `kello resume billing`."""
    count = _on_database(database_url, lambda tx: offsets.resume(tx, service))
    typer.echo(f"{count} partitions of {service} go on" if count else f"no partition of {service} was stopped")


@offsets_app.command("show")
def show(service: Service, database_url: DatabaseUrl) -> None:
    """Each partition's next offset and its run of dead letters."""
    for partition, stand in sorted(_on_database(database_url, lambda tx: offsets.all_stands(tx, service)).items()):
        dead = f", {stand.dead_run} dead letters in a row" if stand.dead_run else ""
        typer.echo(f"{partition.topic} {partition.partition} next {stand.next_offset}{dead}")


@offsets_app.command("reset")
def reset(
    service: Service,
    topic: Annotated[str, typer.Argument(help="the logical topic, such as sales.events")],
    partition: Annotated[int, typer.Argument(min=0)],
    next_offset: Annotated[int, typer.Argument(min=0, help="where to go on")],
    database_url: DatabaseUrl,
    yes: Yes = False,
) -> None:
    """Go on elsewhere in a partition whose topic was recreated or truncated on purpose.

    What lies between is not read: `kello offsets reset billing sales.events 3 0 --yes`.
    """
    place = Partition(topic, partition)
    stand = _on_database(database_url, lambda tx: offsets.stands_of(tx, service, [place])).get(place)
    if stand is None:
        typer.echo(
            f"{service} has never read {topic} {partition}: `kello offsets show {service}` lists what it reads",
            err=True,
        )
        raise typer.Exit(1)
    if not yes:
        typer.echo(f"would move {service} on {topic} {partition} from {stand.next_offset} to {next_offset}; add --yes")
        return
    _on_database(database_url, lambda tx: offsets.reset(tx, service, place, next_offset))
    typer.echo(f"{service} goes on at {next_offset} in {topic} {partition}")


def _on_database(database_url: str, act: Callable[[Tx], Awaitable[T]]) -> T:
    async def run() -> T:
        connection = await connect(database_url, application="kello")
        try:
            async with connection.transaction():
                return await act(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(run())
    except Exception as error:
        if not is_transient(error):
            raise
        typer.echo(f"{without_password(database_url)} does not answer as it should: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    app(prog_name="kello")
