"""The words that customer's commands and events share."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from shared.schemas.base import Code, ShortText
from shared.schemas.standards import Channel

CustomerKind = Literal["person", "organisation"]

RequesterKind = Literal["customer", "employee"]

ConsentStatus = Literal["granted", "withdrawn"]

LegalBasis = Literal[
    "consent", "contract", "legal-obligation", "vital-interests", "public-task", "legitimate-interests"
]
"""GDPR, article 6 (1) a to f."""

InteractionKind = Literal["call", "email", "message", "meeting", "visit"]

Direction = Literal["inbound", "outbound"]
"""inbound: the customer turned to us."""

FeedbackKind = Literal["csat", "nps"]

Priority = Literal["low", "normal", "high", "urgent"]

Channels = Annotated[tuple[Channel, ...], Field(max_length=10)]
"""How somebody wants to be told, the best first."""

AttributeValue = StrictBool | Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)] | ShortText

Attributes = Annotated[dict[Code, AttributeValue], Field(max_length=50)]
"""What else is known about a customer: at most 50 names with a text, a whole number or yes/no."""


def check_score(kind: str, score: int) -> None:
    """Raises ValueError: CSAT is 1 to 5, NPS 0 to 10."""
    low, high = (1, 5) if kind == "csat" else (0, 10)
    if not low <= score <= high:
        raise ValueError("the score must be 1 to 5 for csat and 0 to 10 for nps")
