"""FastStream as its tutorial has it: a typed handler, one message, one transaction, and the answer published after it.

At least once (NACK_ON_ERROR): a crash between commit and acknowledgement bills a purchase again, one between commit and
publish of a message that is then skipped by a later commit loses an event. Order per partition is kept.
"""

from typing import Annotated
from uuid import UUID

import asyncpg
import orjson
import uvloop
from faststream import AckPolicy, FastStream, Header
from faststream.kafka import KafkaBroker, KafkaResponse
from pydantic import BaseModel

from tests.bench.contenders.work import Bill, Place, bill_of, derived, headers_of, invoice_issued


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
    broker = KafkaBroker(place.kafka, acks="all")
    pool = await asyncpg.create_pool(place.database_url, min_size=2, max_size=4)

    @broker.subscriber(
        place.topic_in, group_id=place.group, auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR
    )
    @broker.publisher(place.topic_out)
    async def bill_purchase(
        purchase: Purchase, cause: Annotated[str, Header("ce_id")], time: Annotated[str, Header("ce_time")]
    ) -> KafkaResponse:
        told = purchase.model_dump(mode="json")
        bill = bill_of(told)
        invoice_id = derived(purchase.purchase_id, 1)
        async with pool.acquire() as connection, connection.transaction():
            account_id, number = await _kept(connection, purchase, bill, invoice_id)
        issued = orjson.dumps(invoice_issued(told, bill, number, (invoice_id, account_id)))
        headers = headers_of(derived(purchase.purchase_id, 3), invoice_id, time.encode(), cause.encode())
        return KafkaResponse(
            issued,
            key=str(purchase.customer_id).encode(),
            headers={name: value.decode() for name, value in headers.items()},
        )

    await FastStream(broker).run()


async def _kept(
    connection: asyncpg.pool.PoolConnectionProxy, purchase: Purchase, bill: Bill, invoice_id: UUID
) -> tuple[UUID, int]:
    """The rows of one invoice; gives the account's id and the invoice's number."""
    entry_id = derived(purchase.purchase_id, 2)
    account_id = await connection.fetchval(
        "UPDATE account SET outstanding = outstanding + $2, version = version + 1 WHERE customer_id = $1 RETURNING id",
        purchase.customer_id,
        bill.total,
    )
    number = await connection.fetchval(
        "UPDATE number_series SET next_number = next_number + 1 RETURNING next_number - 1"
    )
    await connection.execute(
        "INSERT INTO invoice VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        invoice_id,
        purchase.customer_id,
        purchase.purchase_id,
        number,
        orjson.dumps(bill.lines).decode(),
        bill.net,
        bill.tax,
        bill.total,
    )
    await connection.execute(
        "INSERT INTO ledger_entry VALUES ($1, $2, $3, $4, $5, $6)",
        entry_id,
        purchase.customer_id,
        invoice_id,
        *bill.postings,
    )
    return account_id, number


if __name__ == "__main__":
    uvloop.run(main())
