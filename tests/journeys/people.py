"""Who goes on these journeys: what others say about them, with everything that is not the point filled in."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

from shared.schemas.customer import NewContactPoint, RegisterCustomer
from shared.schemas.hr import EmployeeHired
from shared.schemas.sales import Line, PurchaseRecorded
from shared.schemas.standards import Channel

CHAIR = Line(sku="CHAIR-7", description="Oak chair", quantity=2, unit_price=150_00)
CHAIRS_TOTAL = 360_00
"""Two chairs and 20 % tax."""


def registered(customer_id: UUID, mailbox: str) -> RegisterCustomer:
    """Somebody in Vienna who reads German mail."""
    return RegisterCustomer(
        customer_id=customer_id,
        issued_by="care.desk",
        kind="person",
        name="Ada Beispiel",
        locale="de-AT",
        country="AT",
        zone="Europe/Vienna",
        contact_points=(NewContactPoint(contact_point_id=uuid4(), channel=Channel.EMAIL, value=mailbox),),
        preferred_channels=(Channel.EMAIL,),
    )


def bought(customer_id: UUID, payment_token: str | None = None) -> PurchaseRecorded:
    return PurchaseRecorded(
        version=1,
        purchase_id=uuid4(),
        customer_id=customer_id,
        currency="EUR",
        country="AT",
        lines=(CHAIR,),
        payment_token=payment_token,
    )


def hired(employee_id: UUID, mailbox: str, department: str, payment_token: str) -> EmployeeHired:
    """Somebody in Italy, where the example brackets hold and nothing else is withheld: of 200.00 the tax is 30.00."""
    details: dict[str, Any] = {"name": "Bruno Esempio", "locale": "it-IT", "zone": "Europe/Rome", "country": "IT"}
    return EmployeeHired(
        employee_id=employee_id,
        version=1,
        **details,
        email=mailbox,
        department=department,
        currency="EUR",
        monthly_salary=200_00,
        hired_on=date(2024, 1, 1),
        payment_token=payment_token,
        preferred_channels=(Channel.EMAIL,),
    )


def somewhere() -> str:
    """A mailbox of its own."""
    return f"somebody.{uuid4().hex}@example.com"


def today() -> date:
    return datetime.now(UTC).date()
