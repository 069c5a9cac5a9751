"""What notify reads of others' events, besides their keys: its half of each contract, and no field more."""

from shared.schemas.billing import InvoiceIssued, PaymentFailed, PaymentReceived
from shared.schemas.customer import CustomerProfile, TicketClosed, TicketOpened, TicketResolved
from shared.schemas.hr import EmployeeChanged, EmployeeHired, EmployeeTerminated
from shared.schemas.payroll import SalaryPaid, SalaryPaymentFailed
from shared.schemas.readers import Reads

READS: Reads = {
    InvoiceIssued: "number issued_on due_on currency tax total",
    PaymentFailed: "currency amount reason",
    PaymentReceived: "currency amount credit",
    CustomerProfile: (
        "version status name locale zone contact_points[].channel contact_points[].invalid "
        "contact_points[].opted_out contact_points[].purpose contact_points[].value contact_points[].verified "
        "preferred_channels consents.*.status consents.*.valid_until"
    ),
    TicketClosed: "ticket_id",
    TicketOpened: "ticket_id",
    TicketResolved: "ticket_id",
    EmployeeChanged: "version name email phone locale zone preferred_channels",
    EmployeeHired: "version name email phone locale zone preferred_channels",
    EmployeeTerminated: "version",
    SalaryPaid: "period currency net paid_on payment_reference",
    SalaryPaymentFailed: "period currency net reason",
}
