"""The ledger and issued invoices protect themselves: the database refuses what no decision of ours would do."""

from uuid import uuid4

import asyncpg
import pytest

from shared.harness.kello import Kello
from shared.schemas.billing import InvoiceIssued, PaymentReceived
from tests.billing.orders import profile, purchase, transfer

TABLES = ("ledger_entry", "ledger_posting", "allocation")


@pytest.fixture
async def billed(kello: Kello) -> Kello:
    """An invoice that is paid in part."""
    customer = uuid4()
    async with kello.running("billing"):
        await kello.publish(profile(customer))
        await kello.settled()
        await kello.publish(purchase(customer))
        await kello.expect(InvoiceIssued)
        await kello.publish(transfer(customer, 500))
        await kello.expect(PaymentReceived)
    return kello


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
    statement.format(table)
    for table in TABLES
    for statement in ("DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET entry_id = entry_id", "UPDATE {} SET id = id")
    if ("entry_id" not in statement) == (table == "ledger_entry") or "SET" not in statement
]


async def test_the_service_may_not_change_the_ledger_and_nobody_else_can(billed: Kello) -> None:
    database = await billed.database("billing")
    assert set(await refused(database.url, *CHANGES)) == {"InsufficientPrivilegeError"}
    assert set(await refused(database.owner_url, *CHANGES)) == {"RestrictViolationError"}
    assert set(await refused(database.admin_url, *CHANGES)) == {"RestrictViolationError"}
    assert len(await billed.rows("billing", "SELECT * FROM ledger_entry")) == 2


async def test_postings_that_do_not_balance_are_refused(billed: Kello) -> None:
    database = await billed.database("billing")
    entry = """
        INSERT INTO ledger_entry (id, account_id, currency, kind, business_on)
        SELECT '00000000-0000-7000-8000-000000000001', id, 'EUR', 'payment', '2026-01-01' FROM account;
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
    assert len(await billed.rows("billing", "SELECT * FROM ledger_entry")) == 2


async def test_an_issued_invoice_never_changes_but_in_what_is_paid(billed: Kello) -> None:
    database = await billed.database("billing")
    names = await refused(
        database.url,
        "UPDATE invoice SET lines = '[]'",
        "UPDATE invoice SET number = number + 1",
        "UPDATE invoice SET net = net + 1, total = total + 1",
        """UPDATE invoice SET bill_to = bill_to || '{"name": "Somebody Else"}'""",
    )
    assert set(names) == {"RestrictViolationError"}


async def test_the_service_may_not_change_rates_or_the_legal_entity(billed: Kello) -> None:
    database = await billed.database("billing")
    names = await refused(database.url, "UPDATE tax_rate SET basis_points = 0", "UPDATE legal_entity SET lanes = 2")
    assert set(names) == {"InsufficientPrivilegeError"}
