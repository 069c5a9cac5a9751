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
    "DELETE FROM ledger_posting",
    "DELETE FROM allocation",
    "TRUNCATE ledger_entry",
    "TRUNCATE ledger_posting",
    "TRUNCATE allocation",
    "UPDATE ledger_entry SET business_on = '2020-01-01'",
    "UPDATE ledger_posting SET amount = 1",
    "UPDATE allocation SET amount = 1",
]


async def test_the_service_may_not_change_the_ledger_and_nobody_else_can(billing: Kello, account: UUID) -> None:
    database = await billing.database("billing")
    assert set(await refused(database.url, *CHANGES)) == {"InsufficientPrivilegeError"}
    assert set(await refused(database.owner_url, *CHANGES)) == {"RestrictViolationError"}
    assert set(await refused(database.admin_url, *CHANGES)) == {"RestrictViolationError"}
    assert await entries_of(billing, account) == 2


async def test_postings_that_do_not_balance_are_refused(billing: Kello, account: UUID) -> None:
    database = await billing.database("billing")
    entry = """
        INSERT INTO ledger_entry (id, account_id, currency, kind, business_on)
        SELECT '00000000-0000-7000-8000-000000000001', id, 'EUR', 'payment', '2026-01-01' FROM account LIMIT 1;
    """
    unbalanced = """
        INSERT INTO ledger_posting (entry_id, ledger_account, amount)
        VALUES ('00000000-0000-7000-8000-000000000001', 'cash', 100),
            ('00000000-0000-7000-8000-000000000001', 'receivable', -99)
    """
    orphan = """
        INSERT INTO ledger_posting (entry_id, ledger_account, amount)
        VALUES ('00000000-0000-7000-8000-000000000002', 'cash', 100),
            ('00000000-0000-7000-8000-000000000002', 'receivable', -100)
    """
    names = await refused(database.url, entry + unbalanced, orphan)
    assert names == ["CheckViolationError", "ForeignKeyViolationError"]
    assert await entries_of(billing, account) == 2


@pytest.mark.usefixtures("account")
async def test_an_issued_invoice_never_changes_but_in_what_is_paid(billing: Kello) -> None:
    database = await billing.database("billing")
    names = await refused(
        database.url,
        "UPDATE invoice SET lines = '[]'",
        "UPDATE invoice SET number = number + 1",
        "UPDATE invoice SET net = net + 1, total = total + 1",
        """UPDATE invoice SET bill_to = bill_to || '{"name": "Somebody Else"}'""",
    )
    assert set(names) == {"RestrictViolationError"}


async def test_the_service_may_not_change_rates_or_the_legal_entity(billing: Kello) -> None:
    database = await billing.database("billing")
    names = await refused(database.url, "UPDATE tax_rate SET basis_points = 0", "UPDATE legal_entity SET lanes = 2")
    assert set(names) == {"InsufficientPrivilegeError"}
