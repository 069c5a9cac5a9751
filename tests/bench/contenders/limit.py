"""The limit: what these two cores can do for this work when nothing else is asked of the program.

aiokafka's getmany, orjson, one statement per batch (one round trip, one commit), the next batch decoded while that one
runs, sends pipelined. One process that counts in memory. No schema is checked, no decision made, no error handled; a
purchase that is published twice is billed twice. After a crash between commit and send an event is lost.
"""

import asyncio
from itertools import chain
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.bench.contenders.work import Place, bill_of, derived, headers_of, invoice_issued

BATCH_RECORDS = 2000

ONE_BATCH = """
CREATE OR REPLACE FUNCTION bill(
    partitions integer[], offsets bigint[], ids uuid[], customers uuid[], causes uuid[], numbers bigint[],
    lines json[], nets bigint[], taxes bigint[], totals bigint[], entries uuid[]
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO consumer_offset SELECT * FROM unnest(partitions, offsets)
    ON CONFLICT (partition) DO UPDATE SET next_offset = excluded.next_offset;
    UPDATE account AS a SET outstanding = a.outstanding + b.total, version = a.version + b.n
    FROM (SELECT c, sum(t) AS total, count(*) AS n FROM unnest(customers, totals) AS u (c, t) GROUP BY c) AS b
    WHERE a.customer_id = b.c;
    UPDATE number_series SET next_number = numbers[cardinality(numbers)] + 1;
    INSERT INTO invoice SELECT * FROM unnest(ids, customers, causes, numbers, lines, nets, taxes, totals);
    INSERT INTO ledger_entry
    SELECT e, c, i, total, -net, -tax
    FROM unnest(entries, customers, ids, totals, nets, taxes) AS u (e, c, i, total, net, tax);
$$
"""


async def main() -> None:
    place = Place.from_environment()
    database = await asyncpg.connect(place.database_url)
    await database.execute(ONE_BATCH)
    rows = await database.fetch("SELECT customer_id::text, id FROM account")
    accounts: dict[str, UUID] = {row["customer_id"]: row["id"] for row in rows}
    number = await database.fetchval("SELECT next_number FROM number_series")
    consumer = AIOKafkaConsumer(
        place.topic_in,
        bootstrap_servers=place.kafka,
        group_id=place.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
    )
    producer = AIOKafkaProducer(bootstrap_servers=place.kafka, acks="all", linger_ms=2, max_batch_size=256 * 1024)
    await consumer.start()
    await producer.start()
    running: asyncio.Task[None] | None = None
    while True:
        records = list(chain.from_iterable((await consumer.getmany(timeout_ms=50, max_records=BATCH_RECORDS)).values()))
        if not records:
            continue
        columns, events = _decoded(records, accounts, number)
        number += len(records)
        if running is not None:
            await running
        running = asyncio.create_task(_kept(database, producer, place.topic_out, columns, events))
        await asyncio.sleep(0)  # let the statement leave before the next batch is decoded


def _decoded(
    records: list[Any], accounts: dict[str, UUID], number: int
) -> tuple[list[list[Any]], list[tuple[bytes, bytes, list[tuple[str, bytes]]]]]:
    """The columns of the statement, and what is to be published once it is committed."""
    rows, events, offsets = [], [], {}
    for n, record in enumerate(records, number):
        purchase = orjson.loads(record.value)
        bill = bill_of(purchase)
        cause = UUID(purchase["purchase_id"])
        invoice_id, entry_id, event_id = (derived(cause, ordinal) for ordinal in (1, 2, 3))
        found = dict(record.headers)
        customer = purchase["customer_id"]
        lines = orjson.dumps(bill.lines).decode()
        rows.append((invoice_id, UUID(customer), cause, n, lines, bill.net, bill.tax, bill.total, entry_id))
        issued = orjson.dumps(invoice_issued(purchase, bill, n, (invoice_id, accounts[customer])))
        headers = headers_of(event_id, invoice_id, found["ce_time"], found["ce_id"])
        events.append((record.key, issued, list(headers.items())))
        offsets[record.partition] = record.offset + 1
    columns = [list(column) for column in zip(*rows, strict=True)]
    return [list(offsets), list(offsets.values()), *columns], events


async def _kept(
    database: asyncpg.Connection,
    producer: AIOKafkaProducer,
    topic: str,
    columns: list[list[Any]],
    events: list[tuple[bytes, bytes, list[tuple[str, bytes]]]],
) -> None:
    await database.execute("SELECT bill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", *columns)
    for key, value, headers in events:
        await producer.send(topic, value, key, headers=headers)  # which waits only where its buffer is full


if __name__ == "__main__":
    uvloop.run(main())
