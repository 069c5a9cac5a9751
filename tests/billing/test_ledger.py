"""The ledger and issued invoices protect themselves: the database refuses what no decision of ours would do."""

from uuid import UUID

import asyncpg
import pytest

from shared.harness.kello import Kello
from shared.schemas.billing import InvoiceIssued, PaymentReceived
from tests.billing.orders import known_customer, purchase, transfer


@pytest.fixture
async def account(billing: Kello) -> UUID:
    """With an invoice that is paid in part: two entries."""
    customer = await known_customer(billing)
    await billing.publish(purchase(customer))
    issued = await billing.expect(InvoiceIssued, customer_id=customer)
    await billing.publish(transfer(customer, 500))
    await billing.expect(PaymentReceived, customer_id=customer)
    return issued.account_id


async def entries_of(billing: Kello, account: UUID) -> int:
    return len(await billing.rows("billing", "SELECT FROM ledger_entry WHERE account_id = $1", account))


async def refused(url: str, *statements: str) -> list[str]:
    """The errors' names; every statement must be refused, and nothing of it stays."""
    connection = await asyncpg.connect(url, timeout=5)
    names = []
    try:
        for statement in statements:
            with pytest.raises(asyncpg.PostgresError) as error:
                await connection.execute(statement, timeout=5)
            names.append(type(error.value).__name__)
    finally:
        await connection.close()
    return names


CHANGES = [
    "DELETE FROM ledger_entry",
    "DELETE FROM allocation",
    "TRUNCATE ledger_entry",
    "TRUNCATE allocation",
    "UPDATE ledger_entry SET business_on = '2020-01-01'",
    "UPDATE ledger_entry SET receivable = receivable + 1, revenue = revenue - 1",
    "UPDATE allocation SET amount = 1",
]


async def test_the_service_may_not_change_the_ledger_and_nobody_else_can(billing: Kello, account: UUID) -> None:
    database = await billing.database("billing")
    assert set(await refused(database.url, *CHANGES)) == {"InsufficientPrivilegeError"}
    assert set(await refused(database.owner_url, *CHANGES)) == {"RestrictViolationError"}
    assert set(await refused(database.admin_url, *CHANGES)) == {"RestrictViolationError"}
    assert await entries_of(billing, account) == 2


async def test_an_entry_that_does_not_balance_or_posts_nothing_is_refused(billing: Kello, account: UUID) -> None:
    database = await billing.database("billing")
    entry = """
        INSERT INTO ledger_entry (id, account_id, currency, kind, business_on, cash, receivable)
        SELECT '00000000-0000-7000-8000-000000000001', id, 'EUR', 'payment', '2026-01-01', {} FROM account LIMIT 1
    """
    names = await refused(database.url, entry.format("100, -99"), entry.format("0, 0"))
    assert names == ["CheckViolationError", "CheckViolationError"]
    assert await entries_of(billing, account) == 2


async def test_the_postings_of_an_entry_can_be_read_as_rows_but_not_written(billing: Kello, account: UUID) -> None:
    rows = await billing.rows(
        "billing",
        """
        SELECT e.kind, p.ledger_account, sum(p.amount)::bigint AS amount
        FROM ledger_posting AS p JOIN ledger_entry AS e ON e.id = p.entry_id
        WHERE e.account_id = $1 AND e.kind = 'payment' GROUP BY e.kind, p.ledger_account ORDER BY amount
        """,
        account,
    )
    assert [(row["ledger_account"], row["amount"]) for row in rows] == [("receivable", -500), ("cash", 500)]
    database = await billing.database("billing")
    names = await refused(database.url, "UPDATE ledger_posting SET amount = 1", "DELETE FROM ledger_posting")
    assert set(names) == {"ObjectNotInPrerequisiteStateError"}


@pytest.mark.usefixtures("account")
async def test_an_issued_invoice_never_changes_but_in_what_is_paid(billing: Kello) -> None:
    database = await billing.database("billing")
    names = await refused(
        database.url,
        "UPDATE invoice SET lines = '[]'",
        "UPDATE invoice SET number = number + 1",
        "UPDATE invoice SET net = net + 1, total = total + 1",
        """UPDATE invoice SET bill_to = (bill_to::jsonb || '{"name": "Somebody Else"}')::json""",
    )
    assert set(names) == {"RestrictViolationError"}


async def test_the_service_may_not_change_rates_or_the_legal_entity(billing: Kello) -> None:
    database = await billing.database("billing")
    names = await refused(database.url, "UPDATE tax_rate SET basis_points = 0", "UPDATE legal_entity SET lanes = 2")
    assert set(names) == {"InsufficientPrivilegeError"}
