"""FastStream with faststream-outbox and an inbox: batches in, one transaction each, an outbox row per event, one relay.

Effectively once: the inbox's key stops what comes twice, the outbox row is written with its effects, and the relay
sends it at least once under the same event id. Order per key is kept by one relay worker, which awaits each send: the
library's own advice; with several workers order is lost.
"""

from typing import Any
from uuid import UUID

import orjson
import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaResponse
from faststream.kafka.annotations import KafkaMessage
from faststream_outbox import OutboxBroker, make_outbox_table
from pydantic import BaseModel
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.bench.contenders.work import Bill, Place, bill_of, derived, headers_of, invoice_issued

BATCH_RECORDS = 500
QUEUE = "issued"


class Line(BaseModel):
    sku: str
    description: str
    quantity: int
    unit_price: int
    discount: int = 0
    tax_class: str = "standard"


class Purchase(BaseModel):
    purchase_id: UUID
    customer_id: UUID
    currency: str
    country: str
    lines: list[Line]


async def main() -> None:
    place = Place.from_environment()
    metadata = MetaData()
    table = make_outbox_table(metadata, table_name="outbox")
    engine = create_async_engine(place.database_url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=8)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    kafka = KafkaBroker(place.kafka, acks="all")
    outbox = OutboxBroker(engine, outbox_table=table)
    issued = kafka.publisher(place.topic_out)

    @issued
    @outbox.subscriber(
        QUEUE,
        max_workers=1,
        fetch_batch_size=BATCH_RECORDS,
        terminal_flush_batch_size=BATCH_RECORDS,
        min_fetch_interval=0.01,
        max_fetch_interval=0.1,
    )
    async def relay(event: dict[str, Any]) -> KafkaResponse:
        return KafkaResponse(orjson.dumps(event["value"]), key=event["key"].encode(), headers=event["headers"])

    @kafka.subscriber(
        place.topic_in,
        group_id=place.group,
        batch=True,
        max_records=BATCH_RECORDS,
        batch_timeout_ms=50,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )
    async def bill_purchases(purchases: list[Purchase], message: KafkaMessage) -> None:
        heads = [dict(record.headers) for record in message.raw_message]
        async with engine.begin() as connection:
            events = await _kept(connection, purchases, heads)
            if events:
                await outbox.publish_batch(*events, queue=QUEUE, session=connection)

    await FastStream(kafka, on_startup=[outbox.start], on_shutdown=[outbox.stop]).run()


async def _kept(
    connection: AsyncConnection, purchases: list[Purchase], heads: list[dict[str, bytes]]
) -> list[dict[str, Any]]:
    """The rows of all that is new, in a statement for each table; gives the events that follow."""
    ids = [head["ce_id"].decode() for head in heads]
    new = set(await _column(connection, INBOX, ids=ids))
    mine = [(each, head) for each, head in zip(purchases, heads, strict=True) if head["ce_id"].decode() in new]
    if not mine:
        return []
    told = [each.model_dump(mode="json") for each, _ in mine]
    bills = [bill_of(each) for each in told]
    customers = [each.customer_id for each, _ in mine]
    accounts = dict((await connection.execute(text(ACCOUNTS), {"customers": customers})).all())
    first = (await _column(connection, NUMBERS, n=len(mine)))[0]
    await connection.execute(text(BALANCES), {"customers": customers, "totals": [bill.total for bill in bills]})
    await _write_invoices(connection, [each for each, _ in mine], bills, first)
    events = []
    for number, ((purchase, head), payload, bill) in enumerate(zip(mine, told, bills, strict=True), first):
        invoice_id = derived(purchase.purchase_id, 1)
        value = invoice_issued(payload, bill, number, (invoice_id, accounts[purchase.customer_id]))
        headers = headers_of(derived(purchase.purchase_id, 3), invoice_id, head["ce_time"], head["ce_id"])
        events.append(
            {
                "key": str(purchase.customer_id),
                "value": value,
                "headers": {name: header.decode() for name, header in headers.items()},
            }
        )
    return events


async def _write_invoices(
    connection: AsyncConnection, purchases: list[Purchase], bills: list[Bill], first: int
) -> None:
    causes = [each.purchase_id for each in purchases]
    entries = [derived(cause, 2) for cause in causes]
    columns = {
        "ids": [derived(cause, 1) for cause in causes],
        "customers": [each.customer_id for each in purchases],
        "causes": causes,
        "numbers": list(range(first, first + len(causes))),
        "lines": [orjson.dumps(bill.lines).decode() for bill in bills],
        "nets": [bill.net for bill in bills],
        "taxes": [bill.tax for bill in bills],
        "totals": [bill.total for bill in bills],
    }
    await connection.execute(text(INVOICES), columns)
    owed, earned, taxes = (list(column) for column in zip(*(bill.postings for bill in bills), strict=True))
    postings = {"receivable": owed, "revenue": earned, "tax_payable": taxes}
    entered = {"entries": entries, "customers": columns["customers"], "ids": columns["ids"], **postings}
    await connection.execute(text(ENTRIES), entered)


async def _column(connection: AsyncConnection, sql: str, **parameters: Any) -> list[Any]:
    return list((await connection.execute(text(sql), parameters)).scalars())


INBOX = "INSERT INTO inbox SELECT unnest(CAST(:ids AS text[])) ON CONFLICT DO NOTHING RETURNING id"
ACCOUNTS = """
SELECT customer_id, id FROM account WHERE customer_id = ANY (CAST(:customers AS uuid[])) ORDER BY customer_id FOR UPDATE
"""
NUMBERS = "UPDATE number_series SET next_number = next_number + :n RETURNING next_number - :n"
BALANCES = """
UPDATE account AS a SET outstanding = a.outstanding + b.total, version = a.version + b.n
FROM (
    SELECT c, sum(t) AS total, count(*) AS n
    FROM unnest(CAST(:customers AS uuid[]), CAST(:totals AS bigint[])) AS u (c, t) GROUP BY c
) AS b WHERE a.customer_id = b.c
"""
INVOICES = """
INSERT INTO invoice SELECT * FROM unnest(
    CAST(:ids AS uuid[]), CAST(:customers AS uuid[]), CAST(:causes AS uuid[]), CAST(:numbers AS bigint[]),
    CAST(:lines AS json[]), CAST(:nets AS bigint[]), CAST(:taxes AS bigint[]), CAST(:totals AS bigint[])
)
"""
ENTRIES = """
INSERT INTO ledger_entry
SELECT * FROM unnest(
    CAST(:entries AS uuid[]), CAST(:customers AS uuid[]), CAST(:ids AS uuid[]),
    CAST(:receivable AS bigint[]), CAST(:revenue AS bigint[]), CAST(:tax_payable AS bigint[])
)
"""


if __name__ == "__main__":
    uvloop.run(main())
