"""Standard codes and addresses: ISO 3166 countries, BCP 47 languages, IANA zones, email, E.164 and IBAN."""

from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from typing import Annotated

import email_validator
import phonenumbers
import schwifty
from pydantic import AfterValidator, Field

from shared.schemas.base import storable

_COUNTRY_CODES = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA "
    "CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA "
    "GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP "
    "KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS "
    "MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS "
    "RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW "
    "TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW "
    "XK"  # Kosovo: user-assigned, and used by everybody
)
_COUNTRIES = frozenset(_COUNTRY_CODES.split())
# The zones of the tzdata package, not of the machine: the same name is valid wherever Kello runs.
_ZONES = frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


class Channel(StrEnum):
    """How a person is told something."""

    EMAIL = "email"
    SMS = "sms"
    IN_APP = "in_app"


def _country(code: str) -> str:
    if code not in _COUNTRIES:
        raise ValueError("the country must be an ISO 3166-1 alpha-2 code, such as AT")
    return code


def _zone(name: str) -> str:
    if name not in _ZONES:
        raise ValueError("the time zone must be a name of the IANA database, such as Europe/Vienna")
    return name


def _language_tag(tag: str) -> str:
    """The letter case that BCP 47 (RFC 5646, 2.1.1) recommends: de-AT, zh-Hant-TW."""
    language, *rest = tag.split("-")
    return "-".join([language.lower(), *(part.title() if len(part) == 4 else part.upper() for part in rest)])


def email(text: str) -> str:
    """The address in its normal form (lower-case domain); a ValueError that does not repeat it where it is none."""
    try:
        return email_validator.validate_email(storable(text), check_deliverability=False).normalized
    except email_validator.EmailNotValidError:
        raise ValueError("the email address must look like name@example.org (RFC 5321)") from None


def phone(text: str) -> str:
    """The number as in E.164. Only its country and length are checked: numbering plans change faster than libraries."""
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise ValueError("the phone number must be written as in E.164, with + and its country code")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@lru_cache(maxsize=1024)  # a check takes some tens of microseconds, and an employee's account comes again and again
def iban(text: str) -> str:
    """The account in its compact form; its country, length and check digits (ISO 13616) must be right."""
    try:
        return str(schwifty.IBAN(text))
    except schwifty.exceptions.SchwiftyException:
        raise ValueError("the IBAN is wrong: check its country, its length and its check digits") from None


Country = Annotated[
    str, Field(pattern=r"^[A-Z]{2}$", json_schema_extra={"format": "iso-3166-1"}), AfterValidator(_country)
]
"""An ISO 3166-1 alpha-2 code, such as AT."""

Locale = Annotated[
    str,
    Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?$", json_schema_extra={"format": "bcp-47"}),
    AfterValidator(_language_tag),
]
"""A BCP 47 tag of language, script and region, such as en, de-AT or zh-Hant-TW."""

Zone = Annotated[
    str, Field(min_length=1, max_length=64, json_schema_extra={"format": "iana-time-zone"}), AfterValidator(_zone)
]
"""A time zone of the IANA database, such as Europe/Vienna."""

Email = Annotated[
    str, Field(min_length=3, max_length=254, json_schema_extra={"format": "email"}), AfterValidator(email)
]
"""An email address (RFC 5321), its domain in lower case."""

Phone = Annotated[str, Field(min_length=3, max_length=40, json_schema_extra={"format": "e164"}), AfterValidator(phone)]
"""A phone number as in E.164, such as +43123456789."""

Iban = Annotated[str, Field(min_length=5, max_length=50, json_schema_extra={"format": "iban"}), AfterValidator(iban)]
"""An IBAN (ISO 13616) in its compact form."""
