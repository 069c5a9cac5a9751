"""What others are given of the contracts: AsyncAPI of all of Kello and of each service, OpenAPI of each read API."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, TypeAlias, cast

import yaml

from shared.messaging.database import Pool
from shared.messaging.http import application
from shared.operations.installation import service_named
from shared.schemas import asyncapi
from shared.schemas.asyncapi import Source, Wiring
from shared.schemas.publish import FOLDER, contracts
from shared.schemas.readers import Reader, declared

Json: TypeAlias = dict[str, Any]

TOPICS = Path(__file__).parents[3] / "deploy" / "topics.yaml"


def names() -> list[str]:
    """Every service of this checkout."""
    return sorted(module.name for module in iter_modules(import_module("services").__path__))


def readers() -> list[Reader]:
    """What each service declares to read of others' events; nothing where it reads none."""
    return [reader_named(name) for name in names()]


def reader_named(name: str) -> Reader:
    module = f"services.{name}.reads"
    return declared(name, import_module(module).READS if find_spec(module) is not None else {})


def samples() -> dict[str, list[Json]]:
    """The recorded payloads of every type that was ever published."""
    files = sorted((FOLDER / "samples").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


@cache
def documents() -> Mapping[str, Json]:
    """Every document by its place under the folder of what is published: `asyncapi/kello.json` … Not to be changed."""
    source = Source(contracts(), samples(), planned_topics())
    services = [wiring(name) for name in names()]
    found = {"asyncapi/kello.json": asyncapi.whole(source, services)}
    for service in services:
        found[f"asyncapi/{service.name}.json"] = asyncapi.of_service(source, service)
        found[f"openapi/{service.name}.json"] = openapi(service.name)
    return found


def differing(wanted: Mapping[str, Json], folder: Path = FOLDER) -> dict[str, str]:
    """The documents that are not as they were published, by place: `new`, `changed`, or `gone`."""
    there = {
        file.relative_to(folder).as_posix() for kind in ("asyncapi", "openapi") for file in (folder / kind).glob("*")
    }
    changed = {
        place: "changed" if place in there else "new"
        for place, document in wanted.items()
        if place not in there or (folder / place).read_text(encoding="utf-8") != text(document)
    }
    return {**changed, **dict.fromkeys(sorted(there - wanted.keys()), "gone")}


def write(wanted: Mapping[str, Json], folder: Path = FOLDER) -> None:
    """Makes the folder hold these documents and no other."""
    for place, state in differing(wanted, folder).items():
        file = folder / place
        if state == "gone":
            file.unlink()
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text(wanted[place]), encoding="utf-8")


def text(document: Json) -> str:
    return f"{json.dumps(document, indent=2, ensure_ascii=False)}\n"


def planned_topics() -> dict[str, Json]:
    topics: dict[str, Json] = yaml.safe_load(TOPICS.read_text(encoding="utf-8"))
    return topics


def wiring(name: str) -> Wiring:
    """A service as its app.py wires it and its front page tells it."""
    service = service_named(name)
    about = cleandoc(import_module(f"services.{name}").__doc__ or "")
    reads = reader_named(name).reads
    return Wiring(name, about, service.consumes, service.publishes, service.handlers.types, reads)


def openapi(name: str) -> Json:
    """The document that the running service answers at /openapi.json. No route is called: there is no pool."""
    routes = service_named(name).routes(cast("Pool", None))
    app = application(name, {}, [routes], health=lambda: None, readiness=lambda: None)
    return cast("Json", json.loads(json.dumps(app.openapi())))
