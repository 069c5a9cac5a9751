"""The period that a salary is for: a calendar month."""

from calendar import monthrange
from datetime import date, timedelta
from typing import Self

from shared.schemas.immutable import immutable
from shared.schemas.money import share_of

ONE_DAY = timedelta(days=1)


@immutable(frozen=True, slots=True)
class Month:
    """A calendar month, by its first day. Written YYYY-MM."""

    first: date

    @classmethod
    def of(cls, period: str) -> Self:
        return cls(date.fromisoformat(f"{period}-01"))

    def __str__(self) -> str:
        return f"{self.first.year:04d}-{self.first.month:02d}"

    @property
    def days(self) -> int:
        return monthrange(self.first.year, self.first.month)[1]

    @property
    def last(self) -> date:
        return self.first.replace(day=self.days)

    def share(self, monthly: int, start: date, last: date) -> int:
        """What the days from `start` to `last`, both included, have of an amount for the whole month, by calendar days.

        However the month is divided, the shares of its parts sum to the whole, to the unit: what is due up to a day is
        rounded half-even, and a part gets the difference.
        """
        return self._up_to(monthly, last) - self._up_to(monthly, start - ONE_DAY)

    def _up_to(self, monthly: int, day: date) -> int:
        return share_of(monthly, (day - self.first).days + 1, self.days)
