"""`kello contracts`: what others rely on, and whether a change would break them."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer

from shared.operations.contracts import documents
from shared.operations.contracts.page import page as html
from shared.operations.installation import service_named
from shared.operations.output import NO, USAGE, Json, Yes, answer, stop, table
from shared.schemas.publish import FOLDER, contracts, differences, publish, published
from shared.schemas.readers import Broken, Reader, changes, undeclared, unreadable, unwritten

app = typer.Typer(no_args_is_help=True, help=__doc__)

Published = Annotated[
    Path,
    typer.Option("--published", help="What was published: the folder of this checkout, or of one that is deployed."),
]
Others = Annotated[
    list[Path] | None,
    typer.Option(
        "--reader",
        help='Somebody else who reads: a file {"name": "shop", "reads": {"kello.….v1": ["number", "lines[].sku"]}}.',
    ),
]


@app.command()
def check(published_in: Published = FOLDER, reader: Others = None, as_json: Json = False) -> None:
    """Whether the contracts as they are declared now break what was published, and for whom.

    Writers are checked against readers, payloads that lie on Kafka against both. Exit code 1 where something breaks:
    `kello contracts check --reader shop.json`.
    """
    readers = [*documents.readers(), *(_reader_in(file) for file in reader or ())]
    broken = [*_broken(published_in, readers)]
    stale = documents.differing(documents.documents(), published_in)
    is_new = [
        str(one) for one in differences(contracts(), published(published_in)) if one.state in ("new", "compatible")
    ]
    rows = [(one.ce_type, one.where, one.what, one.breaks, ", ".join(one.readers) or "-") for one in broken]
    summary = f"{len(contracts())} contracts, {len(readers)} readers: {len(broken)} things broken"
    answer(
        {"broken": [asdict(one) for one in broken], "unpublished": [*is_new, *stale]},
        *([table("contract", "where", "what", "breaks", "hits", rows=rows)] if broken else []),
        *([*is_new, *(f"{place} is {state}: run kello contracts publish --yes" for place, state in stale.items())]),
        summary,
        as_json=as_json,
    )
    if broken or stale or is_new:
        raise typer.Exit(NO)


@app.command(name="publish")
def publish_all(published_in: Published = FOLDER, yes: Yes = False) -> None:
    """Write the JSON Schemas, AsyncAPI and OpenAPI documents that are committed; refuse what breaks somebody.

    Commit what it writes: `kello contracts publish --yes`.
    """
    broken = [*_broken(published_in, documents.readers())]
    if broken:
        stop("\n".join(str(one) for one in broken))
    wanted, models = documents.documents(), contracts()
    changed = [one.ce_type for one in differences(models, published(published_in)) if one.state != "same"]
    changed += documents.differing(wanted, published_in)
    if yes:
        publish(models, published_in)
        documents.write(wanted, published_in)
    answer(None, *changed, f"{len(changed)} {'written' if yes else 'would be written; add --yes'}", as_json=False)


@app.command()
def page(
    out: Annotated[Path, typer.Option(help="Where the page is written.")] = Path("kello.html"),
) -> None:
    """Write one page about every topic, message and read API. It needs no network and no other file.

    `kello contracts page --out kello.html`.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html(documents.documents()), encoding="utf-8")
    typer.echo(f"{out}")


def _broken(folder: Path, readers: list[Reader]) -> Iterator[Broken]:
    models, mine = contracts(), {reader.name: reader for reader in readers}
    yield from changes(differences(models, published(folder)), readers)
    for name in documents.names():
        yield from undeclared(name, service_named(name).handlers.types, mine[name])
    yield from unwritten(models, readers)
    yield from unreadable(documents.samples(), readers)


def _reader_in(file: Path) -> Reader:
    try:
        told = orjson.loads(file.read_bytes())
        return Reader(str(told["name"]), {ce_type: tuple(paths) for ce_type, paths in told["reads"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        stop(f"{file} does not say who reads what: {type(error).__name__}: {error}", USAGE)
