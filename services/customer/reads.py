"""What customer reads of others' events, besides their keys: its half of each contract, and no field more."""

from shared.schemas.billing import AccountBalanceChanged, InvoiceIssued, InvoicePaid, PaymentFailed, PaymentReceived
from shared.schemas.notify import NotificationFailed, NotificationSent, NotificationSuppressed, NotificationUnknown
from shared.schemas.payroll import PayslipCalculated, SalaryPaid, SalaryPaymentFailed, SalaryPaymentUnknown
from shared.schemas.readers import Reads
from shared.schemas.sales import BookingConfirmed, PurchaseRecorded

READS: Reads = {
    AccountBalanceChanged: "version account_id currency outstanding credit",
    InvoiceIssued: "version invoice_id number due_on currency total cause",
    InvoicePaid: "version invoice_id currency total paid_on",
    PaymentFailed: "version payment_id invoice_id currency amount code",
    PaymentReceived: "version payment_id currency amount allocations credit method",
    NotificationFailed: "version notification_id template category cause_type channel reason",
    NotificationSent: "version notification_id template category cause_type channel",
    NotificationSuppressed: "version notification_id template category cause_type reason",
    NotificationUnknown: "version notification_id template category cause_type channel",
    PayslipCalculated: "version payslip_id run_id period currency net",
    SalaryPaid: "version payslip_id run_id period currency net payment_reference",
    SalaryPaymentFailed: "version payslip_id run_id period currency net code",
    SalaryPaymentUnknown: "version payslip_id run_id period currency net",
    BookingConfirmed: (
        "version booking_id currency starts_on ends_on lines[].description lines[].discount lines[].quantity "
        "lines[].sku lines[].unit_price prices_include_tax"
    ),
    PurchaseRecorded: (
        "version purchase_id currency lines[].description lines[].discount lines[].quantity lines[].sku "
        "lines[].unit_price prices_include_tax"
    ),
}
