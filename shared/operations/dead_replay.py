"""What `kello dead replay` does: letters in their order, each in its own transaction, told with all that follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.messaging.replay import Ended, NotReplayed, Replayer
from shared.messaging.service import Service
from shared.operations import effects
from shared.operations.installation import Installation
from shared.operations.letters import Found, Neighbour, Neighbours, Wanted, chosen, handled_since, letters_of
from shared.operations.output import Failed

NAMED_MAX = 10
"""So many of what was handled since are named; all are counted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one letter, or would come of it. `why` says what stands against it; else there is an `effect`."""

    id: str
    type: str
    key: str
    edit: int | None
    handled_since: Sequence[Neighbour]
    handled_since_count: int
    handled_since_is_all: bool
    earlier_letters: Sequence[str]
    why: str | None
    effect: dict[str, Any] | None


async def replayed(
    here: Installation,
    service: Service[Any, Any],
    wanted: Wanted,
    by: str,
    *,
    is_rehearsal: bool,
    although_answered: bool,
) -> list[Outcome]:
    """Replays or rehearses what is wanted. Raises Failed where nothing is."""
    every = await letters_of(here, service.name)
    meant = [each for each in chosen(every, wanted) if wanted.ids or each.end is None]
    if not meant:
        raise Failed("no letter of these waits: kello dead list")
    dead = {(each.letter.place, each.letter.record.offset) for each in every if each.state != "replayed"}
    neighbours = await handled_since(here, service, [each.letter for each in meant], dead)
    async with here.pool(service.name) as pool:
        turn = _Turn(every, neighbours, Replayer(service, pool, by), is_rehearsal, although_answered)
        return [await turn.outcome(each) for each in meant]


@dataclass(slots=True)
class _Turn:
    """The letters of one call, one after the other."""

    every: Sequence[Found]
    neighbours: Neighbours
    replayer: Replayer
    is_rehearsal: bool
    although_answered: bool
    _stuck: dict[str, str] | None = None

    async def outcome(self, found: Found) -> Outcome:
        """One letter's. It waits behind a letter of its key that this call has left dead."""
        letter, subject = found.letter, found.replayable
        stuck = self._stuck = self._stuck or {}
        why: str | None = None
        effect: dict[str, Any] | None = None
        if letter.key in stuck:
            why = f"it waits behind {stuck[letter.key]}, which is of the same key"
        else:
            act = self.replayer.rehearse if self.is_rehearsal else self.replayer.replay
            try:
                effect = effects.document(await act(subject, although_answered=self.although_answered))
            except NotReplayed as refused:
                why = str(refused)
                if not isinstance(refused, Ended) and letter.record.key is not None:
                    stuck[letter.key] = letter.id
        since = self.neighbours.since[letter.id]
        return Outcome(
            letter.id,
            letter.type,
            letter.key,
            None if subject.edit is None else subject.edit.number,
            since[:NAMED_MAX],
            len(since),
            self.neighbours.is_complete,
            self._earlier(found),
            why,
            effect,
        )

    def _earlier(self, found: Found) -> list[str]:
        """Letters of the same key that wait and came before: `every` is in order."""
        before = self.every[: self.every.index(found)]
        return [each.letter.id for each in before if each.end is None and each.letter.key == found.letter.key]
