"""Rows as the arrays of columns that unnest takes."""

from collections.abc import Iterable, Sequence
from typing import Any


def columns(rows: Iterable[Sequence[Any]], count: int) -> list[list[Any]]:
    """Rows as the columns that unnest takes; `count` columns where there is no row, too."""
    turned = [list(column) for column in zip(*rows, strict=True)]
    return turned or [[] for _ in range(count)]
