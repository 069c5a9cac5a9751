"""Which message leads to which decision."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar

from shared.messaging.decision import Decision, Ids, Message
from shared.messaging.working_set import WorkingSet
from shared.schemas.base import Command, Payload

S = TypeVar("S", bound=WorkingSet)
Decide: TypeAlias = Callable[[S, Message[Any], datetime, Ids], Decision]
D = TypeVar("D", bound=Callable[..., Decision])


class Handlers(Generic[S]):
    """A service's decisions, by the type of the message. Registered with decorators, at import.

    A projection copies others' data and uses only times in the message: a rebuild runs projections alone. A reaction
    is what follows for us, and may schedule tasks. A message may have one of each; they run in this order, as one.
    """

    def __init__(self) -> None:
        self._projections: dict[str, Decide[S]] = {}
        self._reactions: dict[str, Decide[S]] = {}
        self._outcomes: dict[str, Decide[S]] = {}
        self._chains: dict[str, Sequence[Decide[S]]] = {}

    def command(self, model: type[Command]) -> Callable[[D], D]:
        """The decision on a command: refused, it is answered with CommandRejected; it never goes unanswered."""
        return self._register(self._reactions, model.ce_type)

    def projection(self, model: type[Payload]) -> Callable[[D], D]:
        """The decision that keeps a copy of somebody else's data up to date. It schedules nothing."""
        return self._register(self._projections, model.ce_type)

    def reaction(self, model: type[Payload]) -> Callable[[D], D]:
        """The decision on what follows, for us, from somebody else's event."""
        return self._register(self._reactions, model.ce_type)

    def outcome(self, kind: str) -> Callable[[D], D]:
        """The decision on what came of a task, or on a timer that is due."""
        return self._register(self._outcomes, kind)

    def watched(self, watch: Callable[[str, Decide[S]], Decide[S]]) -> "Handlers[S]":
        """The same decisions, with every projection as `watch` gives it back for its type."""
        watched: Handlers[S] = Handlers()
        watched._projections = {name: watch(name, decide) for name, decide in self._projections.items()}
        watched._reactions, watched._outcomes = self._reactions, self._outcomes
        for name in self._chains:
            watched._link(name)
        return watched

    def of_type(self, ce_type: str) -> Sequence[Decide[S]]:
        """The decisions on a type of event or command, in their order; empty where the type is of no interest."""
        return self._chains.get(ce_type, ())

    def projection_of(self, ce_type: str) -> Decide[S] | None:
        """The decision that copies what a type says: the only one that a rebuild runs."""
        return self._projections.get(ce_type)

    def of_outcome(self, kind: str) -> Sequence[Decide[S]]:
        return (self._outcomes[kind],)

    @property
    def types(self) -> frozenset[str]:
        """Every CloudEvents type that is decided upon."""
        return frozenset(self._chains)

    @property
    def kinds(self) -> frozenset[str]:
        """Every kind of task whose outcome is decided upon."""
        return frozenset(self._outcomes)

    def _register(self, table: dict[str, Decide[S]], name: str) -> Callable[[D], D]:
        def register(decide: D) -> D:
            if name in table:
                raise TypeError(f"{name} has two decisions: {table[name].__qualname__} and {decide.__qualname__}")
            table[name] = decide
            if table is not self._outcomes:
                self._link(name)
            return decide

        return register

    def _link(self, name: str) -> None:
        chain = (self._projections.get(name), self._reactions.get(name))
        self._chains[name] = tuple(step for step in chain if step is not None)
