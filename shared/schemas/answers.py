"""The two answers that every service gives to a command of which nothing else would tell the sender."""

from typing import Annotated

from pydantic import Field

from shared.schemas.base import Code, Event, ShortText, Version

CommandId = Annotated[str, Field(min_length=1, max_length=255)]
"""The `ce_id` of a command's record."""


class Accepted(Event, key="key", subject="command/{command_id}"):
    """The command was carried out and nothing changed that has an event of its own.

    A base: each service publishes its own `CommandAccepted` on `<service>.events`.
    """

    version: Version = 1
    """Always 1: a command is answered once."""
    key: ShortText
    """The Kafka key of the command, which is the answer's key, too."""
    command_id: CommandId
    """The command's `ce_id`."""
    command_type: ShortText
    """The command's `ce_type`."""


class Rejected(Accepted):
    """The command was refused and nothing changed. A base, as `Accepted` is."""

    code: Code
    """Stable, for programs."""
    message: Annotated[str, Field(min_length=1, max_length=2000)]
    """What to do about it, for people; without personal data."""
