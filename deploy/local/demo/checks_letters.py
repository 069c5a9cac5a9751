"""What was put aside is what was sent wrongly, and names nobody; nor do the logs."""

import re
from collections import Counter
from collections.abc import Iterator

from deploy.local.demo.evidence import Evidence, check


@check
async def put_aside_rightly(evidence: Evidence) -> list[str]:
    """Dead letters are exactly the malformed messages, one for each group that reads them."""
    found = Counter(
        (service, letter.original)
        for service, letters in evidence.letters.items()
        for letter in {one.dead["id"]: one for one in letters}.values()
    )
    wanted = Counter((group, place) for place, bad in evidence.sent.bad.items() for group in bad.refused_by)
    return [
        f"{group} put aside {place} {found[group, place]} times, not {wanted[group, place]}"
        for group, place in sorted(found | wanted)
        if found[group, place] != wanted[group, place]
    ]


@check
async def nobody_is_named(evidence: Evidence) -> list[str]:
    """Nobody's name, mail address or phone number stands in a log or in the reason of a dead letter."""
    names = sorted({person.name for person in evidence.people})
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
    for letters in evidence.letters.values():
        for letter in letters:
            yield str(letter.place), letter.dead["reason"]
