"""How `kello` answers: a table for a person or one JSON document for a script, and an exit code that says which.

0  it is so, it is done, or this is what would be done
1  no: a check found something, nothing matched, or it was refused
2  the command was not understood
3  the installation does not answer, or not as it should
"""

import asyncio
import sys
from collections.abc import Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, NoReturn, TypeVar

import orjson
import typer
from aiokafka.errors import KafkaError
from pydantic import BaseModel, SecretStr
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from shared.messaging.database import is_transient

T = TypeVar("T")

NO: Final = 1
USAGE: Final = 2
NOT_ANSWERING: Final = 3
PIPE_COLUMNS: Final = 240

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it. Without it the command only says what it would do.")]


class Failed(Exception):
    """Why a command did not do what it was asked for: its message goes to stderr, its code is the exit code."""

    def __init__(self, message: str, code: int = NO) -> None:
        super().__init__(message)
        self.code = code


def run(command: Coroutine[Any, Any, T]) -> T:
    """Runs a command to its end. Exits with a message where it failed, or where Kafka or PostgreSQL does not answer."""
    try:
        return asyncio.run(command)
    except Failed as failed:
        stop(str(failed), failed.code)
    except Exception as error:
        if not isinstance(error, KafkaError) and not is_transient(error):
            raise
        told = str(error).strip()
        stop(f"the installation does not answer: {type(error).__name__}{f': {told}' if told else ''}", NOT_ANSWERING)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def answer(document: Any, *shown: RenderableType, as_json: bool) -> None:
    """Writes the document as JSON, or what a person sees of it."""
    if as_json:
        text = orjson.dumps(document, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
        sys.stdout.write(text.decode() + "\n")
        return
    out = console()
    for each in shown:
        out.print(each, markup=False)  # what is shown was written by others


def stop(message: str, code: int = NO) -> NoReturn:
    """Ends the command with a message on stderr."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def console() -> Console:
    """Where a person reads: as wide as the terminal, and wide enough for whole ids where it is none."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=PIPE_COLUMNS, soft_wrap=False)


def table(*columns: str, rows: Iterable[Iterable[object]], title: str | None = None) -> Table:
    """A plain table. A column whose name ends in `#` holds numbers: they stand to the right."""
    shown = Table(
        title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0)
    )
    for column in columns:
        is_number = column.endswith("#")
        shown.add_column(column.rstrip("# "), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(each) for each in row))
    return shown


def counted(number: int, noun: str) -> str:
    """`1 partition`, `2 partitions`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def ago(seconds: float | None) -> str:
    """How long something takes or is ago, in the two largest units: 3 s, 2 min 5 s, 3 d 4 h; `-` for None."""
    if seconds is None:
        return "-"
    left = round(seconds)
    parts: list[str] = []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


def _cell(content: object) -> RenderableType:
    if isinstance(content, Text):
        return content
    if content is None:
        return "-"
    if isinstance(content, datetime):
        return content.strftime("%Y-%m-%d %H:%M:%S")
    return Text(str(content))  # never markup: what is shown was written by others


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, SecretStr):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON")
