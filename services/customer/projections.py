"""What customer copies from others, and `kello replay customer` makes again."""

from shared.messaging.projections import Copy, Projection
from shared.schemas import billing, notify, payroll, sales

projections = {
    "timeline": Projection(
        (
            sales.PurchaseRecorded,
            sales.BookingConfirmed,
            billing.InvoiceIssued,
            billing.InvoicePaid,
            billing.PaymentReceived,
            billing.PaymentFailed,
            notify.NotificationSent,
            notify.NotificationFailed,
            notify.NotificationSuppressed,
            notify.NotificationUnknown,
        ),
        [Copy("timeline"), Copy("paid_total")],
        roots=("party",),
    ),
    "balances": Projection((billing.AccountBalanceChanged,), [Copy("account_balance")], roots=("party",)),
    "salaries": Projection(
        (
            payroll.PayslipCalculated,
            payroll.SalaryPaymentUnknown,
            payroll.SalaryPaymentFailed,
            payroll.SalaryPaid,
        ),
        [Copy("salary_payment")],
        roots=("party",),
    ),
}
