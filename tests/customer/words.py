"""What others say to customer in these tests: commands and events with everything that is not the point filled in."""

from datetime import date
from typing import Any
from uuid import UUID, uuid4

from shared.schemas.billing import (
    AccountBalanceChanged,
    Allocation,
    BillTo,
    Cause,
    InvoiceIssued,
    InvoiceLine,
    InvoicePaid,
    PaymentFailed,
    PaymentReceived,
)
from shared.schemas.customer import (
    AddContactPoint,
    Address,
    ChangeCustomerDetails,
    CloseTicket,
    NewContactPoint,
    OpenTicket,
    RecordConsent,
    RegisterCustomer,
    ReopenTicket,
    ResolveTicket,
    TagCustomer,
    UntagCustomer,
)
from shared.schemas.notify import NotificationFailed, NotificationSent, NotificationSuppressed
from shared.schemas.payroll import PayslipCalculated, SalaryPaid, SalaryPaymentFailed, SalaryPaymentUnknown
from shared.schemas.sales import BookingConfirmed, Line, PurchaseRecorded
from shared.schemas.standards import Channel

CLERK = "clerk-7"
"""Who issues the commands."""


def registration(customer_id: UUID, **fields: Any) -> RegisterCustomer:
    known: dict[str, Any] = {
        "kind": "person",
        "name": "Ada Beispiel",
        "locale": "de-AT",
        "country": "AT",
        "zone": "Europe/Vienna",
        "birth_date": date(1990, 2, 28),
        "address": Address(lines=("Hauptplatz 1",), postal_code="8010", city="Graz", country="AT"),
        "contact_points": (
            NewContactPoint(contact_point_id=uuid4(), channel=Channel.EMAIL, value="ada@example.org", verified=True),
        ),
        "preferred_channels": (Channel.EMAIL,),
        "attributes": {"newsletter": True, "shoe-size": 39},
    }
    return RegisterCustomer(issued_by=CLERK, customer_id=customer_id, **{**known, **fields})


def change(customer_id: UUID, expected_version: int, **fields: Any) -> ChangeCustomerDetails:
    return ChangeCustomerDetails(issued_by=CLERK, customer_id=customer_id, expected_version=expected_version, **fields)


def contact_point(customer_id: UUID, contact_point_id: UUID, value: str = "+43 316 123456") -> AddContactPoint:
    return AddContactPoint(
        issued_by=CLERK,
        customer_id=customer_id,
        contact_point_id=contact_point_id,
        channel=Channel.EMAIL if "@" in value else Channel.SMS,
        value=value,
    )


def consent(customer_id: UUID, purpose: str = "marketing", status: str = "granted", **fields: Any) -> RecordConsent:
    return RecordConsent.model_validate(
        {
            "issued_by": CLERK,
            "customer_id": customer_id,
            "purpose": purpose,
            "status": status,
            "policy_version": "2026-01",
            **fields,
        }
    )


def tagging(customer_id: UUID, tag: str) -> TagCustomer:
    return TagCustomer(issued_by=CLERK, customer_id=customer_id, tag=tag)


def untagging(customer_id: UUID, tag: str) -> UntagCustomer:
    return UntagCustomer(issued_by=CLERK, customer_id=customer_id, tag=tag)


def ticket(requester_id: UUID, ticket_id: UUID, **fields: Any) -> OpenTicket:
    known = {"subject_line": "The parcel is late", "text": "It was promised for Monday.", "category": "delivery"}
    return OpenTicket.model_validate(
        {"issued_by": CLERK, "requester_id": requester_id, "ticket_id": ticket_id, **known, **fields}
    )


def resolving(requester_id: UUID, ticket_id: UUID, resolution: str | None = "It has arrived.") -> ResolveTicket:
    return ResolveTicket(issued_by=CLERK, requester_id=requester_id, ticket_id=ticket_id, resolution=resolution)


def reopening(requester_id: UUID, ticket_id: UUID) -> ReopenTicket:
    return ReopenTicket(issued_by=CLERK, requester_id=requester_id, ticket_id=ticket_id)


def closing(requester_id: UUID, ticket_id: UUID) -> CloseTicket:
    return CloseTicket(issued_by=CLERK, requester_id=requester_id, ticket_id=ticket_id)


def purchase(customer_id: UUID, price: int = 1250, quantity: int = 2, **fields: Any) -> PurchaseRecorded:
    known: dict[str, Any] = {"version": 1, "purchase_id": uuid4(), "currency": "EUR", "country": "AT"}
    lines = (Line(sku="T-1", description="Tea", quantity=quantity, unit_price=price),)
    return PurchaseRecorded(customer_id=customer_id, **{**known, "lines": lines, **fields})


def booking(customer_id: UUID, **fields: Any) -> BookingConfirmed:
    return BookingConfirmed(
        version=fields.pop("version", 1),
        booking_id=fields.pop("booking_id", uuid4()),
        customer_id=customer_id,
        currency="EUR",
        country="AT",
        starts_on=date(2026, 7, 1),
        ends_on=date(2026, 7, 3),
        lines=(Line(sku="R-1", description="Room", quantity=3, unit_price=9000, discount=1000),),
        **fields,
    )


def invoice(customer_id: UUID, invoice_id: UUID, total: int = 1200) -> InvoiceIssued:
    net = total - total // 6
    line = InvoiceLine(
        sku="T-1",
        description="Tea",
        quantity=1,
        unit_price=net,
        discount=0,
        net=net,
        tax_rate=2000,
        tax=total - net,
        gross=total,
    )
    return InvoiceIssued(
        version=1,
        customer_id=customer_id,
        invoice_id=invoice_id,
        account_id=uuid4(),
        number="2026-000001",
        series="main/2026/0",
        issued_on=date(2026, 6, 1),
        due_on=date(2026, 6, 15),
        currency="EUR",
        lines=(line,),
        net=net,
        tax=total - net,
        total=total,
        bill_to=BillTo(name="Ada Beispiel"),
        cause=Cause(kind="purchase", id=str(uuid4())),
    )


def invoice_paid(customer_id: UUID, invoice_id: UUID, total: int = 1200) -> InvoicePaid:
    return InvoicePaid(
        version=2,
        customer_id=customer_id,
        invoice_id=invoice_id,
        currency="EUR",
        total=total,
        paid_on=date(2026, 6, 3),
    )


def payment(customer_id: UUID, amount: int, currency: str = "EUR", payment_id: UUID | None = None) -> PaymentReceived:
    return PaymentReceived(
        version=1,
        customer_id=customer_id,
        payment_id=payment_id or uuid4(),
        account_id=uuid4(),
        currency=currency,
        amount=amount,
        allocations=(Allocation(invoice_id=uuid4(), amount=amount),),
        credit=0,
        method="transfer",
    )


def payment_failed(customer_id: UUID, amount: int = 1200) -> PaymentFailed:
    return PaymentFailed(
        version=1,
        customer_id=customer_id,
        payment_id=uuid4(),
        invoice_id=uuid4(),
        currency="EUR",
        amount=amount,
        code="declined",
        reason="The bank said no.",
    )


def balance(customer_id: UUID, account_id: UUID, version: int, outstanding: int) -> AccountBalanceChanged:
    return AccountBalanceChanged(
        version=version,
        customer_id=customer_id,
        account_id=account_id,
        currency="EUR",
        outstanding=outstanding,
        credit=0,
    )


def _notification(recipient_id: UUID, notification_id: UUID | None, version: int) -> dict[str, Any]:
    return {
        "version": version,
        "notification_id": notification_id or uuid4(),
        "recipient_id": recipient_id,
        "template": "invoice-issued",
        "category": "transactional",
        "cause_source": "kello/billing",
        "cause_id": str(uuid4()),
        "cause_type": "kello.billing.invoice-issued.v1",
    }


def sent(recipient_id: UUID, notification_id: UUID | None = None, version: int = 1) -> NotificationSent:
    known = _notification(recipient_id, notification_id, version)
    return NotificationSent(**known, channel=Channel.EMAIL, message_id="<1@kello.example>")


def not_sent(recipient_id: UUID, notification_id: UUID | None = None, version: int = 1) -> NotificationFailed:
    known = _notification(recipient_id, notification_id, version)
    return NotificationFailed(**known, channel=Channel.EMAIL, reason="refused")


def suppressed(recipient_id: UUID) -> NotificationSuppressed:
    return NotificationSuppressed(**_notification(recipient_id, None, 1), reason="no-consent")


def _payslip(employee_id: UUID, payslip_id: UUID, version: int) -> dict[str, Any]:
    return {
        "version": version,
        "payslip_id": payslip_id,
        "employee_id": employee_id,
        "run_id": UUID(int=payslip_id.int ^ 1),
        "period": "2026-05",
        "currency": "EUR",
    }


def payslip(employee_id: UUID, payslip_id: UUID, version: int = 1) -> PayslipCalculated:
    known = _payslip(employee_id, payslip_id, version)
    return PayslipCalculated(**known, gross=300_000, withholdings=100_000, deductions=0, net=200_000, components=())


def salary_failed(employee_id: UUID, payslip_id: UUID, version: int = 2) -> SalaryPaymentFailed:
    known = _payslip(employee_id, payslip_id, version)
    return SalaryPaymentFailed(**known, net=200_000, code="declined", reason="The account is closed.")


def salary_unknown(employee_id: UUID, payslip_id: UUID, version: int = 2) -> SalaryPaymentUnknown:
    return SalaryPaymentUnknown(**_payslip(employee_id, payslip_id, version), net=200_000)


def salary_paid(employee_id: UUID, payslip_id: UUID, version: int = 3) -> SalaryPaid:
    known = _payslip(employee_id, payslip_id, version)
    return SalaryPaid(**known, net=200_000, paid_on=date(2026, 5, 31), payment_reference="P-1")
