"""What tells the sender of a command that it was carried out, or was refused."""

from typing import Any

from shared.messaging.service import Service
from shared.operations.audit.records import name_of
from shared.schemas import billing, customer, notify, payroll, registry
from shared.schemas.base import Command, Payload

ANSWERS: dict[type[Command], tuple[type[Payload], ...]] = {
    customer.RegisterCustomer: (customer.CustomerRegistered,),
    customer.ChangeCustomerDetails: (customer.CustomerUpdated,),
    customer.DeactivateCustomer: (customer.CustomerDeactivated,),
    customer.AddContactPoint: (customer.ContactPointAdded,),
    customer.RemoveContactPoint: (customer.ContactPointRemoved,),
    customer.SetPreferredChannels: (customer.CustomerUpdated,),
    customer.RecordConsent: (customer.ConsentRecorded,),
    customer.TagCustomer: (customer.CustomerTagged,),
    customer.UntagCustomer: (customer.CustomerUntagged,),
    customer.AddNote: (customer.NoteAdded,),
    customer.RecordInteraction: (customer.InteractionRecorded,),
    customer.RecordFeedback: (customer.FeedbackReceived,),
    customer.OpenTicket: (customer.TicketOpened,),
    customer.ResolveTicket: (customer.TicketResolved,),
    customer.ReopenTicket: (customer.TicketReopened,),
    customer.CloseTicket: (customer.TicketClosed,),
    billing.IssueInvoice: (billing.InvoiceIssued, billing.InvoiceDrafted),
    billing.RecordPayment: (billing.PaymentReceived,),
    payroll.StartPayrollRun: (payroll.PayrollRunStarted,),
    payroll.ApprovePayrollRun: (payroll.PayrollRunApproved,),
    notify.RequestNotification: (notify.NotificationSent, notify.NotificationSuppressed),
}
"""For each command what it led to; CommandAccepted for all that are not here, and where nothing changed."""


def answers_of(service: Service[Any, Any]) -> list[tuple[str, str]]:
    """Each command that a service takes, with each type that answers it, without their versions."""
    return [
        (name_of(command.ce_type), name_of(answer.ce_type))
        for command in Payload.contracts.values()
        if issubclass(command, Command) and command.topic in service.consumes
        for answer in (*registry.answers(service.name), *ANSWERS.get(command, ()))
    ]
