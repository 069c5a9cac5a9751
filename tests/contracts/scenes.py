"""Every recorded sample of what a service reads, decided upon one after the other in one transaction."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.messaging.database import Tx
from shared.messaging.decision import Ids, Message, Refused
from shared.messaging.service import Service
from shared.schemas.base import Payload
from shared.schemas.customer import CustomerProfile, ProfileErased, RegisterCustomer
from shared.schemas.hr import EmployeeHired
from shared.schemas.publish import contracts
from shared.schemas.registry import newest, parse
from tests.contracts.tracing import Trace
from tests.schemas.payloads import samples_of

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
ROUNDS = 3
"""What came before somebody was known, then after it, then once more."""
FIRST = (RegisterCustomer, CustomerProfile, EmployeeHired)


async def play(service: Service[Any, Any], tx: Tx, trace: Trace) -> None:
    """Load, decide and save, message by message, while the trace notes what is read of each."""
    for message in _messages(service):
        trace.watch(message.payload)
        with trace.noting():
            state = await service.load(tx, [message])
            try:
                for decide in service.handlers.of_type(message.type):
                    for row in decide(
                        state, message, NOW, Ids(service.name, "scene", message.id, message.time)
                    ).changes:
                        state.put(row)
                    state.keep()
            except Refused:
                state.undo()
            await service.save(tx, state)


def _messages(service: Service[Any, Any]) -> Iterator[Message[Any]]:
    types = [ce_type for ce_type in contracts() if newest(ce_type) in service.handlers.types]
    types.sort(key=lambda ce_type: (contracts()[ce_type] not in FIRST, ce_type))
    number = 0
    for turn in range(ROUNDS):
        for ce_type in types:
            if turn == 0 and ce_type == CustomerProfile.ce_type:
                continue
            for sample in samples_of(ce_type):
                number += 1
                if "version" in sample:
                    sample["version"] += number
                yield _message(parse(ce_type, json.dumps(sample).encode()), number)
    if ProfileErased.ce_type in service.handlers.types:
        customer = parse(CustomerProfile.ce_type, json.dumps(samples_of(CustomerProfile.ce_type)[0]).encode())
        assert isinstance(customer, CustomerProfile)
        yield _message(ProfileErased(customer_id=customer.customer_id, version=10 * number), number + 1)


def _message(payload: Payload, number: int) -> Message[Any]:
    return Message(
        payload=payload,
        id=str(number),
        source="scene",
        type=payload.ce_type,
        time=NOW - timedelta(hours=1) + timedelta(seconds=number),
        key=payload.kafka_key,
        topic=payload.topic,
        partition=0,
        offset=number,
        correlation_id=str(number),
        traceparent=None,
    )
