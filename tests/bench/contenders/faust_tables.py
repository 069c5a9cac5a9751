"""faust-streaming with its own means: an agent over the stream, state in tables with a changelog on Kafka.

At least once, its default: after a crash purchases are billed again, and the table may have counted them already. It
has `exactly_once`, by Kafka transactions, which its own documentation calls experimental. Order per partition is kept.
There is no database: accounts, numbers, invoices and entries of the ledger are its tables. What was billed is billed no
second time. Numbers are gapless within a partition, for a table is cut like its topic.
"""

from typing import Any
from uuid import UUID, uuid5

import faust
import orjson

from tests.bench.contenders.work import SERIES, Place, bill_of, derived, headers_of, invoice_issued

PARTITIONS = 12
place = Place.from_environment()
app = faust.App(
    place.group,
    broker=f"kafka://{place.kafka}",
    datadir=place.state,
    store="memory://",
    value_serializer="raw",
    key_serializer="raw",
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    topic_allow_declare=True,
    producer_acks=-1,
    web_enabled=False,
    stream_wait_empty=False,
    broker_max_poll_records=2000,
)
purchases = app.topic(place.topic_in, value_type=bytes, key_type=bytes)
issued = app.topic(place.topic_out, value_type=bytes, key_type=bytes)
accounts = app.Table("accounts", default=int, partitions=PARTITIONS, key_type=str, value_type=int)
numbers = app.Table("numbers", default=int, partitions=PARTITIONS, key_type=str, value_type=int)
invoices = app.Table("invoices", partitions=PARTITIONS, key_type=str, value_type=dict)
entries = app.Table("entries", partitions=PARTITIONS, key_type=str, value_type=list)


@app.agent(purchases)
async def bill_purchases(stream: Any) -> None:
    async for event in stream.events():
        purchase = orjson.loads(event.value)
        found = event.headers
        if purchase["purchase_id"] in invoices:
            continue
        bill = bill_of(purchase)
        cause, customer = UUID(purchase["purchase_id"]), purchase["customer_id"]
        accounts[customer] += bill.total
        series = f"{SERIES}/{event.message.partition}"
        numbers[series] += 1
        lines = {"number": numbers[series], "lines": bill.lines, "net": bill.net, "tax": bill.tax}
        invoices[purchase["purchase_id"]] = lines
        entries[str(derived(cause, 2))] = list(bill.postings)
        ids = derived(cause, 1), uuid5(UUID(customer), purchase["currency"])
        told = {**invoice_issued(purchase, bill, numbers[series], ids), "series": series}
        headers = headers_of(derived(cause, 3), ids[0], found["ce_time"], found["ce_id"])
        await issued.send(key=event.key, value=orjson.dumps(told), headers=headers)


if __name__ == "__main__":
    app.worker_init()
    faust.Worker(app, loglevel="warning").execute_from_commandline()
