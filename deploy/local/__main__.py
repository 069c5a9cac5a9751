"""`python -m deploy.local up | down | status`: the system in the background, for a person who wants to look around."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.local.examples import examples
from deploy.local.processes import ROOT, StartError, started_at
from deploy.local.running import Running, bring_up, running_in, take_down

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
out = Console(highlight=False, soft_wrap=True)

State = Annotated[Path, typer.Option("--state", help="where it keeps its data and logs")]
OnlyServers = Annotated[bool, typer.Option("--only-servers", help="Kafka and PostgreSQL, nothing of Kello")]
STATE = ROOT / ".kello" / "local"


@app.command()
def up(state: State = STATE, only_servers: OnlyServers = False) -> None:
    """Start everything in the background, once, and say where it is."""
    try:
        with out.status("Starting") as spinner:
            running = bring_up(state, _say_on(spinner.update), only_servers=only_servers)
    except StartError as error:
        sys.exit(str(error))
    _print_addresses(running)


@app.command()
def down(state: State = STATE) -> None:
    """Stop it and wait until it is gone; its data stays."""
    stopped = take_down(state, out.print)
    out.print("Stopped" if stopped else "Nothing was running")


@app.command()
def status(state: State = STATE) -> None:
    """Say what is alive; exit code 0 when all of it is."""
    running = running_in(state)
    if running is None:
        out.print("Nothing is running: start it with `make up`")
        raise typer.Exit(3)
    parts = _parts_of(running)
    for name, alive, where in parts:
        out.print(f"{'[green]alive[/]    ' if alive else '[red]not alive[/]'}  {name:<12}{where}")
    if not all(alive for _, alive, _ in parts):
        raise typer.Exit(1)


@app.command("supervise", hidden=True)
def supervise_here(state: State = STATE, only_servers: OnlyServers = False) -> None:
    """Be the process in the background."""
    from deploy.local.supervisor import supervise  # noqa: PLC0415 - the other commands need not load it all

    try:
        supervise(state, only_servers=only_servers)
    except StartError as error:
        sys.exit(str(error))


def _say_on(show: Callable[[str], None]) -> Callable[[str], None]:
    """On a terminal one line that changes, elsewhere plain lines."""
    return show if out.is_terminal else out.print


def _parts_of(running: Running) -> list[tuple[str, bool, str]]:
    """Name, whether alive, address of every process."""
    where = {"supervisor": f"pid {running.pid}", "Kafka": running.kafka, "PostgreSQL": running.postgres}
    where["sandboxes"] = f"mailbox {running.mailbox}  gateway {running.gateway}"
    where |= {name: url for name, (url, _) in running.services.items()}
    pids = {"supervisor": running.pid, **running.processes}
    names = ["supervisor", *running.expected]
    return [(name, name in pids and started_at(pids[name]) is not None, where.get(name, "")) for name in names]


def _print_addresses(running: Running) -> None:
    rows = [("Kafka", running.kafka), ("PostgreSQL", running.postgres)]
    rows += [(name, f"{url}  token {token}") for name, (url, token) in running.services.items()]
    rows += [("mailbox", running.mailbox), ("gateway", running.gateway)] if running.services else []
    for name, where in rows:
        out.print(f"{name:<12}{where}", markup=False)
    if running.services:
        out.print("\nRegister somebody, watch what follows, look at the result:\n")
        for line in examples(running):
            out.print(line, markup=False)
        out.print(
            "\nOperate it:\n\n./kello status\n./kello tail customer.events --from begin\n./kello --help", markup=False
        )


if __name__ == "__main__":
    app()
