"""The base of every schema: events, commands, and types that refuse what PostgreSQL cannot store."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

TYPE_SHAPE = re.compile(r"kello\.[a-z]+\.[a-z0-9-]+\.v[1-9][0-9]*\Z")


def _storable(text: str) -> str:
    """Text must hold no NUL character and no lone surrogate: PostgreSQL can store neither."""
    if "\x00" in text:
        raise ValueError("text must not contain a NUL character (U+0000): remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("text must not contain a lone surrogate (U+D800..U+DFFF): send valid Unicode") from None
    return text


def _in_range(day: date) -> date:
    """Dates outside 1900-2200 are mistakes, not facts."""
    if not 1900 <= day.year <= 2200:
        raise ValueError("the date must lie between 1900-01-01 and 2200-12-31")
    return day


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _a_date_without_time(value: Any) -> Any:
    """A date is written YYYY-MM-DD (RFC 3339 full-date): no number, no time of day."""
    if isinstance(value, (int, float, datetime)) or (isinstance(value, str) and len(value) != len("2026-01-31")):
        raise ValueError("a date is written YYYY-MM-DD")
    return value


def _written_moment(value: Any) -> Any:
    if isinstance(value, (int, float)) or (isinstance(value, str) and value.replace(".", "").lstrip("-").isdigit()):
        raise ValueError("a time is written as in RFC 3339, such as 2026-01-31T12:00:00Z")
    return value


ShortText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)]
"""One line: a name, a title, a code of somebody else's. 1 to 200 characters."""

LongText = Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(_storable)]
"""Free text: a note, a complaint. 1 to 10,000 characters."""

Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""A word for programs: lower case, digits, dot, dash, underscore; at most 63."""

Day = Annotated[date, BeforeValidator(_a_date_without_time), AfterValidator(_in_range)]
"""A calendar date without a zone (RFC 3339 full-date), 1900 to 2200."""

Moment = Annotated[
    AwareDatetime, BeforeValidator(_written_moment), AfterValidator(_to_utc), AfterValidator(_in_range)
]
"""A moment in UTC (RFC 3339 date-time with an offset), 1900 to 2200."""

Count = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Version = Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]
"""Counts the events of one `ce_subject`: 1, 2, 3 …"""

Id = UUID
"""Chosen by whoever creates the thing; UUIDv7 by convention (RFC 9562)."""


class Value(BaseModel):
    """A part of a payload. Unknown fields are ignored, so that a newer writer can be read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Payload(BaseModel):
    """What travels as a record's value. Its class says under which type, topic, key and subject.

    `ce_type` is the CloudEvents type, `topic` the logical topic, `key_field` the field whose text is the Kafka key, and
    `subject` a pattern over fields such as `invoice/{invoice_id}`. A class without a type is a base, not a contract.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    ce_type: ClassVar[str] = ""
    topic: ClassVar[str] = ""
    key_field: ClassVar[str] = ""
    subject_pattern: ClassVar[str] = ""
    contracts: ClassVar[dict[str, type["Payload"]]] = {}
    """Every contract that was imported, by its CloudEvents type."""

    def __init_subclass__(cls, **_: Any) -> None:
        """Pydantic passes the class arguments on to `__pydantic_init_subclass__`, where the fields are known."""
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(
        cls, *, type: str = "", topic: str = "", key: str = "", subject: str = "", **kwargs: Any
    ) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if not type:
            return
        if not TYPE_SHAPE.match(type):
            raise TypeError(f"{cls.__name__}: the type {type!r} must look like kello.<publisher>.<name>.v<n>")
        if key not in cls.model_fields:
            raise TypeError(f"{cls.__name__}: its key field {key!r} is not a field")
        if type in Payload.contracts:
            raise TypeError(f"{type} is declared twice")
        cls.ce_type, cls.topic, cls.key_field, cls.subject_pattern = type, topic, key, subject
        Payload.contracts[type] = cls

    @property
    def kafka_key(self) -> str:
        return str(getattr(self, self.key_field))

    @property
    def subject(self) -> str:
        return self.subject_pattern.format_map(self.__dict__)


class Event(Payload):
    """Something that happened. Past tense; unknown fields are ignored."""

    version: Version


class Command(Payload):
    """Something that somebody wants. Imperative; unknown fields are refused, and it is always answered."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    issued_by: ShortText
    """Who asks: a person or a system, as the topic's ACL lets them say."""
