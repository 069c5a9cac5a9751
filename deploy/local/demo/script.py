"""The whole month in the order in which it is published: who says what when, what is said twice, and who is killed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from deploy.local.demo.customers import DAYS, Life, Plan, life
from deploy.local.demo.malformed import malformed
from deploy.local.demo.message import Message
from deploy.local.demo.people import Person
from deploy.local.demo.staff import MENDED, Run, Staff, account_mended, staff

VICTIMS = ("billing", "billing", "customer", "notify", "payroll")
"""Who may be killed in the middle: billing most of all."""


@dataclass(frozen=True, slots=True)
class Mending:
    """An employee whose refused account HR corrects, with the message that says so."""

    employee_id: UUID
    correction: Message


@dataclass(slots=True)
class Script:
    """What happens. The same seed on the same day, and the same counts, make the same script.

    `messages` are in their order by business time, each once; `again` holds the positions in them of those that are
    published a second time. `plans` says how the invoice of an order (by its id) is paid.
    """

    seed: str
    begin: datetime
    messages: list[Message]
    again: frozenset[int]
    plans: dict[UUID, Plan]
    runs: list[Run]
    mending: Mending | None
    people: list[Person]
    showcase: UUID
    victim: str
    killed_on: int
    """The day of the month on whose end the victim is killed."""
    days: int = DAYS
    bad: list[Message] = field(default_factory=list)


def script(seed: str, customers: int, employees: int, today: datetime) -> Script:
    """The month that ends with yesterday: every moment lies in the past, so that nothing is refused as too early.

    Mails go out all the same: what they tell of, an invoice or a salary, happens while the script runs.
    """
    end = today.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = end - timedelta(days=DAYS)
    lives = [life(number, seed, begin) for number in range(customers)]
    people = staff(employees, seed, begin, end)
    bad = malformed(seed, begin)
    messages = sorted(
        [*(each for life_ in lives for each in life_.messages), *people.messages(), *bad], key=lambda each: each.place
    )
    rng = Random(f"{seed}/script")  # noqa: S311 - a script is to be repeated, not to be secret
    return Script(
        seed=seed,
        begin=begin,
        messages=messages,
        again=_said_twice(messages, rng),
        plans={order: plan for life_ in lives for order, plan in life_.plans.items()},
        runs=people.runs,
        mending=_mending(people, begin),
        people=[*(life_.who for life_ in lives), *(employee.who for employee in people.employees)],
        showcase=max(lives, key=_worth_a_look).id,
        victim=rng.choice(VICTIMS),
        killed_on=rng.randint(11, 14),
        bad=[each for each in bad if each.flaw],
    )


def _worth_a_look(story: Life) -> tuple[bool, int]:
    """Whoever is registered and reads mail, and of whom there is most to tell."""
    return bool(story.version) and story.reads_mail, len(story.messages)


def _said_twice(messages: Iterable[Message], rng: Random) -> frozenset[int]:
    """A tenth of all that is in order."""
    return frozenset(n for n, each in enumerate(messages) if not each.flaw and rng.random() < 0.1)


def _mending(people: Staff, begin: datetime) -> Mending | None:
    if len(people.employees) <= MENDED:
        return None
    employee = people.employees[MENDED]
    return Mending(employee.id, account_mended(employee, begin + timedelta(days=DAYS - 2)))
