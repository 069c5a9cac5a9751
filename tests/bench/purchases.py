"""The input of every contender: PurchaseRecorded in CloudEvents binary mode, the same from the same seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

import orjson

from shared.schemas.envelope import rfc3339
from tests.bench.contenders.work import bill_of
from tests.bench.wire import PARTITIONS, Record

SEED = 20260131
PRODUCTS = 200
LINES = 3


@dataclass(frozen=True, slots=True)
class Purchase(Record):
    """A PurchaseRecorded, and what its invoice must sum to (minor units)."""

    id: str
    total: int


@dataclass(frozen=True, slots=True)
class Product:
    line: bytes
    total: int


def customer_id(number: int) -> UUID:
    """Customers are numbered, so that SQL can make the same: see `stock`."""
    return UUID(_customer_text(number))


def purchases(count: int, customers: int, *, first: int = 0, now: datetime | None = None) -> Iterator[Purchase]:
    """The purchases numbered from `first` on, each by one of the customers at random; `now` is when they happened."""
    chance = random.Random(SEED + first)  # noqa: S311 - a workload
    time = rfc3339(now or datetime.now(UTC)).encode()
    shelf = _products()
    for number in range(first, first + count):
        bought = chance.choices(shelf, k=LINES)
        yield _purchase(number, _customer_text(chance.randrange(customers)), bought, time)


def told() -> str:
    """What the input is, for the reader of a table."""
    sizes = [len(each.value) for each in purchases(1_000, 1_000)]
    size = sum(sizes) / len(sizes)
    return f"PurchaseRecorded of {size:.0f} bytes with {LINES} lines, seed {SEED}, on {PARTITIONS} partitions"


def _purchase(number: int, customer: str, bought: list[Product], time: bytes) -> Purchase:
    id_ = f"00000000-0000-7001-8000-{number:012x}"
    event = f"00000000-0000-7002-8000-{number:012x}".encode()
    value = b'{"version":1,"purchase_id":"%b","customer_id":"%b","currency":"EUR","country":"AT","lines":[%b]}' % (
        id_.encode(),
        customer.encode(),
        b",".join(product.line for product in bought),
    )
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event),
        ("ce_source", b"shop"),
        ("ce_type", b"kello.sales.purchase-recorded.v1"),
        ("ce_time", time),
        ("ce_subject", f"purchase/{id_}".encode()),
        ("content-type", b"application/json"),
    ]
    return Purchase(customer.encode(), value, headers, id_, sum(product.total for product in bought))


def _customer_text(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


@cache
def _products() -> list[Product]:
    chance = random.Random(SEED)  # noqa: S311 - a workload
    return [_product(number, chance) for number in range(PRODUCTS)]


def _product(number: int, chance: random.Random) -> Product:
    line = {
        "sku": f"SKU-{number:05d}",
        "description": f"Article {number}",
        "quantity": chance.randint(1, 5),
        "unit_price": chance.randint(100, 99_999),
        "tax_class": chance.choice(("standard", "standard", "reduced")),
    }
    return Product(orjson.dumps(line), bill_of({"lines": [line]}).total)
