"""What can be told: each template's category, how long it is worth telling, and which address it prefers."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from shared.schemas.immutable import immutable
from shared.schemas.notify import Category

MARKETING = "marketing"
SERVICE = "service"
"""The consent purposes that are named like the category that they govern."""


@immutable(frozen=True, slots=True)
class Template:
    """A letter's kind. Its texts are in templates/<name>/<language>.j2.

    `valid_for` counts from the cause: what is older is recorded as expired. `purpose` is the purpose of the contact
    points that are tried first.
    """

    name: str
    category: Category
    valid_for: timedelta
    purpose: str = "general"


INVOICE_ISSUED = Template("invoice-issued", "transactional", timedelta(days=7), "invoices")
PAYMENT_RECEIVED = Template("payment-received", "transactional", timedelta(days=3), "invoices")
PAYMENT_FAILED = Template("payment-failed", "transactional", timedelta(days=3), "invoices")
SALARY_PAID = Template("salary-paid", "transactional", timedelta(days=14), "private")
SALARY_PAYMENT_FAILED = Template("salary-payment-failed", "transactional", timedelta(days=3), "private")
TICKET_OPENED = Template("ticket-opened", "service", timedelta(days=3))
TICKET_RESOLVED = Template("ticket-resolved", "service", timedelta(days=3))
TICKET_CLOSED = Template("ticket-closed", "service", timedelta(days=3))
SERVICE_MESSAGE = Template("service-message", "service", timedelta(days=7))
SECURITY_ALERT = Template("security-alert", "security", timedelta(days=1))
NEWSLETTER = Template("newsletter", "marketing", timedelta(days=7))

TEMPLATES: Mapping[str, Template] = MappingProxyType(
    {
        template.name: template
        for template in (
            INVOICE_ISSUED,
            PAYMENT_RECEIVED,
            PAYMENT_FAILED,
            SALARY_PAID,
            SALARY_PAYMENT_FAILED,
            TICKET_OPENED,
            TICKET_RESOLVED,
            TICKET_CLOSED,
            SERVICE_MESSAGE,
            SECURITY_ALERT,
            NEWSLETTER,
        )
    }
)
