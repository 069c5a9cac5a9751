"""Billing's arithmetic, without any database: tax, numbers, allocation and a ledger that always balances."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.consumers import Billing, handlers
from services.billing.domain.account import Account
from services.billing.domain.invoice import Invoice
from services.billing.domain.ledger import Allocation, Entry, Postings, balanced
from services.billing.domain.legal_entity import LegalEntity, Series
from services.billing.domain.payment import CAPTURE_PAYMENT, Captured, CapturePayment, Declined, Payment
from services.billing.domain.tax import TaxRate, TaxRates, taxed
from shared.messaging.decision import Decision, Exhausted, Ids, Message, Outcome, Refused, Task, Unknown
from shared.schemas.base import Event, Payload
from shared.schemas.billing import AccountBalanceChanged, InvoiceIssued, PaymentReceived
from tests.billing.orders import collect, line, profile, purchase, transfer

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENTITY = LegalEntity("KELLO", ZoneInfo("Europe/Vienna"), 1, 14)
RATES = TaxRates(
    [
        TaxRate("AT", "standard", date(1984, 1, 1), 2000),
        TaxRate("AT", "reduced", date(1984, 1, 1), 1000),
        TaxRate("DE", "standard", date(2007, 1, 1), 1900),
        TaxRate("DE", "standard", date(2020, 7, 1), 1600),
        TaxRate("DE", "standard", date(2021, 1, 1), 1900),
    ]
)
CUSTOMERS = [UUID(int=n) for n in (1, 2)]


class Simulation:
    """Decisions one after the other, on a working set that no database ever sees."""

    def __init__(self) -> None:
        self.state = Billing(ENTITY, RATES)
        self.events: list[Event] = []
        self.tasks: dict[UUID, CapturePayment] = {}
        self.said = 0

    def tell(self, payload: Payload) -> None:
        """Raises Refused, and leaves no trace then."""
        self._decide(handlers.of_type(payload.ce_type), payload)

    def end(self, asked: CapturePayment, result: object) -> None:
        self._decide(
            handlers.of_outcome(CAPTURE_PAYMENT), Outcome(CAPTURE_PAYMENT, str(asked.payment_id), 1, asked, result)
        )

    def all(self, cls: type[Any]) -> list[Any]:
        return [row for customer in CUSTOMERS for row in self.state.under(cls, customer)]

    def _decide(self, decisions: Sequence[Any], payload: object) -> None:
        self.said += 1
        message = Message(payload, str(self.said), "tests", "", NOW, "", "", 0, 0, "", None)
        ids = Ids("billing", "tests", message.id, NOW)
        decided: list[Decision] = []
        try:
            for decide in decisions:
                decided.append(decide(self.state, message, NOW, ids))
                for row in decided[-1].changes:
                    self.state.put(row)
        except Refused:
            self.state.undo()
            raise
        self.state.keep()
        for decision in decided:
            self.events += decision.events
            self.tasks |= {
                task.payload.payment_id: task.payload
                for task in decision.tasks
                if isinstance(task, Task) and isinstance(task.payload, CapturePayment)
            }


def assert_the_books_are_right(simulation: Simulation) -> None:
    """What must hold after every decision."""
    invoices: list[Invoice] = simulation.all(Invoice)
    entries: list[Entry] = simulation.all(Entry)
    for entry in entries:
        assert sum(entry.postings) == 0
        assert any(entry.postings), "an entry of nothing"
    for account in simulation.all(Account):
        posted = Counter[str]()
        for entry in entries:
            if entry.account_id == account.id:
                posted.update(entry.postings._asdict())
        assert account.outstanding == posted["receivable"] >= 0
        assert account.credit == -posted["customer_credit"] >= 0
        assert account.outstanding == sum(
            each.open
            for each in invoices
            if each.root == account.customer_id and each.bill.currency == account.currency
        )
    allocated = Counter[UUID]()
    for allocation in simulation.all(Allocation):
        allocated[allocation.invoice_id] += allocation.amount
    for invoice in invoices:
        assert invoice.bill.total == sum(each.gross for each in invoice.bill.lines)
        assert invoice.paid == allocated[invoice.bill.id] <= invoice.bill.total
        assert (invoice.status == "paid") == (invoice.issue is not None and not invoice.open)
    numbers = sorted(each.issue.number for each in invoices if each.issue)
    assert numbers == list(range(1, len(numbers) + 1))
    [following] = [each.next_number for each in simulation.state.under(Series, ("KELLO", 2026, 0))] or [1]
    assert following == len(numbers) + 1
    for payment in simulation.all(Payment):
        parts = [each.amount for each in simulation.all(Allocation) if each.payment_id == payment.id]
        assert payment.amount == payment.credit + sum(parts) if payment.state == "received" else not parts


def assert_versions_count_from_one(events: Sequence[Event]) -> None:
    seen = Counter[str]()
    for event in events:
        seen[event.subject] += 1
        assert event.version == seen[event.subject], event


amounts = st.integers(0, 3000)
customers = st.sampled_from(CUSTOMERS)
currencies = st.sampled_from(["EUR", "CHF"])
lines = st.lists(
    st.builds(
        lambda price, quantity, tax_class: line(price, quantity, tax_class=tax_class),
        amounts,
        st.integers(1, 3),
        st.sampled_from(["standard", "reduced"]),
    ),
    min_size=1,
    max_size=3,
)
purchases = st.builds(
    lambda customer, bought, currency, gross, token: purchase(
        customer, *bought, currency=currency, prices_include_tax=gross, payment_token=token
    ),
    customers,
    lines,
    currencies,
    st.booleans(),
    st.sampled_from([None, "tok_ok"]),
)
transfers = st.builds(
    lambda customer, amount, currency, which: ("transfer", customer, amount, currency, which),
    customers,
    st.integers(1, 9000),
    currencies,
    st.one_of(st.none(), st.integers(0, 20)),
)
collections = st.builds(lambda which: ("collect", which), st.integers(0, 20))
outcomes = st.tuples(
    st.just("end"),
    st.integers(0, 20),
    st.sampled_from([Captured("pay_1"), Declined("card_declined"), Unknown("lost"), Exhausted("down")]),
)
profiles = st.builds(profile, customers)
steps = st.lists(st.one_of(purchases, purchases, transfers, collections, outcomes, profiles), max_size=25)


@given(steps)
def test_whatever_happens_the_books_balance_and_nothing_is_owed_below_zero(happenings: list[Any]) -> None:
    simulation = Simulation()
    for happening in happenings:
        with suppress(Refused):
            take_step(simulation, happening)
        assert_the_books_are_right(simulation)
    assert_versions_count_from_one(simulation.events)


def take_step(simulation: Simulation, happening: Any) -> None:
    invoices: list[Invoice] = simulation.all(Invoice)
    match happening:
        case ("transfer", customer, amount, currency, which):
            meant_for = invoices[which % len(invoices)].bill.id if which is not None and invoices else None
            simulation.tell(transfer(customer, amount, currency=currency, invoice_id=meant_for))
        case ("collect", which):
            if invoices:
                bill = invoices[which % len(invoices)].bill
                simulation.tell(collect(bill.customer_id, bill.id, "tok_ok"))
        case ("end", which, result):
            if simulation.tasks:
                simulation.end(list(simulation.tasks.values())[which % len(simulation.tasks)], result)
        case _:
            simulation.tell(happening)


@given(lines, st.sampled_from(["AT", "DE"]), st.booleans())
def test_tax_is_rounded_half_even_per_line_and_the_parts_are_the_whole(
    bought: list[Any], country: str, prices_include_tax: bool
) -> None:
    bought = [each.model_copy(update={"tax_class": "standard"}) for each in bought]
    for before, after in zip(
        bought, taxed(bought, RATES, country, date(2026, 1, 1), prices_include_tax=prices_include_tax), strict=True
    ):
        rate = Decimal(RATES.basis_points(country, "standard", date(2026, 1, 1))) / 10_000
        exact = before.amount * rate / (1 + rate) if prices_include_tax else before.amount * rate
        assert after.tax == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))
        assert after.net + after.tax == after.gross
        assert (after.gross if prices_include_tax else after.net) == before.amount


@pytest.mark.parametrize(
    ("day", "basis_points"),
    [("2020-06-30", 1900), ("2020-07-01", 1600), ("2020-12-31", 1600), ("2021-01-01", 1900)],
)
def test_the_rate_is_that_of_the_day(day: str, basis_points: int) -> None:
    assert RATES.basis_points("DE", "standard", date.fromisoformat(day)) == basis_points


@pytest.mark.parametrize(
    ("country", "tax_class", "day"), [("US", "standard", "2026-01-01"), ("DE", "standard", "2006-12-31")]
)
def test_a_rate_that_is_not_known_is_refused(country: str, tax_class: str, day: str) -> None:
    with pytest.raises(Refused, match="unknown_tax_rate"):
        RATES.basis_points(country, tax_class, date.fromisoformat(day))


def test_half_a_unit_goes_to_the_even_neighbour() -> None:
    halves = [line(price, tax_class="reduced") for price in (5, 15, 25, 35)]
    taxes = [each.tax for each in taxed(halves, RATES, "AT", date(2026, 1, 1), prices_include_tax=False)]
    assert taxes == [0, 2, 2, 4]


def test_an_entry_that_does_not_balance_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="must balance"):
        balanced(Postings(cash=2, receivable=-1))


def test_what_is_paid_too_much_is_credit_and_used_first() -> None:
    simulation = Simulation()
    customer = CUSTOMERS[0]
    for payload in (profile(customer), transfer(customer, 1000), purchase(customer, line(500)), purchase(customer)):
        simulation.tell(payload)
    issued = [event for event in simulation.events if isinstance(event, InvoiceIssued)]
    assert [each.total for each in issued] == [600, 1200]
    balances = [
        (event.outstanding, event.credit) for event in simulation.events if isinstance(event, AccountBalanceChanged)
    ]
    assert balances == [(0, 1000), (0, 400), (800, 0)]


def test_an_account_never_exceeds_the_bound_of_money() -> None:
    simulation = Simulation()
    customer = CUSTOMERS[0]
    simulation.tell(profile(customer))
    for _ in range(9):
        simulation.tell(purchase(customer, line(10**14, tax_class="reduced")))
    with pytest.raises(Refused, match="account_limit"):
        simulation.tell(purchase(customer, line(10**14)))
    assert_the_books_are_right(simulation)


def test_a_draft_beyond_the_bound_of_its_account_waits_and_keeps_nothing_else_out() -> None:
    simulation = Simulation()
    customer = CUSTOMERS[0]
    for _ in range(10):
        simulation.tell(purchase(customer, line(10**14, tax_class="reduced")))
    simulation.tell(profile(customer))
    assert len([event for event in simulation.events if isinstance(event, InvoiceIssued)]) == 9
    assert [each.place for each in simulation.state.drafts(customer)] == [9]
    assert_the_books_are_right(simulation)


def test_one_payment_pays_at_most_ten_thousand_invoices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.billing.domain.payment.ALLOCATIONS_MAX", 2)
    simulation = Simulation()
    customer = CUSTOMERS[0]
    for payload in (profile(customer), *(purchase(customer) for _ in range(3)), transfer(customer, 3600)):
        simulation.tell(payload)
    [received] = [event for event in simulation.events if isinstance(event, PaymentReceived)]
    assert (len(received.allocations), received.credit) == (2, 1200)
    assert_the_books_are_right(simulation)


def test_lanes_are_chosen_by_partition_and_numbered_apart() -> None:
    entity = LegalEntity("KELLO", ZoneInfo("UTC"), 4, 14)
    keys = {entity.series_of(partition, 2026) for partition in range(12)}
    assert keys == {("KELLO", 2026, lane) for lane in range(4)}
