"""Renders letters: Jinja2 templates by name and language, money and days in the recipient's own form.

A template is one page, templates/<name>/<language>.j2, with the blocks `subject`, `text`, `html` and `short`. It sees
the fields that it names, `name` (whom it is for) and the filters `money`, `day` and `month`.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache, lru_cache
from html import escape
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import NumberPattern, get_currency_symbol, parse_pattern
from jinja2 import StrictUndefined, Template, meta
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import pass_context

from services.notify.domain.catalogue import TEMPLATES
from services.notify.domain.notification import Fields, Notification, Texts
from services.notify.domain.recipient import Recipient
from shared.messaging.decision import Refused
from shared.schemas.money import decimal_text, exponent

FOLDER = Path(__file__).with_name("templates")
LANGUAGES = ("en", "de")
"""Every template is written in these. The first is for whoever reads none of them."""

SUBJECT_CHARACTERS_MAX = 250
SHORT_CHARACTERS_MAX = 1_600
"""What an SMS provider takes; a longer one ends with an ellipsis."""
TEXT_CHARACTERS_MAX = 100_000

GIVEN = frozenset({"name", "locale"})
"""What every template may name without a field of it."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A template in one language: compiled for plain text, and for HTML with everything escaped."""

    plain: Template
    html: Template
    fields: frozenset[str]


def render(notification: Notification, recipient: Recipient) -> Texts:
    """The letter in the requested language, or else the recipient's. Raises Refused where a field is missing."""
    locale = notification.locale or recipient.locale or LANGUAGES[0]
    language = language_of(locale)
    sheet = _sheet(notification.template, language)
    _check_fields(sheet, notification.template, notification.fields)
    seen = {**notification.fields, "name": one_line(recipient.name), "locale": babel_locale(locale)}
    plain = sheet.plain.new_context(seen)
    return Texts(
        language,
        _cut(one_line(_block(sheet.plain, "subject", plain)), SUBJECT_CHARACTERS_MAX),
        _block(sheet.plain, "text", plain).strip() + "\n",
        _page(language, _block(sheet.html, "html", sheet.html.new_context(seen))),
        _cut(one_line(_block(sheet.plain, "short", plain)), SHORT_CHARACTERS_MAX),
    )


def check(template: str, fields: Fields) -> None:
    """Raises Refused: a field is missing that the template names in some language. Nothing is sent then."""
    for language in LANGUAGES:
        _check_fields(_sheet(template, language), template, fields)


def language_of(locale: str) -> str:
    """de-AT is read as de, what nobody has written as the first of LANGUAGES."""
    language = locale.partition("-")[0].lower()
    return language if language in LANGUAGES else LANGUAGES[0]


def one_line(text: str) -> str:
    """Without line breaks and control characters: what stands in a header must not end it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@lru_cache(maxsize=512)
def babel_locale(tag: str) -> Locale:
    """The locale of a BCP 47 tag, or of the nearest that babel knows: de-XX is read as de, xx-XX as en."""
    for attempt in (tag, language_of(tag)):
        try:
            return Locale.parse(attempt, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    raise AssertionError("babel knows every language of LANGUAGES")


@lru_cache(maxsize=4096)
def money(amount: int, currency: str, locale: Locale) -> str:
    """Minor units as the locale writes them; the digits are ISO 4217's, not the custom of printing."""
    is_a_word = get_currency_symbol(currency, locale)[-1].isalpha()
    pattern = _money_pattern(locale, exponent(currency), is_a_word)
    number = Decimal(decimal_text(amount, currency))
    return str(pattern.apply(number, locale, currency=currency, currency_digits=False))


@cache
def _money_pattern(locale: Locale, digits: int, is_a_word: bool) -> NumberPattern:
    """The locale's pattern with so many digits; a currency in letters stands apart (CLDR's `alphaNextToNumber`)."""
    written = str(locale.currency_formats["standard"].pattern)
    written = written.replace("0.00", "0." + "0" * digits if digits else "0")
    return parse_pattern(written.replace("\u00a4#", "\u00a4\N{NO-BREAK SPACE}#") if is_a_word else written)


@lru_cache(maxsize=4096)
def day(written: str, locale: Locale) -> str:
    """A date YYYY-MM-DD in words of the locale."""
    return format_date(date.fromisoformat(written), "long", locale)


@lru_cache(maxsize=512)
def month(written: str, locale: Locale) -> str:
    """A month YYYY-MM in words of the locale."""
    return format_date(date.fromisoformat(f"{written}-01"), "LLLL y", locale)


def _environment(*, autoescape: bool) -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        autoescape=autoescape, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["money"] = pass_context(lambda seen, amount, currency: money(amount, currency, _locale(seen)))
    environment.filters["day"] = pass_context(lambda seen, written: day(written, _locale(seen)))
    environment.filters["month"] = pass_context(lambda seen, written: month(written, _locale(seen)))
    return environment


def _locale(seen: Context) -> Locale:
    locale: Locale = seen["locale"]
    return locale


PLAIN = _environment(autoescape=False)
HTML = _environment(autoescape=True)


@cache
def _sheet(template: str, language: str) -> Sheet:
    """Read and compiled once in a process. Raises Refused for a template that nobody has written."""
    if template not in TEMPLATES:
        raise Refused("unknown-template", f"there is no template {template}: use one of {', '.join(sorted(TEMPLATES))}")
    source = (FOLDER / template / f"{language}.j2").read_text(encoding="utf-8")
    fields = meta.find_undeclared_variables(PLAIN.parse(source)) - GIVEN
    return Sheet(PLAIN.from_string(source), HTML.from_string(source), frozenset(fields))


def _check_fields(sheet: Sheet, template: str, fields: Fields) -> None:
    missing = sheet.fields - fields.keys()
    if missing:
        raise Refused(
            "missing-field", f"the template {template} needs {', '.join(sorted(missing))}: add it to the data"
        )


def _block(template: Template, block: str, seen: Context) -> str:
    """What one block says, up to a bound that no honest letter reaches."""
    parts: list[str] = []
    size = 0
    for part in template.blocks[block](seen):
        size += len(part)
        if size > TEXT_CHARACTERS_MAX:
            raise Refused("too-long", f"the letter exceeds {TEXT_CHARACTERS_MAX} characters: shorten its data")
        parts.append(part)
    return "".join(parts)


def _page(language: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="{escape(language)}">\n<head><meta charset="utf-8"></head>\n'
        f'<body style="font-family:sans-serif;line-height:1.5">\n{body.strip()}\n</body>\n</html>\n'
    )


def _cut(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"
