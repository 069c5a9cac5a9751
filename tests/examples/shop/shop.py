"""A shop that sells chairs: what it says to Kello, and what it makes of the answers."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

from shared.schemas.billing import InvoiceIssued, InvoicePaid, PaymentFailed
from shared.schemas.customer import NewContactPoint, OpenTicket, RegisterCustomer, ResolveTicket
from shared.schemas.sales import Line, PurchaseRecorded
from shared.schemas.standards import Channel

CHAIR = Line(sku="CHAIR-7", description="Oak chair", quantity=1, unit_price=150_00)


@dataclass(frozen=True)
class Shopper:
    """Somebody with an account at the shop."""

    email: str
    name: str = "Ada Beispiel"
    id: UUID = field(default_factory=uuid4)

    def registration(self) -> RegisterCustomer:
        return RegisterCustomer(
            customer_id=self.id,
            issued_by="shop",
            kind="person",
            name=self.name,
            locale="en-AT",
            country="AT",
            zone="Europe/Vienna",
            contact_points=(NewContactPoint(contact_point_id=uuid4(), channel=Channel.EMAIL, value=self.email),),
            preferred_channels=(Channel.EMAIL,),
        )


@dataclass
class Order:
    """What one shopper ordered, and how far it is: `ordered`, `billed`, `paid` or `card-refused`."""

    shopper: Shopper
    card: str | None = None
    id: UUID = field(default_factory=uuid4)
    state: str = "ordered"
    invoice: str = ""

    def purchase(self) -> PurchaseRecorded:
        return PurchaseRecorded(
            version=1,
            purchase_id=self.id,
            customer_id=self.shopper.id,
            currency="EUR",
            country="AT",
            lines=(CHAIR,),
            payment_token=self.card,
        )

    def complaint(self) -> OpenTicket:
        return OpenTicket(
            requester_id=self.shopper.id,
            ticket_id=self.id,
            issued_by="shop",
            subject_line="It wobbles",
            text="One leg is shorter than the others.",
            category="repair",
        )

    def repaired(self) -> ResolveTicket:
        return ResolveTicket(
            requester_id=self.shopper.id, ticket_id=self.id, issued_by="shop", resolution="A leg was replaced"
        )

    def learn(self, event: InvoiceIssued | InvoicePaid | PaymentFailed) -> None:
        """What billing says of the order."""
        match event:
            case InvoiceIssued():
                self.state, self.invoice = "billed", event.number
            case InvoicePaid():
                self.state = "paid"
            case PaymentFailed():
                self.state = "card-refused"
