"""How much a process may log: what fails again and again is said a few times, then counted.

Of lines that are alike the first few are written, then one in a minute, and that one says how many were left out. And
all lines together are bounded, however many kinds of trouble there are at once.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

ALIKE_AT_ONCE = 5
ALIKE_SECONDS = 60.0
"""After the first few, one line in so many seconds."""
KINDS_MAX = 200
"""So many kinds of lines are told apart; what comes beyond counts as one kind."""
LINES_AT_ONCE = 100
LINES_PER_MINUTE_MAX = 300
"""In any minute, whatever came before."""

_PER_SECOND = (LINES_PER_MINUTE_MAX - LINES_AT_ONCE) / 60

_OTHERS: Hashable = "others"


@dataclass(slots=True)
class _Kind:
    """Lines that are alike: how many may be written now, as of when, and how many were left out since the last one."""

    allowed: float
    as_of: float
    left_out: int = 0

    def takes(self, now: float, at_once: int, per_second: float) -> bool:
        self.allowed = min(at_once, self.allowed + (now - self.as_of) * per_second)
        self.as_of = now
        if self.allowed < 1:
            self.left_out += 1
            return False
        self.allowed -= 1
        return True


@dataclass(slots=True)
class LogBound:
    """Which lines are written. `now` is a monotonic time in seconds."""

    _kinds: dict[Hashable, _Kind] = field(default_factory=dict)
    _tell_at: float = 0.0
    _all: _Kind = field(default_factory=lambda: _Kind(LINES_AT_ONCE, 0.0))

    def take(self, alike: Hashable, now: float) -> int | None:
        """None: leave the line out. Otherwise how many that are alike were left out since the last one."""
        kind = self._kind(alike, now)
        if not kind.takes(now, ALIKE_AT_ONCE, 1 / ALIKE_SECONDS):
            return None
        if not self._all.takes(now, LINES_AT_ONCE, _PER_SECOND):
            kind.left_out += 1
            return None
        left_out, kind.left_out = kind.left_out, 0
        return left_out

    def left_out(self, now: float) -> list[tuple[Hashable, int]]:
        """What was left out and would not be told otherwise, since no line like it came for a minute: for one line.

        Once a minute at most, and each line once.
        """
        quiet = [
            (alike, kind) for alike, kind in self._kinds.items() if kind.left_out and now - kind.as_of >= ALIKE_SECONDS
        ]
        if not quiet or now < self._tell_at or not self._all.takes(now, LINES_AT_ONCE, _PER_SECOND):
            return []
        self._tell_at = now + ALIKE_SECONDS
        told = [(alike, kind.left_out) for alike, kind in quiet]
        for _, kind in quiet:
            kind.left_out = 0
        return told

    def _kind(self, alike: Hashable, now: float) -> _Kind:
        kind = self._kinds.get(alike)
        if kind is None:
            if len(self._kinds) >= KINDS_MAX:
                self._forget_the_quiet(now)
            if len(self._kinds) >= KINDS_MAX:
                alike = _OTHERS
            kind = self._kinds.setdefault(alike, _Kind(ALIKE_AT_ONCE, now))
        return kind

    def _forget_the_quiet(self, now: float) -> None:
        """Kinds that are as good as new: nothing left out, and all that they may write at once."""
        whole = ALIKE_AT_ONCE * ALIKE_SECONDS
        self._kinds = {alike: kind for alike, kind in self._kinds.items() if kind.left_out or now - kind.as_of < whole}
