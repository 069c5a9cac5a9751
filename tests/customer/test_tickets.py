"""The life of a ticket, by commands and by its timer."""

from uuid import uuid4

from shared.harness.kello import Kello
from shared.schemas.customer import (
    CommandAccepted,
    CommandRejected,
    TicketClosed,
    TicketEvent,
    TicketOpened,
    TicketReopened,
    TicketResolved,
)
from tests.customer import words


async def code_of(kello: Kello, command_id: str) -> str:
    return (await kello.expect(CommandRejected, command_id=command_id)).code


async def test_a_ticket_is_opened_resolved_reopened_and_closed_with_versions_in_order(kello: Kello) -> None:
    customer, ticket = uuid4(), uuid4()
    async with kello.running("customer"):
        await kello.publish(
            words.registration(customer),
            words.ticket(customer, ticket, priority="urgent"),
            words.resolving(customer, ticket),
            words.reopening(customer, ticket),
            words.resolving(customer, ticket, "A new parcel went out."),
            words.closing(customer, ticket),
            words.reopening(customer, ticket),
            twice=True,
        )
        opened = await kello.expect(TicketOpened, ticket_id=ticket)
        await kello.expect(TicketReopened, ticket_id=ticket, version=6)
        told = await kello.events(TicketEvent, ticket_id=ticket)
        _, body = await kello.get("customer", f"/tickets/{ticket}")
    assert (opened.requester_kind, opened.priority, opened.category) == ("customer", "urgent", "delivery")
    assert [type(event) for event in told] == [
        TicketOpened,
        TicketResolved,
        TicketReopened,
        TicketResolved,
        TicketClosed,
        TicketReopened,
    ]
    assert [event.version for event in told] == [1, 2, 3, 4, 5, 6]
    assert (body["status"], body["subject_line"], body["resolution"]) == ("open", "The parcel is late", None)


async def test_only_legal_steps_are_taken(kello: Kello) -> None:
    customer, ticket = uuid4(), uuid4()
    async with kello.running("customer"):
        await kello.publish(words.registration(customer), words.ticket(customer, ticket))
        for command in (words.closing(customer, ticket), words.reopening(customer, ticket)):
            (told,) = await kello.publish(command)
            assert await code_of(kello, told) == "illegal_transition"
        await kello.publish(words.resolving(customer, ticket))
        (told,) = await kello.publish(words.resolving(customer, ticket))
        assert await code_of(kello, told) == "illegal_transition"
        await kello.publish(words.closing(customer, ticket))
        for late in (words.closing(customer, ticket), words.resolving(customer, ticket)):
            (told,) = await kello.publish(late)
            assert await code_of(kello, told) == "illegal_transition"
        assert len(await kello.events(TicketEvent, ticket_id=ticket)) == 3


async def test_a_ticket_belongs_to_who_opened_it(kello: Kello) -> None:
    customer, other, ticket = uuid4(), uuid4(), uuid4()
    async with kello.running("customer"):
        (stranger,) = await kello.publish(words.ticket(customer, ticket))
        assert await code_of(kello, stranger) == "unknown_requester"
        await kello.publish(words.registration(customer), words.registration(other), words.ticket(customer, ticket))
        await kello.expect(TicketOpened, ticket_id=ticket)
        (same,) = await kello.publish(words.ticket(customer, ticket))
        await kello.expect(CommandAccepted, command_id=same)
        (taken,) = await kello.publish(words.ticket(other, ticket))
        assert await code_of(kello, taken) == "ticket_exists"
        (foreign,) = await kello.publish(words.resolving(other, ticket))
        assert await code_of(kello, foreign) == "unknown_ticket"
        (missing,) = await kello.publish(words.resolving(customer, uuid4()))
        assert await code_of(kello, missing) == "unknown_ticket"
        assert (await kello.get("customer", f"/tickets/{uuid4()}"))[0] == 404


async def test_a_resolved_ticket_closes_by_itself_after_a_week(kello: Kello) -> None:
    customer, ticket = uuid4(), uuid4()
    async with kello.running("customer"):
        await kello.publish(
            words.registration(customer), words.ticket(customer, ticket), words.resolving(customer, ticket)
        )
        await kello.expect(TicketResolved, ticket_id=ticket)
        await kello.clock.move("customer", days=6)
        await kello.settled()
        assert not await kello.events(TicketClosed)
        await kello.clock.move("customer", days=1, seconds=1)
        assert (await kello.expect(TicketClosed, ticket_id=ticket)).version == 3
        await kello.settled()
        assert not await kello.rows("customer", "SELECT FROM messaging.task")


async def test_a_reopened_ticket_does_not_close_by_itself(kello: Kello) -> None:
    customer, ticket = uuid4(), uuid4()
    async with kello.running("customer"):
        await kello.publish(
            words.registration(customer),
            words.ticket(customer, ticket),
            words.resolving(customer, ticket),
            words.reopening(customer, ticket),
        )
        await kello.expect(TicketReopened, ticket_id=ticket)
        await kello.clock.move("customer", days=8)
        await kello.settled()
        assert not await kello.rows("customer", "SELECT FROM messaging.task")
        await kello.publish(words.resolving(customer, ticket))
        await kello.expect(TicketResolved, ticket_id=ticket, version=4)
        await kello.clock.move("customer", days=8)
        await kello.expect(TicketClosed, ticket_id=ticket, version=5)
        assert len(await kello.events(TicketClosed)) == 1
