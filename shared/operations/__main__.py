"""`kello`: the operator's command.

It acts on the installation that the environment names: shared/operations/installation.py says how. Whatever changes
something says what it would do, and does it with --yes. Exit codes: 0 yes or done, 1 no, 2 not understood, 3 the
installation does not answer.
"""

import logging
import sys

import structlog
import typer

from shared.messaging.logs import redacted, where_it_failed
from shared.operations import dead, offsets, outbox, pauses, replay, restore, send, status, tail, tasks, topics
from shared.operations.audit.command import audit_command
from shared.operations.contracts import app as contracts
from shared.operations.trace.command import trace_command

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

app.command("audit")(audit_command)
app.command("trace")(trace_command)
app.command()(status.status)
app.command()(status.lag)
app.command()(status.top)
app.command()(tail.tail)
app.command()(send.send)
app.command()(pauses.pause)
app.command()(pauses.resume)
app.command()(replay.replay)
app.command()(restore.restore)
app.add_typer(contracts, name="contracts")
app.add_typer(dead.app, name="dead")
app.add_typer(offsets.app, name="offsets")
app.add_typer(outbox.app, name="outbox")
app.add_typer(tasks.app, name="tasks")
app.add_typer(topics.app, name="topics")

if __name__ == "__main__":
    structlog.configure(  # what a command answers stands on standard output alone
        processors=[structlog.processors.add_log_level, redacted, where_it_failed, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    app(prog_name="kello")
