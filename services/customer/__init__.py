"""customer is customer management and customer care: who customers are, what happened to them, and who helps them.

Consumes
    customer.commands   RegisterCustomer, ChangeCustomerDetails, DeactivateCustomer, contact points, channels, consents,
                        tags; AddNote, RecordInteraction, RecordFeedback; OpenTicket, ResolveTicket, ReopenTicket,
                        CloseTicket
    sales.events        PurchaseRecorded, BookingConfirmed: the timeline
    billing.events      InvoiceIssued, InvoicePaid, PaymentReceived, PaymentFailed: the timeline; AccountBalanceChanged
    notify.events       NotificationSent, -Failed, -Suppressed, -Unknown: the communication log
    payroll.events      PayslipCalculated, SalaryPaid, SalaryPaymentFailed, -Unknown: care's view of salaries
Publishes
    customer.events     CustomerRegistered, CustomerUpdated and all that happens to customers and tickets, without
                        personal data; CommandAccepted, CommandRejected
    customer.profiles   the whole CustomerProfile under the customer's version, with every event of customer/{id}
Owns
    party               the root: one row per key, `unknown` until a customer registers or payroll names an employee
    customer            with contact_point, customer_tag and consent (its whole history): the profile
    note, interaction, feedback, ticket
    loyalty_entry, loyalty_account, segment_membership
    timeline, account_balance, paid_total, salary_payment: copies, in which a higher version wins

An employee who asks for help is a party by id alone, of kind `employee` since payroll first spoke of a payslip: care
needs no name to keep a ticket, and who the employee is stands on hr.events, which this service does not read. A failed
salary payment opens a ticket by itself, once per payslip; SalaryPaid closes it. Facts about somebody who is not
registered yet are kept, and show with the registration. A resolved ticket closes after a week, by a timer.
"""
