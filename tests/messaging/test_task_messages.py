"""The message that a task's outcome is to its decision."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from shared.messaging.decision import Due
from shared.messaging.task_store import Claimed, Settled
from shared.messaging.tasks import Ended, message_of
from shared.schemas.envelope import TEXT_MAX

FIRST = Claimed(
    "turn", str(uuid4()), str(uuid4()), b"{}", False, 1, 0, uuid4(), "shop", str(uuid4()), "c", None, datetime.now(UTC)
)


def ended(claimed: Claimed) -> Ended:
    return Ended(claimed, Settled(claimed.kind, claimed.key, claimed.lease, "done"), None, Due())


def test_a_timer_that_schedules_the_next_one_names_a_cause_of_bounded_length_for_ever() -> None:
    claimed, seen = FIRST, set()
    for _ in range(20):
        message = message_of(ended(claimed))
        assert len(message.id) <= TEXT_MAX
        assert len(message.source) <= TEXT_MAX
        seen.add(message.id)
        claimed = replace(claimed, cause_source=message.source, cause_id=message.id)
    assert len(seen) == 20  # each link has ids of its own


def test_the_first_outcome_names_the_record_that_led_to_it() -> None:
    assert FIRST.cause_id in message_of(ended(FIRST)).id
