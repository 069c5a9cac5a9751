"""quixstreams with its own means: a streaming data frame, state in its stores (RocksDB) with a changelog on Kafka.

Exactly once within Kafka, by transactions: state, output and offsets are committed together, at each checkpoint; a
reader that asks for committed records sees them only then. Order per partition is kept. There is no database:
accounts, invoices and entries of the ledger are the state of a customer, to be found by this program alone. What was
billed is billed no second time. State belongs to a message's key, so a number is counted per customer: a series over
customers has no place there.
"""

from typing import Any
from uuid import UUID, uuid5

import orjson
from quixstreams import Application, State

from tests.bench.contenders.work import SERIES, Place, bill_of, derived, headers_of, invoice_issued

COMMIT_SECONDS = 1.0


def main() -> None:
    place = Place.from_environment()
    app = Application(
        place.kafka,
        consumer_group=place.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=COMMIT_SECONDS,
        state_dir=place.state,
        auto_create_topics=True,
        loglevel="WARNING",
    )
    purchases = app.topic(place.topic_in, value_deserializer="bytes", key_deserializer="bytes")
    issued = app.topic(place.topic_out, value_serializer="bytes", key_serializer="bytes")
    frame = app.dataframe(purchases)
    frame = frame.apply(_billed, stateful=True, metadata=True)
    frame = frame.filter(lambda told: told is not None)
    frame = frame.set_headers(lambda told, _key, _time, _headers: list(told["headers"].items()))
    frame = frame.apply(lambda told: told["value"])
    frame.to_topic(issued)
    app.run()


def _billed(
    value: bytes, key: bytes, _timestamp: int, headers: list[tuple[str, bytes]], state: State
) -> dict[str, Any] | None:
    purchase = orjson.loads(value)
    found = dict(headers)
    cause, customer = UUID(purchase["purchase_id"]), purchase["customer_id"]
    if state.exists(f"invoice/{cause}"):
        return None
    bill = bill_of(purchase)
    kept = state.get("account", default={"outstanding": 0, "number": 0})
    number = kept["number"] + 1
    state.set("account", {"outstanding": kept["outstanding"] + bill.total, "number": number})
    state.set(f"invoice/{cause}", {"number": number, "lines": bill.lines, "net": bill.net, "tax": bill.tax})
    state.set(f"entry/{derived(cause, 2)}", bill.postings)
    ids = derived(cause, 1), uuid5(UUID(customer), purchase["currency"])
    told = {**invoice_issued(purchase, bill, number, ids), "series": f"{SERIES}/{customer}"}
    return {
        "value": orjson.dumps(told),
        "headers": headers_of(derived(cause, 3), ids[0], found["ce_time"], found["ce_id"]),
    }


if __name__ == "__main__":
    main()
