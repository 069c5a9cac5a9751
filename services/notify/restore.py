"""How the hand-over of a message ended, told by what notify published of it."""

from collections.abc import Sequence
from typing import Any

from services.notify.domain.tasks import SEND_SMS, GivenUp, HandedOver, TurnedAway
from services.notify.effects import BAD_ADDRESSES
from shared.messaging.decision import Exhausted, Unknown
from shared.messaging.retold import Retold
from shared.messaging.tasks import TaskCall, TaskKind
from shared.schemas.base import Payload
from shared.schemas.notify import NotificationFailed, NotificationSent, NotificationUnknown
from shared.schemas.standards import Channel

UNTOLD = TurnedAway("not-recorded")
"""A provider turned a message away, another way was taken, and no event says why. The address stays in use."""


async def retold(kind: TaskKind[Any], _task: Any, call: TaskCall, events: Sequence[Payload]) -> Retold:
    """A message that found another way, or none that is allowed, was turned away here; why is on no event."""
    channel = Channel.SMS if kind.kind == SEND_SMS else Channel.EMAIL
    for event in events:
        match event:
            case NotificationSent() if event.channel == channel:
                return Retold(HandedOver(event.message_id))
            case NotificationUnknown():
                return Retold(Unknown("nobody answered"))
            case NotificationFailed(reason="uncertain"):
                return Retold(GivenUp())
            case NotificationFailed(reason="unreachable"):
                return Retold(Exhausted("unreachable"))
            case NotificationFailed(reason=code) if code != "expired":
                return Retold(TurnedAway(code, address_is_bad=code in BAD_ADDRESSES))
    return Retold(UNTOLD, f"why {channel} turned {call.key.partition('.')[0]} away: it will be tried again there")
