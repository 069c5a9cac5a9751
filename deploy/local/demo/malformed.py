"""What others get wrong: one message of each kind, and which consumer groups must put it aside."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from deploy.local.demo.customers import CARE, SHOP
from deploy.local.demo.message import Message, message, new_id
from shared.schemas.customer import TagCustomer
from shared.schemas.sales import Line, PurchaseRecorded

READERS_OF_SALES = ("billing", "customer")
BILLING_ALONE = ("billing",)
CUSTOMER_ALONE = ("customer",)
TEAPOT = Line(sku="POT-1", description="Teapot", quantity=1, unit_price=2900)


def malformed(seed: str, begin: datetime) -> list[Message]:
    """Between the eighth and the twentieth day, one after the other; each is published once."""
    rng = Random(f"{seed}/malformed")  # noqa: S311 - a script is to be repeated, not to be secret
    moments = (begin + timedelta(days=8 + n / 2, minutes=7) for n in range(100))
    return [*_bad_purchases(rng, moments), *_bad_commands(rng, moments)]


def _purchase(rng: Random, at: datetime, flaw: str, refused_by: tuple[str, ...] = READERS_OF_SALES) -> Message:
    """A purchase that would be in order."""
    payload = PurchaseRecorded(
        version=1,
        purchase_id=new_id(at, rng),
        customer_id=new_id(at, rng),
        currency="EUR",
        country="AT",
        lines=(TEAPOT,),
    )
    return message(payload, at, SHOP, rng, refused_by=refused_by, flaw=flaw)


def _bad_purchases(rng: Random, moments: Iterator[datetime]) -> Iterator[Message]:
    spoilt: dict[str, Callable[[Message], Message]] = {
        "no JSON": lambda good: replace(good, value=b'{"purchase_id": '),
        "NaN as a price": lambda good: replace(good, value=(good.value or b"").replace(b"2900", b"NaN")),
        "a negative quantity": lambda good: replace(
            good, value=(good.value or b"").replace(b'"quantity":1', b'"quantity":-1')
        ),
        "an unknown currency": lambda good: replace(good, value=(good.value or b"").replace(b"EUR", b"ABC")),
        "a NUL in a text": lambda good: replace(good, value=(good.value or b"").replace(b"Teapot", b"Tea\\u0000pot")),
        "no value": lambda good: replace(good, value=None),
        "no key": lambda good: replace(good, key=None),
        "somebody else's key": lambda good: replace(good, key=b"00000000-0000-7000-8000-000000000000"),
        "no id": lambda good: _with_header(good, "ce_id", missing=True),
        "an unknown type": lambda good: _with_header(good, "ce_type", b"kello.sales.purchase-dreamt.v1"),
        "a type of another topic": lambda good: _with_header(good, "ce_type", b"kello.hr.employee-hired.v1"),
        "a source that is no text": lambda good: _with_header(good, "ce_source", b"\xff\xfe\x00"),
        "a null time": lambda good: _with_header(good, "ce_time", None),
    }
    for flaw, spoil in spoilt.items():
        yield spoil(_purchase(rng, next(moments), flaw))
    at = next(moments)
    tomorrow = _purchase(rng, at + timedelta(days=400), "a time far ahead")
    yield replace(tomorrow, at=at)
    nowhere = _purchase(rng, next(moments), "a country without a tax rate", BILLING_ALONE)
    yield replace(nowhere, value=(nowhere.value or b"").replace(b'"AT"', b'"AQ"'))
    yield from _same_id_twice(rng, next(moments))


def _same_id_twice(rng: Random, at: datetime) -> Iterator[Message]:
    """The first is in order; the second says something else under the same id."""
    good = _purchase(rng, at, "", ())
    yield good
    other = replace(good, value=(good.value or b"").replace(b"2900", b"3900"), at=at + timedelta(seconds=1))
    yield replace(other, refused_by=frozenset(READERS_OF_SALES), flaw="an id that is taken")


def _bad_commands(rng: Random, moments: Iterator[datetime]) -> Iterator[Message]:
    """A command that cannot be read is put aside, and answered all the same."""
    at = next(moments)
    tag = TagCustomer(customer_id=new_id(at, rng), issued_by="care.desk", tag="regular")
    good = message(tag, at, CARE, rng, refused_by=CUSTOMER_ALONE, flaw="a field that the command does not have")
    yield replace(good, value=(good.value or b"").replace(b'"tag"', b'"color":"red","tag"'))


def _with_header(good: Message, name: str, value: bytes | None = None, *, missing: bool = False) -> Message:
    kept = [(each, content) for each, content in good.headers if each != name]
    return replace(good, headers=tuple(kept if missing else [*kept, (name, value)]))
