"""`@immutable(frozen=True, slots=True)`: a dataclass that never changes, which mypy holds, and no run pays for.

`frozen=True` that is held while the program runs makes an instance four times slower to make, and a batch makes them by
the thousand.
"""

from typing import TYPE_CHECKING

__all__ = ["immutable"]

if TYPE_CHECKING:
    from dataclasses import dataclass as immutable
else:
    from dataclasses import dataclass

    def immutable(*, frozen, slots):  # noqa: ANN001, ANN201 - typed as dataclass, above
        return dataclass(slots=slots, unsafe_hash=True)
