"""The probe as a process that kills itself on the way: `python -m tests.messaging.victim`.

VICTIM_KILL names a function, a side of it and a count, such as `shared.messaging.outbox.append:before:2`: SIGKILL comes
before (or after) its second call. VICTIM_SESSION_SECONDS shortens the time in which Kafka finds it dead. So the code
under test has no hooks of its own.
"""

import os
import signal
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from inspect import iscoroutinefunction
from typing import Any

from shared.messaging import consumer
from shared.messaging.service import main
from tests.messaging import probe


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def set_trap(description: str) -> None:
    """Replaces the function that the description names by one that kills."""
    name, side, count = description.split(":")
    owner, attribute = resolve(name)
    setattr(owner, attribute, deadly(getattr(owner, attribute), side, int(count)))


def resolve(name: str) -> tuple[Any, str]:
    """The module or class that holds a dotted name, and the last part of the name."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            owner: Any = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:-1]:
            owner = getattr(owner, part)
        return owner, parts[-1]
    raise LookupError(name)


def deadly(function: Callable[..., Any], side: str, count: int) -> Callable[..., Any]:
    """The function, and death before or after its `count`-th call."""
    calls = 0

    def step(of: str) -> None:
        nonlocal calls
        if of == side:
            calls += 1
            if calls == count:
                die()

    if not iscoroutinefunction(function):
        raise TypeError(f"{function} is not asynchronous")

    @wraps(function)
    async def trapped(*args: Any, **kwargs: Any) -> Any:
        step("before")
        result = await function(*args, **kwargs)
        step("after")
        return result

    return trapped


if __name__ == "__main__":
    consumer.SESSION_SECONDS = int(os.environ.get("VICTIM_SESSION_SECONDS", consumer.SESSION_SECONDS))
    if "VICTIM_KILL" in os.environ:
        set_trap(os.environ["VICTIM_KILL"])
    main(probe.service())
