"""The base of every schema: events, commands, and types that refuse what PostgreSQL cannot store."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, TypeVar
from uuid import UUID

import orjson
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

M = TypeVar("M", bound=BaseModel)

TYPE_SHAPE = re.compile(r"kello\.[a-z]+\.[a-z0-9-]+\.v[1-9][0-9]*\Z")

FULL_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)


def storable(text: str) -> str:
    """Text must hold no NUL character: PostgreSQL cannot store it. (Lone surrogates pydantic refuses by itself.)"""
    if "\x00" in text:
        raise ValueError("text must not contain a NUL character (U+0000): remove it")
    return text


def _in_range(day: date) -> date:
    """Dates outside 1900-2200 are mistakes, not facts."""
    if not 1900 <= day.year <= 2200:
        raise ValueError("the date must lie between 1900-01-01 and 2200-12-31")
    return day


def _in_utc(moment: datetime) -> datetime:
    _in_range(moment)  # first, for at the ends of the calendar there is no other zone to convert to
    moment = moment.astimezone(UTC)
    _in_range(moment)
    return moment


def _a_date_without_time(value: Any) -> Any:
    """A date is written YYYY-MM-DD (RFC 3339 full-date): no number, no time of day."""
    if isinstance(value, (int, float, datetime)) or (isinstance(value, str) and not FULL_DATE.match(value)):
        raise ValueError("a date is written YYYY-MM-DD")
    return value


def _written_moment(value: Any) -> Any:
    if isinstance(value, (int, float)) or (isinstance(value, str) and value.replace(".", "").lstrip("-").isdigit()):
        raise ValueError("a time is written as in RFC 3339, such as 2026-01-31T12:00:00Z")
    return value


ShortText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(storable)]
"""One line: a name, a title, a code of somebody else's. 1 to 200 characters."""

LongText = Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(storable)]
"""Free text: a note, a complaint. 1 to 10,000 characters."""

Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""A word for programs: lower case, digits, dot, dash, underscore; at most 63."""

Day = Annotated[date, BeforeValidator(_a_date_without_time), AfterValidator(_in_range)]
"""A calendar date without a zone (RFC 3339 full-date), 1900 to 2200."""

Moment = Annotated[AwareDatetime, BeforeValidator(_written_moment), AfterValidator(_in_utc)]
"""A moment in UTC (RFC 3339 date-time with an offset), 1900 to 2200."""

Count = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
"""How many: 0 to 2^31 - 1."""

Version = Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]
"""Counts the events of one `ce_subject`: 1, 2, 3 …"""

Flag = Annotated[bool, Field(strict=True)]
"""true or false, and no word for it."""

Id = UUID
"""Chosen by whoever creates the thing; UUIDv7 by convention (RFC 9562)."""


class Value(BaseModel):
    """A part of a payload. Unknown fields are ignored, so that a newer writer can be read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)


class CommandValue(Value):
    """A part of a command. Unknown fields are refused, as in the command itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Payload(BaseModel):
    """What travels as a record's value. Its class says under which type, topic, key and subject.

    `ce_type` is the CloudEvents type, `topic` the logical topic, `key_field` the field whose text is the Kafka key, and
    `subject` a pattern over fields such as `invoice/{invoice_id}`. A class without a type is a base, not a contract;
    those derived from it inherit the other three.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)

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
        cls,
        *,
        type: str = "",  # noqa: A002 - the word that a declaration reads best with
        topic: str = "",
        key: str = "",
        subject: str = "",
        **kwargs: Any,
    ) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.ce_type = type
        cls.topic = topic or cls.topic
        cls.key_field = key or cls.key_field
        cls.subject_pattern = subject or cls.subject_pattern
        if type:
            cls._declare()

    @classmethod
    def _declare(cls) -> None:
        if not TYPE_SHAPE.match(cls.ce_type):
            raise TypeError(f"{cls.__name__}: the type {cls.ce_type!r} must look like kello.<publisher>.<name>.v<n>")
        fields = {cls.key_field, *re.findall(r"\{(\w+)\}", cls.subject_pattern)}
        if not cls.topic or not fields <= cls.model_fields.keys():
            raise TypeError(f"{cls.__name__}: it needs a topic, and its key and subject must name its fields")
        if cls.ce_type in Payload.contracts:
            raise TypeError(f"{cls.ce_type} is declared twice")
        Payload.contracts[cls.ce_type] = cls

    @property
    def kafka_key(self) -> str:
        return str(getattr(self, self.key_field))

    def to_json(self) -> bytes:
        """The record's value. As pydantic writes it, byte for byte, in less than half the time."""
        return orjson.dumps(self.__dict__, _plain, orjson.OPT_UTC_Z)

    @property
    def subject(self) -> str:
        return self.subject_pattern.format_map(self.__dict__)


class Event(Payload):
    """Something that happened. Past tense; unknown fields are ignored."""

    version: Version


class Command(Payload):
    """Something that somebody wants. Imperative; unknown fields are refused, and it is always answered."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    issued_by: ShortText
    """Who asks: a person or a system, as the topic's ACL lets them say."""


def _plain(part: Any) -> Any:
    """What orjson does not know: a part of a payload is its fields, and an id may be of another make."""
    return str(part) if isinstance(part, UUID) else part.__dict__


def validator_of(model: type[M]) -> Callable[[dict[str, Any]], M]:
    """`model_validate` without its detours, for what a batch makes by the thousand. Raises ValidationError."""
    return TypeAdapter(model).validator.validate_python
