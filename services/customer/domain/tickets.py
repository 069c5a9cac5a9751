"""Tickets: open -> resolved -> closed, and back to open when the problem is back.

Who asks is a customer or an employee; the ticket says which. A resolved ticket closes by itself after
CLOSES_AFTER, if nobody reopens it: each resolution has a timer of its own, named by ticket and version.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from services.customer.domain.party import Party
from shared.messaging.decision import NOTHING, Cancel, Decision, Refused, Task
from shared.schemas import customer as schemas
from shared.schemas.customer import Priority, RequesterKind
from shared.schemas.immutable import immutable

CLOSE_RESOLVED_TICKET: Final = "close-resolved-ticket"
CLOSES_AFTER: Final = timedelta(days=7)

Status = Literal["open", "resolved", "closed"]


class TicketClosing(BaseModel):
    """The timer's payload: which resolution of which ticket it waits on."""

    model_config = ConfigDict(frozen=True)

    ticket_id: UUID
    version: int


@immutable(frozen=True, slots=True)
class Ticket:
    """A call for help. `version` counts the events of ticket/{id}.

    A ticket about a salary names the payslip, and `payslip_version`: the version of what payroll said last.
    """

    id: UUID
    requester_id: UUID
    requester_kind: RequesterKind
    category: str
    subject_line: str
    text: str
    priority: Priority
    opened_by: str
    opened_at: datetime
    status: Status = "open"
    version: int = 1
    changed_at: datetime | None = None
    resolution: str | None = None
    payslip_id: UUID | None = None
    payslip_version: int | None = None

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.requester_id


def open_ticket(party: Party | None, known: Ticket | None, command: schemas.OpenTicket, now: datetime) -> Decision:
    """Somebody needs help; the same ticket again is accepted and changes nothing."""
    if party is None or party.kind == "unknown":
        raise Refused(
            "unknown_requester",
            "requester_id is neither a registered customer nor an employee with a payslip: register the customer first",
        )
    ticket = Ticket(
        id=command.ticket_id,
        requester_id=command.requester_id,
        requester_kind=party.kind,
        category=command.category,
        subject_line=command.subject_line,
        text=command.text,
        priority=command.priority,
        opened_by=command.issued_by,
        opened_at=now,
    )
    if known is None:
        return opened(ticket)
    if _asks_the_same(known, ticket):
        return NOTHING
    raise Refused("ticket_exists", "this ticket_id is another ticket's: choose a new id")


def opened(ticket: Ticket) -> Decision:
    return Decision(
        (ticket,),
        (
            schemas.TicketOpened(
                version=ticket.version,
                ticket_id=ticket.id,
                requester_id=ticket.requester_id,
                requester_kind=ticket.requester_kind,
                category=ticket.category,
                priority=ticket.priority,
            ),
        ),
    )


def resolve(ticket: Ticket, resolution: str | None, now: datetime) -> Decision:
    """The problem is solved, and the ticket closes by itself unless it comes back."""
    _check(ticket, "resolved", {"open"})
    after = _moved(ticket, "resolved", now, resolution)
    return Decision((after,), (_event(schemas.TicketResolved, after),), (_timer(after, now),))


def reopen(ticket: Ticket, now: datetime) -> Decision:
    """The problem is back, even after the ticket was closed."""
    _check(ticket, "reopened", {"resolved", "closed"})
    after = _moved(ticket, "open", now, None)
    return Decision((after,), (_event(schemas.TicketReopened, after),), _no_timer(ticket))


def close(ticket: Ticket, now: datetime) -> Decision:
    """Nothing more will be done. What is not resolved cannot be closed."""
    _check(ticket, "closed", {"resolved"})
    after = _moved(ticket, "closed", now, ticket.resolution)
    return Decision((after,), (_event(schemas.TicketClosed, after),), _no_timer(ticket))


def close_when_due(ticket: Ticket | None, timer: TicketClosing, now: datetime) -> Decision:
    """The timer's moment: the ticket closes if it still stands as it was resolved then."""
    if ticket is None or ticket.status != "resolved" or ticket.version != timer.version:
        return NOTHING
    after = _moved(ticket, "closed", now, ticket.resolution)
    return Decision((after,), (_event(schemas.TicketClosed, after),))


def resolve_and_close(ticket: Ticket, resolution: str, now: datetime) -> Decision:
    """The problem is gone for good: an open ticket is resolved and closed at once, a resolved one closed."""
    if ticket.status == "resolved":
        return close(ticket, now)
    resolved = _moved(ticket, "resolved", now, resolution)
    closed = _moved(resolved, "closed", now, resolution)
    return Decision((closed,), (_event(schemas.TicketResolved, resolved), _event(schemas.TicketClosed, closed)))


def _check(ticket: Ticket, wanted: str, legal: set[str]) -> None:
    if ticket.status not in legal:
        raise Refused(
            "illegal_transition",
            f"the ticket is {ticket.status}: only one that is {' or '.join(sorted(legal))} can be {wanted}",
        )


def _moved(ticket: Ticket, status: Status, now: datetime, resolution: str | None) -> Ticket:
    return replace(ticket, status=status, version=ticket.version + 1, changed_at=now, resolution=resolution)


def _event(model: type[schemas.TicketEvent], ticket: Ticket) -> schemas.TicketEvent:
    return model(
        version=ticket.version,
        ticket_id=ticket.id,
        requester_id=ticket.requester_id,
        requester_kind=ticket.requester_kind,
        category=ticket.category,
    )


def _timer(ticket: Ticket, now: datetime) -> Task:
    return Task(
        kind=CLOSE_RESOLVED_TICKET,
        key=_timer_key(ticket),
        root=str(ticket.requester_id),
        payload=TicketClosing(ticket_id=ticket.id, version=ticket.version),
        due_at=now + CLOSES_AFTER,
    )


def _no_timer(ticket: Ticket) -> tuple[Cancel, ...]:
    return (Cancel(CLOSE_RESOLVED_TICKET, _timer_key(ticket)),) if ticket.status == "resolved" else ()


def _timer_key(ticket: Ticket) -> str:
    """By version: a timer that had started when its ticket was reopened must not swallow the next resolution's."""
    return f"{ticket.id}/{ticket.version}"


def _asks_the_same(known: Ticket, asked: Ticket) -> bool:
    return all(
        getattr(known, name) == getattr(asked, name)
        for name in ("requester_id", "category", "subject_line", "text", "priority", "opened_by")
    )
