"""What processes use, from /proc: CPU time and resident memory of a process and all that descend from it."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Use:
    """CPU seconds since the start and bytes resident now. What ended children used is counted with their parent."""

    cpu_seconds: float
    resident_bytes: int

    def __add__(self, other: "Use") -> "Use":
        return Use(self.cpu_seconds + other.cpu_seconds, self.resident_bytes + other.resident_bytes)


def use_of(pid: int) -> Use:
    """Of a process and its descendants; nothing where it is gone."""
    total = Use(0.0, 0)
    for each in _descendants(pid):
        fields = _stat(each)
        if fields:
            ticks = sum(
                int(field) for field in fields[11:15]
            )  # utime, stime, and those of children that were waited for
            total += Use(ticks / TICKS, int(fields[21]) * PAGE_BYTES)
    return total


def _descendants(pid: int) -> list[int]:
    """The process itself first."""
    found = [pid]
    for each in found:
        try:
            children = Path(f"/proc/{each}/task/{each}/children").read_text().split()
        except OSError:
            continue
        found += [int(child) for child in children]
    return found


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
