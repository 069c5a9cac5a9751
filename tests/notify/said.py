"""What other services say in these tests: short ways to make their events."""

from datetime import date
from typing import Any
from uuid import UUID, uuid4

from shared.schemas.billing import BillTo as Billed
from shared.schemas.billing import Cause, InvoiceIssued, InvoiceLine, PaymentFailed, PaymentReceived
from shared.schemas.customer import Consent, ContactPoint, CustomerProfile, TicketOpened
from shared.schemas.hr import EmployeeHired
from shared.schemas.notify import RequestNotification
from shared.schemas.payroll import SalaryPaid, SalaryPaymentFailed
from shared.schemas.standards import Channel

CONSENT = {"marketing": Consent(status="granted")}


def address(domain: str = "example.com") -> str:
    """A mail address that no other test uses."""
    return f"{uuid4().hex}@{domain}"


def number(last_digits: str = "5678") -> str:
    """A phone number that no other test uses."""
    return f"+43660{uuid4().int % 10**6:06}{last_digits}"


def email(value: str = "", **more: Any) -> ContactPoint:
    return _point(Channel.EMAIL, value or address(), more)


def phone(value: str = "", **more: Any) -> ContactPoint:
    return _point(Channel.SMS, value or number(), more)


def _point(channel: Channel, value: str, more: dict[str, Any]) -> ContactPoint:
    return ContactPoint(id=uuid4(), channel=channel, value=value, **{"purpose": "general", "verified": True, **more})


def profile(customer_id: UUID, *points: ContactPoint, version: int = 1, **more: Any) -> CustomerProfile:
    said: dict[str, Any] = {
        "kind": "person",
        "status": "active",
        "name": "Ada Lovelace",
        "locale": "en",
        "country": "AT",
        "zone": "Europe/Vienna",
    }
    return CustomerProfile(customer_id=customer_id, version=version, contact_points=points, **{**said, **more})


def invoice(customer_id: UUID, number: str = "MAIN-2026-000001") -> InvoiceIssued:
    line = InvoiceLine(
        sku="a", description="A", quantity=1, unit_price=10000, discount=0, net=10000, tax_rate=2000, tax=2000,
        gross=12000,
    )  # fmt: skip
    return InvoiceIssued(
        version=1,
        customer_id=customer_id,
        invoice_id=uuid4(),
        account_id=uuid4(),
        number=number,
        series="MAIN-2026",
        issued_on=date(2026, 3, 1),
        due_on=date(2026, 3, 31),
        currency="EUR",
        lines=(line,),
        net=10000,
        tax=2000,
        total=12000,
        bill_to=Billed(name="Ada Lovelace"),
        cause=Cause(kind="purchase", id="p-1"),
    )


def payment(customer_id: UUID) -> PaymentReceived:
    return PaymentReceived(
        version=1,
        customer_id=customer_id,
        payment_id=uuid4(),
        account_id=uuid4(),
        currency="EUR",
        amount=12000,
        allocations=(),
        credit=12000,
        method="transfer",
    )


def failed_payment(customer_id: UUID) -> PaymentFailed:
    return PaymentFailed(
        version=1,
        customer_id=customer_id,
        payment_id=uuid4(),
        invoice_id=uuid4(),
        currency="EUR",
        amount=12000,
        code="declined",
        reason="The card was declined.",
    )


def ticket(requester_id: UUID) -> TicketOpened:
    return TicketOpened(
        version=1,
        ticket_id=uuid4(),
        requester_id=requester_id,
        requester_kind="customer",
        category="billing",
        priority="normal",
    )


def hired(employee_id: UUID, **more: Any) -> EmployeeHired:
    said: dict[str, Any] = {
        "version": 1,
        "name": "Grete Hermann",
        "email": address(),
        "locale": "de-AT",
        "zone": "Europe/Vienna",
        "country": "AT",
        "department": "physics",
        "currency": "EUR",
        "monthly_salary": 300_000,
        "hired_on": date(2026, 1, 1),
        "payment_token": "tok_1",
    }
    return EmployeeHired(employee_id=employee_id, **{**said, **more})


def salary(employee_id: UUID) -> SalaryPaid:
    return SalaryPaid(
        version=2,
        payslip_id=uuid4(),
        employee_id=employee_id,
        run_id=uuid4(),
        period="2026-02",
        currency="EUR",
        net=212345,
        paid_on=date(2026, 2, 27),
        payment_reference="pay_000000000001",
    )


def failed_salary(employee_id: UUID) -> SalaryPaymentFailed:
    return SalaryPaymentFailed(
        version=2,
        payslip_id=uuid4(),
        employee_id=employee_id,
        run_id=uuid4(),
        period="2026-02",
        currency="EUR",
        net=212345,
        code="declined",
        reason="The account is closed.",
    )


def request(recipient_id: UUID, template: str = "service-message", **more: Any) -> RequestNotification:
    categories = {"service-message": "service", "newsletter": "marketing", "security-alert": "security"}
    said: dict[str, Any] = {
        "notification_id": uuid4(),
        "category": categories.get(template, "service"),
        "data": {"title": "Hello", "body": "There is news."},
        "issued_by": "tests",
    }
    return RequestNotification(recipient_id=recipient_id, template=template, **{**said, **more})
