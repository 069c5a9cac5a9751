"""Where a process's time goes: the same purchases through one part of the code after the other, with nothing else."""

import gc
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from time import process_time
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import ormsgpack
from aiokafka import ConsumerRecord

from services.billing.consumers import Billing, handlers
from services.billing.domain.account import Account, Customer
from services.billing.domain.legal_entity import LegalEntity
from services.billing.domain.tax import TaxRate, TaxRates
from shared.messaging.decision import Decision, Ids, Message
from shared.messaging.offsets import Partition
from shared.messaging.outbox import Record, contents, record_of
from shared.messaging.received import Reader
from shared.schemas import envelope, registry
from shared.schemas.billing import BillTo
from shared.schemas.sales import PurchaseRecorded
from shared.schemas.uuids import uuid_of
from tests.bench.contenders.work import KNOWN_CUSTOMER, RATES
from tests.bench.purchases import Purchase, purchases
from tests.bench.report import Figure
from tests.bench.stage import Stage

EVENTS, CUSTOMERS = 2_000, 10_000
ROUNDS = 7
SALES = Partition("sales.events", 0)
PURCHASE = PurchaseRecorded.ce_type


def measure(stage: Stage) -> list[Figure]:
    """CPU µs for one purchase, of each part; a part that stands below another with an indent is contained in it."""
    stage.say("Parts")
    bought = list(purchases(EVENTS, CUSTOMERS))
    records = [_fetched(offset, each) for offset, each in enumerate(bought)]
    reader = Reader(handlers)
    messages = [each.message for record in records if (each := reader.read(SALES, record)) and each.message]
    decided = _decided(messages)
    said = _said(messages, decided)
    rows = [ormsgpack.packb([(record.value, record.headers) for record in together]) for together in said]
    parts: dict[str, Callable[[], object]] = {
        "read a record": lambda: [reader.read(SALES, record) for record in records],
        "  its envelope": lambda: [envelope.read(record.headers, record.value) for record in records],
        "  its payload, validated": lambda: [registry.parse(PURCHASE, each.value) for each in bought],
        "  orjson alone, as the limit does": lambda: [orjson.loads(record.value) for record in records],
        "make the working set, and decide": lambda: _decided(messages),
        "write two events": lambda: _said(messages, decided),
        "read two events back from their row": lambda: [contents(row) for row in rows],
    }
    return [
        Figure(f"one purchase: {name}", "µs of Python", tuple(_taken(act) for _ in range(ROUNDS)), None, "warm, alone")
        for name, act in parts.items()
    ]


def _taken(act: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    try:
        began = process_time()
        act()
        return (process_time() - began) / EVENTS * 1e6
    finally:
        gc.enable()


def _fetched(offset: int, purchase: Purchase) -> "ConsumerRecord[bytes, bytes]":
    place = SALES.topic, SALES.partition, offset
    return ConsumerRecord(*place, 0, 0, purchase.key, purchase.value, None, 0, 0, tuple(purchase.headers))


def _ids(message: Message[Any]) -> Ids:
    return Ids("billing", message.source, message.id, message.time)


def _decided(messages: Sequence[Message[Any]]) -> list[Decision]:
    """What the decisions say, each in the state that those before it left."""
    state = _billing({message.payload.customer_id.bytes for message in messages})
    found = []
    for message in messages:
        (decide,) = handlers.of_type(message.type)
        decision = decide(state, message, message.time, _ids(message))
        for row in decision.changes:
            state.put(row)
        state.keep()
        found.append(decision)
    return found


def _said(messages: Sequence[Message[Any]], decided: Sequence[Decision]) -> list[list[Record]]:
    return [
        [record_of(event, "kello/billing", message, message.time, ids) for event in decision.events]
        for message, decision in zip(messages, decided, strict=True)
        for ids in [_ids(message)]
    ]


def _billing(customers: set[bytes]) -> Billing:
    """Everybody is known and has an account, as in the runs."""
    rates = [TaxRate("AT", tax_class, date(2000, 1, 1), rate) for tax_class, rate in RATES.items()]
    state = Billing(LegalEntity("KELLO", ZoneInfo("Europe/Vienna"), 1, 14), TaxRates(rates))
    bill_to = BillTo.model_validate(KNOWN_CUSTOMER)
    known_since = datetime(2026, 1, 1, tzinfo=UTC)
    for content in customers:
        customer_id = uuid_of(content)
        state.add([Customer(customer_id, 1, "known", bill_to, 1, known_since, 0)])
        state.add([Account(uuid_of(content[::-1]), customer_id, "EUR", 0, 0, 1)])
    return state
