"""Versions of a contract, both in flight: what was written as an old one is handled as the newest."""

from collections.abc import Callable
from typing import Any, TypeVar

from shared.schemas.base import Payload

Old = TypeVar("Old", bound=Payload)
New = TypeVar("New", bound=Payload)

upcasters: dict[str, tuple[type[Payload], Callable[[Any], Payload]]] = {}
"""By the type of an old version: the next version's model, and the function that leads there."""


def upcaster(old: type[Old], new: type[New]) -> Callable[[Callable[[Old], New]], Callable[[Old], New]]:
    """Declares how a payload of an old version becomes one of the next: handlers see the newest version only."""

    def declare(function: Callable[[Old], New]) -> Callable[[Old], New]:
        if old.ce_type in upcasters:
            raise TypeError(f"{old.ce_type} has an upcaster already")
        upcasters[old.ce_type] = new, function
        return function

    return declare


def newest(ce_type: str) -> str:
    """The type under which handlers see what was written as `ce_type`: itself, unless an upcaster leads on."""
    while ce_type in upcasters:
        ce_type = upcasters[ce_type][0].ce_type
    return ce_type


def upcast(payload: Payload) -> Payload:
    """The payload in the newest version of its contract."""
    while step := upcasters.get(payload.ce_type):
        payload = step[1](payload)
    return payload
