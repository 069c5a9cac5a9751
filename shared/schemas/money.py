"""Money as integer minor units and an ISO 4217 code: exact, bounded, rounded half-even, split to the unit."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from shared.schemas.base import Value

AMOUNT_MAX = 10**15
"""No amount lies beyond this, in minor units: sums of many still fit PostgreSQL's bigint."""

BASIS_POINTS = 10_000
"""One whole: a rate of 20 % is 2,000 basis points."""

_EXPONENTS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
    "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
    "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
    "MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
    "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG "
    "YER ZAR ZMW ZWG "
    "ANG BGN HRK",  # withdrawn since 2023: what was written in them must stay readable
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
# The standard's own table. Babel's digits are the custom of printing (no fraction for RSD), pycountry has none. Codes
# without a minor unit (gold, XDR, XXX) are not money that can be counted.
_EXPONENT_OF = {code: exponent for exponent, codes in _EXPONENTS.items() for code in codes.split()}


def _known(code: str) -> str:
    if code not in _EXPONENT_OF:
        raise ValueError("the currency must be an ISO 4217 alphabetic code that has a minor unit, such as EUR")
    return code


Currency = Annotated[
    str, Field(pattern=r"^[A-Z]{3}$", json_schema_extra={"format": "iso-4217"}), AfterValidator(_known)
]
"""An ISO 4217 alphabetic code with a minor unit, such as EUR."""

MINOR_UNIT: dict[str, JsonValue] = {"x-unit": "minor-unit"}

Amount = Annotated[int, Field(strict=True, ge=-AMOUNT_MAX, le=AMOUNT_MAX, json_schema_extra=MINOR_UNIT)]
"""Minor units (cents for EUR, whole yen for JPY), never a fraction; between -10^15 and 10^15."""

NonNegativeAmount = Annotated[int, Field(strict=True, ge=0, le=AMOUNT_MAX, json_schema_extra=MINOR_UNIT)]
"""Minor units, 0 to 10^15."""

PositiveAmount = Annotated[int, Field(strict=True, ge=1, le=AMOUNT_MAX, json_schema_extra=MINOR_UNIT)]
"""Minor units, 1 to 10^15."""

BasisPoints = Annotated[int, Field(strict=True, ge=0, le=BASIS_POINTS, json_schema_extra={"x-unit": "basis-point"})]
"""A rate in hundredths of a per cent: 2000 is 20 %; at most 100 %."""


class Money(Value):
    """An amount in a currency. Amounts of different currencies are never added."""

    amount: Amount
    currency: Currency


def exponent(currency: str) -> int:
    """The number of decimal digits of the minor unit by ISO 4217: 2 for EUR, 0 for JPY, 3 for KWD.

    Raises KeyError for a code that `Currency` refuses.
    """
    return _EXPONENT_OF[currency]


def decimal_text(amount: int, currency: str) -> str:
    """The amount in major units for programs and standards: `1234.50` for 123450 EUR, `-7` for -7 JPY."""
    digits = exponent(currency)
    if digits == 0:
        return str(amount)
    whole, part = divmod(abs(amount), 10**digits)
    return f"{'-' if amount < 0 else ''}{whole}.{part:0{digits}d}"


def share_of(amount: int, numerator: int, denominator: int) -> int:
    """`amount x numerator / denominator`, rounded half-even to the unit: half a unit goes to the even neighbour.

    Exact for every size of integer. Raises ValueError where the denominator is not positive.
    """
    if denominator <= 0:
        raise ValueError("a share needs a positive denominator")
    quotient, remainder = divmod(amount * numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2):
        return quotient + 1
    return quotient


def rate_of(amount: int, basis_points: int) -> int:
    """The tax (or other share) of a net amount at a rate in basis points, rounded half-even to the unit."""
    return share_of(amount, basis_points, BASIS_POINTS)


def rate_within(gross: int, basis_points: int) -> int:
    """The tax that a gross amount already contains at a rate in basis points, rounded half-even: net = gross - tax."""
    return share_of(gross, basis_points, BASIS_POINTS + basis_points)


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """Divides an amount by weights so that the parts sum to it exactly (largest remainder, the first of equals).

    Each part is within one unit of its exact share, has the sign of the amount, and a weight of 0 gets 0. Raises
    ValueError where a weight is negative or all are 0.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError("a split needs weights that are not negative and not all 0")
    if amount < 0:
        return [-part for part in split(-amount, weights)]
    parts = [amount * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda index: -(amount * weights[index] % whole))
    for index in by_remainder[: amount - sum(parts)]:
        parts[index] += 1
    return parts
