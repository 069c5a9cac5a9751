"""Billing: accounts, invoices with gapless numbers, payments, and a ledger that balances.

Consumes
    sales.events        PurchaseRecorded, BookingConfirmed
    billing.commands    IssueInvoice, RecordPayment, CollectPayment
    customer.profiles   CustomerProfile and its erasure

Publishes
    billing.events      AccountOpened, AccountBalanceChanged, InvoiceDrafted, InvoiceIssued, InvoicePaid,
                        PaymentReceived, PaymentFailed, PaymentUnknown, CommandAccepted, CommandRejected

Owns
    accounts (one per customer and currency), invoices, number series, payments, allocations, the ledger, tax rates
"""
