"""How the payment of a salary ended, told by what payroll published of it."""

from collections.abc import Sequence
from typing import Any

from services.payroll.domain.payslip import Declined, Paid
from shared.messaging.decision import Exhausted, Unknown
from shared.messaging.retold import NotRetold, Retold
from shared.messaging.tasks import TaskCall, TaskKind
from shared.schemas.base import Payload
from shared.schemas.payroll import SalaryPaid, SalaryPaymentFailed, SalaryPaymentUnknown


async def retold(_kind: TaskKind[Any], _task: Any, call: TaskCall, events: Sequence[Payload]) -> Retold:
    """Everything is on the event: the gateway's name for the payment, or its word for why not."""
    for event in events:
        match event:
            case SalaryPaid():
                return Retold(Paid(event.payment_reference))
            case SalaryPaymentFailed(code="declined"):
                return Retold(Declined(event.reason.rpartition(": ")[2]))  # the gateway's word ends the reason
            case SalaryPaymentFailed():
                return Retold(Exhausted(event.reason))
            case SalaryPaymentUnknown():
                return Retold(Unknown("nobody answered"))
    raise NotRetold(f"nothing that was published tells how the payment {call.key} ended")
