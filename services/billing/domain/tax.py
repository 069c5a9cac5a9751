"""Tax: rates by country, class and date, and what they make of the lines of an order."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date

from shared.messaging.decision import Refused
from shared.schemas.base import validator_of
from shared.schemas.billing import InvoiceLine
from shared.schemas.immutable import immutable
from shared.schemas.money import rate_of, rate_within
from shared.schemas.sales import Line


@immutable(frozen=True, slots=True)
class TaxRate:
    """What a country takes on a class of goods from a day on, in basis points."""

    country: str
    tax_class: str
    valid_from: date
    basis_points: int


class TaxRates:
    """The rates that are known, asked by country, class and business date."""

    def __init__(self, rates: Iterable[TaxRate]) -> None:
        self._newest_first: defaultdict[tuple[str, str], list[TaxRate]] = defaultdict(list)
        for rate in sorted(rates, key=lambda rate: rate.valid_from, reverse=True):
            self._newest_first[rate.country, rate.tax_class].append(rate)
        self._asked: dict[tuple[str, str, date], int] = {}

    def basis_points(self, country: str, tax_class: str, on: date) -> int:
        """The rate of that day. Refused (`unknown_tax_rate`) where none is known."""
        known = self._asked.get((country, tax_class, on))
        return self._looked_up(country, tax_class, on) if known is None else known

    def _looked_up(self, country: str, tax_class: str, on: date) -> int:
        for rate in self._newest_first.get((country, tax_class), ()):
            if rate.valid_from <= on:
                self._asked[country, tax_class, on] = rate.basis_points
                return rate.basis_points
        raise Refused(
            "unknown_tax_rate",
            f"no rate of the class {tax_class} is known for {country} on {on}: add it to tax_rate, or correct the line",
        )


def taxed(
    lines: Sequence[Line], rates: TaxRates, country: str, on: date, *, prices_include_tax: bool
) -> tuple[InvoiceLine, ...]:
    """The lines with their tax, each rounded half-even to the unit. Refused where a rate is not known."""
    return tuple(
        [
            _taxed(line, rates.basis_points(country, line.tax_class, on), prices_include_tax=prices_include_tax)
            for line in lines
        ]
    )


_invoice_line = validator_of(InvoiceLine)


def _taxed(line: Line, basis_points: int, *, prices_include_tax: bool) -> InvoiceLine:
    amount = line.amount
    tax = rate_within(amount, basis_points) if prices_include_tax else rate_of(amount, basis_points)
    net = amount - tax if prices_include_tax else amount
    return _invoice_line(
        {
            "sku": line.sku,
            "description": line.description,
            "quantity": line.quantity,
            "unit_price": line.unit_price,
            "discount": line.discount,
            "net": net,
            "tax_rate": basis_points,
            "tax": tax,
            "gross": net + tax,
        }
    )
