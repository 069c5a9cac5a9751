"""What people of care write down about a customer: notes, interactions, feedback. None is ever changed.

Each has an id that its sender chose: the same again is accepted and changes nothing, another under that id is refused.
"""

from dataclasses import replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from shared.messaging.decision import NOTHING, Decision, Refused
from shared.schemas import customer as schemas
from shared.schemas.base import Event
from shared.schemas.customer import Direction, FeedbackKind, InteractionKind
from shared.schemas.immutable import immutable


@immutable(frozen=True, slots=True)
class Note:
    id: UUID
    customer_id: UUID
    text: str
    pinned: bool
    written_by: str
    recorded_at: datetime

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.customer_id


@immutable(frozen=True, slots=True)
class Interaction:
    id: UUID
    customer_id: UUID
    kind: InteractionKind
    direction: Direction
    occurred_at: datetime
    summary: str
    written_by: str
    recorded_at: datetime

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.customer_id


@immutable(frozen=True, slots=True)
class Feedback:
    """`score` is 1 to 5 for csat, 0 to 10 for nps."""

    id: UUID
    customer_id: UUID
    kind: FeedbackKind
    score: int
    text: str | None
    ticket_id: UUID | None
    purchase_id: UUID | None
    recorded_at: datetime

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.customer_id


R = TypeVar("R", Note, Interaction, Feedback)


def add_note(known: Note | None, command: schemas.AddNote, now: datetime) -> Decision:
    note = Note(command.note_id, command.customer_id, command.text, command.pinned, command.issued_by, now)
    event = schemas.NoteAdded(version=1, customer_id=note.customer_id, note_id=note.id, pinned=note.pinned)
    return _recorded(known, note, event)


def record_interaction(known: Interaction | None, command: schemas.RecordInteraction, now: datetime) -> Decision:
    interaction = Interaction(
        id=command.interaction_id,
        customer_id=command.customer_id,
        kind=command.kind,
        direction=command.direction,
        occurred_at=command.occurred_at,
        summary=command.summary,
        written_by=command.issued_by,
        recorded_at=now,
    )
    event = schemas.InteractionRecorded(
        version=1,
        customer_id=interaction.customer_id,
        interaction_id=interaction.id,
        kind=interaction.kind,
        direction=interaction.direction,
        occurred_at=interaction.occurred_at,
    )
    return _recorded(known, interaction, event)


def record_feedback(known: Feedback | None, command: schemas.RecordFeedback, now: datetime) -> Decision:
    feedback = Feedback(
        id=command.feedback_id,
        customer_id=command.customer_id,
        kind=command.kind,
        score=command.score,
        text=command.text,
        ticket_id=command.ticket_id,
        purchase_id=command.purchase_id,
        recorded_at=now,
    )
    event = schemas.FeedbackReceived(
        version=1,
        customer_id=feedback.customer_id,
        feedback_id=feedback.id,
        kind=feedback.kind,
        score=feedback.score,
        ticket_id=feedback.ticket_id,
        purchase_id=feedback.purchase_id,
    )
    return _recorded(known, feedback, event)


def _recorded(known: R | None, asked: R, event: Event) -> Decision:
    if known is None:
        return Decision((asked,), (event,))
    if replace(known, recorded_at=asked.recorded_at) == asked:
        return NOTHING
    name = type(asked).__name__.lower()
    raise Refused(f"{name}_exists", f"this id is another {name}'s: choose a new id")
