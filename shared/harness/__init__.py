"""The harness: what a test needs to talk to Kello as another service would, on real Kafka and PostgreSQL.

    from shared.harness import Kello

    async def test_our_shop_gets_its_invoice(kello: Kello) -> None:
        await kello.publish(PurchaseRecorded(...))
        invoice = await kello.expect(InvoiceIssued, customer_id=...)

`plugin` is the pytest plugin with the fixture `kello`; `kello_on` makes one of another scope. Names are imported when
they are used: pytest loads this package in every run where it is installed, and most runs want nothing of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploy.local.sandboxes import Behaviour, MailBehaviour
    from shared.harness.eyes import Event
    from shared.harness.ground import kello_on
    from shared.harness.kello import Kello

__all__ = ["Behaviour", "Event", "Kello", "MailBehaviour", "kello_on"]

HOMES = {
    "Behaviour": "deploy.local.sandboxes",
    "Event": "shared.harness.eyes",
    "Kello": "shared.harness.kello",
    "MailBehaviour": "deploy.local.sandboxes",
    "kello_on": "shared.harness.ground",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)
