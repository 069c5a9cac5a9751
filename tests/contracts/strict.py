"""Services that get no more of an event than they declare to read: whoever reads another field fails, in every test."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from shared.messaging.database import Tx
from shared.messaging.decision import Message
from shared.messaging.handlers import Decide, Handlers
from shared.messaging.service import Service
from shared.operations.contracts.documents import reader_named


def strict(service: Service[Any, Any]) -> Service[Any, Any]:
    """The same service, to which every event comes without the fields that it does not declare."""
    reads = reader_named(service.name).reads

    def narrowed(decide: Decide[Any]) -> Decide[Any]:
        return lambda state, message, now, ids: decide(state, _only(message, reads), now, ids)

    async def load(tx: Tx, messages: Sequence[Message[Any]]) -> Any:
        return await service.load(tx, [_only(message, reads) for message in messages])

    handlers: Handlers[Any] = Handlers()
    given = service.handlers
    handlers._projections = {name: narrowed(decide) for name, decide in given._projections.items()}
    handlers._reactions = {name: narrowed(decide) for name, decide in given._reactions.items()}
    handlers._outcomes = given._outcomes
    for name in given.types:
        handlers._link(name)
    return replace(service, handlers=handlers, load=load)


def _only(message: Message[Any], reads: Mapping[str, Sequence[str]]) -> Message[Any]:
    paths = reads.get(message.type)
    return message if paths is None else replace(message, payload=narrow(message.payload, paths))


def narrow(part: BaseModel, paths: Iterable[str]) -> BaseModel:
    """A copy that has these fields alone: `lines[].sku`, `consents.*.status`. Reading another is an AttributeError."""
    below: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        name, _, rest = path.replace("[]", ".[]").partition(".")
        below[name].add(rest)
    copy = part.model_copy()
    for name in type(part).model_fields:
        if name not in below:
            del copy.__dict__[name]
        elif "" not in below[name]:
            copy.__dict__[name] = _inside(getattr(part, name), below[name])
    return copy


def _inside(value: Any, paths: set[str]) -> Any:
    if isinstance(value, BaseModel):
        return narrow(value, paths)
    rest = [path.partition(".")[2] for path in paths]
    if isinstance(value, tuple):
        return tuple(narrow(each, rest) for each in value)
    if isinstance(value, dict):
        return {name: narrow(each, rest) for name, each in value.items()}
    return value
