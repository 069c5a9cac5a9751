"""Nobody's data where it does not belong."""

import re
from collections.abc import Iterator

from deploy.local.demo.evidence import Evidence, check


@check
async def nobody_is_named(evidence: Evidence) -> list[str]:
    """Nobody's name, mail address or phone number stands in a log or in the reason of a dead letter."""
    names = sorted({person.name for person in evidence.people})
    if not names:
        return []
    mailboxes, phones = {each.mailbox for each in evidence.people}, {each.phone for each in evidence.people}
    named = re.compile("|".join(re.escape(name) for name in names))
    offending: list[str] = []
    for place, text in _texts(evidence):
        addressed = any(mailbox in mailboxes for mailbox in re.findall(r"([\w.+-]+)@", text))
        called = any(number in phones for number in re.findall(r"\+\d{7,15}", text))
        if addressed or called or named.search(text):
            offending.append(place)
    return offending


def _texts(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Lines of logs and reasons of dead letters, with where they stand."""
    for log in evidence.watch.world.logs:
        for number, line in enumerate(log.read_text("utf-8", "replace").splitlines(), 1):
            yield f"{log.name}, line {number}", line
    for topic, records in evidence.records.items():
        if topic.endswith(".dead-letters"):
            for record in records:
                yield str(record.place), record.dead["reason"]
