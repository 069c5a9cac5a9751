"""The scripted month: the same seed is the same script. What comes of it is asked in tests/operations/test_audit.py."""

from collections import Counter
from datetime import UTC, datetime

from deploy.local.demo.message import Message
from deploy.local.demo.script import script


def test_the_same_seed_is_the_same_script_and_another_one_is_not() -> None:
    today = datetime.now(UTC)
    assert script("7", 30, 5, today) == script("7", 30, 5, today)
    assert script("7", 30, 5, today).messages != script("8", 30, 5, today).messages


def test_a_tenth_is_said_twice_and_a_dozen_and_more_are_malformed() -> None:
    written = script("1", 150, 50, datetime.now(UTC))
    assert 0.07 < len(written.again) / len(written.messages) < 0.13
    flaws = Counter(each.flaw for each in written.bad)
    assert len(flaws) >= 12
    assert set(flaws.values()) == {1}


def test_nobodys_life_depends_on_how_many_others_there_are() -> None:
    today = datetime.now(UTC)
    few, many = (keys(script("1", count, 2, today).messages) for count in (5, 50))
    assert few <= many


def keys(messages: list[Message]) -> set[tuple[str, bytes | None]]:
    return {(each.id, each.value) for each in messages if not each.flaw}
