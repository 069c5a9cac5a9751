"""Others meet what was promised: CloudEvents by the official SDKs of Python and JavaScript, and the read API."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from deploy.local.stack import Stack
from shared.harness.ground import kello_on
from shared.harness.kello import Kello
from shared.schemas.billing import InvoiceDrafted
from shared.schemas.publish import FOLDER
from tests.contracts.javascript import run
from tests.contracts.strict import strict
from tests.contracts.test_documents import INSTALL_SECONDS
from tests.schemas.payloads import samples_of

PURCHASE = "kello.sales.purchase-recorded.v1"
MODES = ("binary", "structured")
CODECS = (None, "gzip", "snappy", "lz4", "zstd")


@pytest.fixture(scope="module")
async def billing(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kello]:
    """Billing, which drafts an invoice for each purchase of a customer whom it does not know."""
    async with kello_on(stack, tmp_path_factory.mktemp("sandboxes")) as kello, kello.running("billing"):
        yield kello


async def test_the_official_python_sdk_publishes_and_reads(billing: Kello) -> None:
    sent = {}
    for mode, codec in product((to_binary_event, to_structured_event), CODECS):
        customer = str(uuid4())
        event = CloudEvent({**_attributes(), "partitionkey": customer}, _purchase(customer))
        sent[event.get_id()] = event
        await _send(billing, mode(event), codec)
    answers = {answer.get_extension("causationid"): answer for answer in await _answers(billing, sent)}
    for event_id, event in sent.items():
        answer = answers[event_id]
        data, sent_data = answer.get_data(), event.get_data()
        assert isinstance(data, dict)
        assert isinstance(sent_data, dict)
        assert answer.get_type() == InvoiceDrafted.ce_type
        assert answer.get_source() == "kello/billing"
        assert answer.get_extension("correlationid") == event_id
        assert data["cause"] == {"kind": "purchase", "id": sent_data["purchase_id"]}
        assert answer.get_extension("partitionkey") == data["customer_id"]


@pytest.mark.timeout(INSTALL_SECONDS)
async def test_the_official_javascript_sdk_publishes_and_reads(billing: Kello) -> None:
    sent = []
    for mode, codec in product(MODES, CODECS):
        customer = str(uuid4())
        event = {**_attributes(), "time": datetime.now(UTC).isoformat(), "key": customer, "data": _purchase(customer)}
        sent.append({**event, "mode": mode, "compression": codec or "none"})
    topics = {"topic": f"{billing.prefix}sales.events", "answers": f"{billing.prefix}billing.events"}
    found = await run("cloudevents.mjs", {"kafka": billing.kafka, "sent": sent, **topics})
    answers = {answer["causationid"]: answer for answer in found}
    assert answers.keys() == {event["id"] for event in sent}
    for event in sent:
        answer = answers[event["id"]]
        assert (answer["type"], answer["source"]) == (InvoiceDrafted.ce_type, "kello/billing")
        assert answer["data"]["cause"] == {"kind": "purchase", "id": event["data"]["purchase_id"]}
        assert answer["data"]["customer_id"] == event["key"]
        assert answer["correlationid"] == event["id"]
    assert await billing.dead_letters("billing") == []


async def _answers(kello: Kello, sent: Mapping[str, CloudEvent]) -> list[BaseCloudEvent]:
    for event in sent.values():
        await kello.expect(InvoiceDrafted, customer_id=UUID(event.get_extension("partitionkey")))
    records = await kello.records("billing.events")
    return [from_kafka_event(KafkaMessage(dict(each.headers), each.key, each.value)) for each in records]


async def test_a_service_that_a_test_runs_gets_what_it_declares_alone(billing: Kello) -> None:
    (process,) = billing.processes["billing"]
    (decide,) = process.service.handlers.of_type(PURCHASE)
    assert decide.__module__ == process.service.load.__module__ == strict.__module__


async def test_a_running_service_tells_the_document_that_is_committed(billing: Kello) -> None:
    status, document = await billing.get("billing", "/openapi.json", token=None)
    assert (status, document) == (200, json.loads((FOLDER / "openapi" / "billing.json").read_text(encoding="utf-8")))


def _attributes() -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "source": "https://shop.example.org",
        "type": PURCHASE,
        "specversion": "1.0",
        "datacontenttype": "application/json",
        "time": datetime.now(UTC),
    }


def _purchase(customer_id: str) -> dict[str, Any]:
    payload: dict[str, Any] = samples_of(PURCHASE)[0]
    return {**payload, "purchase_id": str(uuid4()), "customer_id": customer_id}


async def _send(kello: Kello, message: KafkaMessage, codec: str | None) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kello.kafka, compression_type=codec) as producer:
        key = message.key.encode() if isinstance(message.key, str) else message.key
        headers = [*message.headers.items()]
        await producer.send_and_wait(f"{kello.prefix}sales.events", message.value, key, headers=headers)
