"""The books of payroll: double entry, by run and department. Every entry's postings sum to zero."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Literal, TypeAlias
from uuid import UUID

from services.payroll.domain.payslip import ComponentKind
from services.payroll.domain.rules import INCOME_TAX
from services.payroll.domain.run import Run
from shared.messaging.decision import Ids
from shared.schemas.immutable import immutable

LedgerAccount: TypeAlias = Literal[
    "wages_expense", "income_tax_payable", "social_contributions_payable", "staff_advances", "wages_payable", "bank"
]
"""The chart: what work cost, what is owed to the tax office, to insurers and to the staff, and money in hand."""

EntryKind: TypeAlias = Literal["accrual", "payment"]
Posting: TypeAlias = tuple[LedgerAccount, int]


@immutable(frozen=True, slots=True)
class Cost:
    """What the payslips of a department have in a run, by component."""

    run_id: UUID
    department: str
    kind: ComponentKind
    code: str
    amount: int


@immutable(frozen=True, slots=True)
class Entry:
    """One movement in the books of a run's department. Append-only: it is never changed, only followed by others.

    `postings` are amounts in minor units of the run's currency: debits positive, credits negative, none of them zero.
    """

    id: UUID
    run_id: UUID
    department: str
    currency: str
    kind: EntryKind
    business_on: date
    postings: Sequence[Posting]

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.run_id


def accruals(run: Run, costs: Iterable[Cost], on: date, ids: Ids) -> Iterator[Entry]:
    """What the run costs each department, and to whom it is owed: booked when the run is approved."""
    by_department: defaultdict[str, list[Cost]] = defaultdict(list)
    for cost in costs:
        by_department[cost.department].append(cost)
    for department, parts in sorted(by_department.items()):
        sums: defaultdict[LedgerAccount, int] = defaultdict(int)
        for part in parts:
            amount = part.amount if part.kind == "earning" else -part.amount
            sums[_account(part)] += amount
            sums["wages_payable"] -= amount
        yield Entry(ids.next(), run.id, department, run.currency, "accrual", on, _posted(sums))


def payments(run: Run, paid: Mapping[str, int], booked: Mapping[str, int], on: date, ids: Ids) -> Iterator[Entry]:
    """What was paid in each department and is not booked yet: at completion, and again after a retry."""
    for department, amount in sorted(paid.items()):
        new = amount - booked.get(department, 0)
        if new:
            postings = _posted({"wages_payable": new, "bank": -new})
            yield Entry(ids.next(), run.id, department, run.currency, "payment", on, postings)


def _account(cost: Cost) -> LedgerAccount:
    if cost.kind == "earning":
        return "wages_expense"
    if cost.kind == "deduction":
        return "staff_advances"
    return "income_tax_payable" if cost.code == INCOME_TAX else "social_contributions_payable"


def _posted(sums: Mapping[LedgerAccount, int]) -> tuple[Posting, ...]:
    """The postings of an entry without those of nothing. Raises ValueError where they do not sum to zero."""
    if sum(sums.values()):
        raise ValueError("an entry must balance: its debits and credits must sum to zero")
    return tuple(sorted((account, amount) for account, amount in sums.items() if amount))
