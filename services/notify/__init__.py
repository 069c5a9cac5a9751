"""notify tells people what happened, once, by the channel that they prefer, and can say why it did or did not.

Consumes
    customer.profiles   contact points, preferences and consents of customers: a copy, and what waited for them
    hr.events           EmployeeHired, EmployeeChanged, EmployeeTerminated: the same for employees
    billing.events      InvoiceIssued, PaymentReceived, PaymentFailed
    payroll.events      SalaryPaid, SalaryPaymentFailed
    customer.events     TicketOpened, TicketResolved, TicketClosed
    notify.commands     RequestNotification, the mission's `send_notification`
Publishes
    notify.events       NotificationSent, -Failed, -Suppressed, -Unknown, CommandAccepted, CommandRejected
Owns
    recipient           the root: whom we may tell something, as far as we know
    notification        one for each cause and template, never two; `step` is its decision record
    letter              the texts as they were rendered, kept for 30 days or until erasure; the app's inbox reads them

Mail goes out by SMTP, text messages by HTTP, both as tasks. Nobody is told history: what is older than its template's
`valid_for` is recorded as expired.
"""
