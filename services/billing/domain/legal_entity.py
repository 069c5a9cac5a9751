"""Who bills: its calendar, its terms and its gapless numbers."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from shared.schemas.immutable import immutable


@immutable(frozen=True, slots=True)
class LegalEntity:
    """The company in whose name invoices are issued."""

    code: str
    """Short, and part of every invoice number."""
    zone: ZoneInfo
    lanes: int
    """How many series of numbers run side by side in a year. One, unless a measurement asks for more.

    With as many as the topics have partitions, no two processes ever wait for each other's numbers.
    """
    payment_terms_days: int

    def business_day(self, moment: datetime) -> date:
        """The date in the entity's zone."""
        return moment.astimezone(self.zone).date()

    def due_on(self, issued_on: date) -> date:
        return issued_on + timedelta(days=self.payment_terms_days)

    def series_of(self, partition: int, year: int) -> tuple[str, int, int]:
        """The key of the series that invoices of a year are numbered in: what one process reads shares its lanes."""
        return self.code, year, partition % self.lanes


@immutable(frozen=True, slots=True)
class Series:
    """A gapless series of invoice numbers: a root of its own, locked after the customers."""

    legal_entity: str
    year: int
    lane: int
    next_number: int

    @property
    def key(self) -> tuple[str, int, int]:
        return self.legal_entity, self.year, self.lane

    @property
    def root(self) -> tuple[str, int, int]:
        return self.legal_entity, self.year, self.lane

    @property
    def name(self) -> str:
        """The series as InvoiceIssued tells it, such as KELLO/2026/0."""
        return f"{self.legal_entity}/{self.year}/{self.lane}"

    def following(self) -> "Series":
        """The series after its next number was given away."""
        return Series(self.legal_entity, self.year, self.lane, self.next_number + 1)


def printed_number(series: Series) -> str:
    """The next number as it is printed: KELLO-2026-0-000042. The lane keeps it unique within the entity."""
    return f"{series.legal_entity}-{series.year}-{series.lane}-{series.next_number:06d}"
