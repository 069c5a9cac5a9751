"""How a capture ended, told by the gateway and by what billing published of it."""

from collections.abc import Sequence
from typing import Any

from services.billing.domain.payment import GATEWAY_UNREACHABLE, Captured, Declined
from shared.messaging.decision import Exhausted, Unknown
from shared.messaging.retold import NotRetold, Retold
from shared.messaging.tasks import Later, TaskCall, TaskKind
from shared.schemas.base import Payload
from shared.schemas.billing import PaymentFailed, PaymentReceived, PaymentUnknown


async def retold(kind: TaskKind[Any], task: Any, call: TaskCall, events: Sequence[Payload]) -> Retold:
    """The gateway's name for a payment is on no event: it is asked for by idempotency key."""
    for event in events:
        match event:
            case PaymentReceived():
                return Retold(await _captured(kind, task, call))
            case PaymentFailed(code=code):
                return Retold(Exhausted(event.reason) if code == GATEWAY_UNREACHABLE else Declined(code))
            case PaymentUnknown():
                return Retold(Unknown("nobody answered"))
    raise NotRetold(f"nothing that was published tells how the payment {call.key} ended")


async def _captured(kind: TaskKind[Any], task: Any, call: TaskCall) -> Captured:
    assert kind.reconcile is not None  # noqa: S101 - what is performed is reconciled
    try:
        said = await kind.reconcile(task, call)
    except Later as later:
        raise NotRetold(f"{later}: the payment {call.key} was received; run this when the gateway answers") from later
    if not isinstance(said, Captured):
        raise NotRetold(
            f"the payment {call.key} was published as received, but the gateway did not take it ({said}): "
            "is KELLO_GATEWAY_URL the gateway that billing uses? If so, settle it with the gateway's operator first"
        )
    return said
