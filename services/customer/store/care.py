"""Notes, interactions, feedback and tickets."""

from collections.abc import Sequence
from uuid import UUID

from services.customer.domain.care import Feedback, Interaction, Note
from services.customer.domain.tickets import Ticket
from shared.messaging.database import Tx, expect_rows
from shared.messaging.working_set import Changed


async def notes(tx: Tx, ids: Sequence[UUID]) -> list[Note]:
    rows = await tx.fetch("SELECT * FROM note WHERE id = ANY ($1::uuid[])", ids)
    return [Note(**row) for row in rows]


async def insert_notes(tx: Tx, new: Sequence[Note]) -> None:
    await tx.execute(
        """
        INSERT INTO note (id, customer_id, text, pinned, written_by, recorded_at)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::boolean[], $5::text[], $6::timestamptz[])
        """,
        [note.id for note in new],
        [note.customer_id for note in new],
        [note.text for note in new],
        [note.pinned for note in new],
        [note.written_by for note in new],
        [note.recorded_at for note in new],
    )


async def interactions(tx: Tx, ids: Sequence[UUID]) -> list[Interaction]:
    rows = await tx.fetch("SELECT * FROM interaction WHERE id = ANY ($1::uuid[])", ids)
    return [Interaction(**row) for row in rows]


async def insert_interactions(tx: Tx, new: Sequence[Interaction]) -> None:
    await tx.execute(
        """
        INSERT INTO interaction (id, customer_id, kind, direction, occurred_at, summary, written_by, recorded_at)
        SELECT * FROM unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[],
            $8::timestamptz[]
        )
        """,
        [each.id for each in new],
        [each.customer_id for each in new],
        [each.kind for each in new],
        [each.direction for each in new],
        [each.occurred_at for each in new],
        [each.summary for each in new],
        [each.written_by for each in new],
        [each.recorded_at for each in new],
    )


async def feedback(tx: Tx, ids: Sequence[UUID]) -> list[Feedback]:
    rows = await tx.fetch("SELECT * FROM feedback WHERE id = ANY ($1::uuid[])", ids)
    return [Feedback(**row) for row in rows]


async def insert_feedback(tx: Tx, new: Sequence[Feedback]) -> None:
    await tx.execute(
        """
        INSERT INTO feedback (id, customer_id, kind, score, text, ticket_id, purchase_id, recorded_at)
        SELECT * FROM unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::text[], $6::uuid[], $7::uuid[], $8::timestamptz[]
        )
        """,
        [each.id for each in new],
        [each.customer_id for each in new],
        [each.kind for each in new],
        [each.score for each in new],
        [each.text for each in new],
        [each.ticket_id for each in new],
        [each.purchase_id for each in new],
        [each.recorded_at for each in new],
    )


async def tickets(tx: Tx, ids: Sequence[UUID], payslip_ids: Sequence[UUID]) -> list[Ticket]:
    """By their ids, and those about payslips."""
    rows = await tx.fetch(
        "SELECT * FROM ticket WHERE id = ANY ($1::uuid[]) OR payslip_id = ANY ($2::uuid[])", ids, payslip_ids
    )
    return [Ticket(**row) for row in rows]


async def insert_tickets(tx: Tx, new: Sequence[Ticket]) -> None:
    await tx.execute(
        """
        INSERT INTO ticket (
            id, version, requester_id, requester_kind, category, subject_line, text, priority, status, resolution,
            opened_by, opened_at, changed_at, payslip_id, payslip_version
        )
        SELECT * FROM unnest(
            $1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[], $14::uuid[], $15::bigint[]
        )
        """,
        [ticket.id for ticket in new],
        [ticket.version for ticket in new],
        [ticket.requester_id for ticket in new],
        [ticket.requester_kind for ticket in new],
        [ticket.category for ticket in new],
        [ticket.subject_line for ticket in new],
        [ticket.text for ticket in new],
        [ticket.priority for ticket in new],
        [ticket.status for ticket in new],
        [ticket.resolution for ticket in new],
        [ticket.opened_by for ticket in new],
        [ticket.opened_at for ticket in new],
        [ticket.changed_at for ticket in new],
        [ticket.payslip_id for ticket in new],
        [ticket.payslip_version for ticket in new],
    )


async def update_tickets(tx: Tx, changed: Sequence[Changed[Ticket]]) -> None:
    after = [each.after for each in changed]
    status = await tx.execute(
        """
        UPDATE ticket AS t
        SET version = u.version, status = u.status, resolution = u.resolution, changed_at = u.changed_at,
            payslip_version = u.payslip_version
        FROM unnest(
            $1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::bigint[]
        ) AS u (id, loaded, version, status, resolution, changed_at, payslip_version)
        WHERE t.id = u.id AND t.version = u.loaded
        """,
        [ticket.id for ticket in after],
        [each.before.version for each in changed],
        [ticket.version for ticket in after],
        [ticket.status for ticket in after],
        [ticket.resolution for ticket in after],
        [ticket.changed_at for ticket in after],
        [ticket.payslip_version for ticket in after],
    )
    expect_rows(status, len(changed))
