"""The books of payroll: balanced at every moment, and nobody can change them."""

import asyncpg
import pytest

from shared.schemas.hr import AdvanceGranted, EmployeeChanged
from shared.schemas.payroll import ApprovePayrollRun, RetryPayslip
from tests.payroll.company import NET, SALARY, TAX, Company

SUMS = """
    SELECT e.department, e.kind, p.account, sum(p.amount)::bigint AS amount
    FROM ledger_entry AS e JOIN ledger_posting AS p ON p.entry_id = e.id
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


async def test_a_run_is_booked_by_department_when_it_is_approved_and_when_it_is_paid(own_company: Company) -> None:
    kello = own_company.kello
    (advanced,) = await own_company.hire("tok_ok", department="factory")
    await own_company.hire("tok_ok", "tok_declined", department="office")
    await own_company.tell(
        AdvanceGranted(employee_id=advanced, advance_id=advanced, amount=50_00, granted_on="2026-01-02", version=2)
    )
    run = await own_company.calculated()
    assert not await kello.rows("payroll", "SELECT FROM ledger_entry")
    await kello.publish(ApprovePayrollRun(run_id=run.run_id, issued_by="berta"))
    await own_company.reported(run.run_id)
    booked = {
        (row["department"], row["kind"], row["account"]): row["amount"] for row in await kello.rows("payroll", SUMS)
    }
    assert booked == {
        ("factory", "accrual", "wages_expense"): SALARY,
        ("factory", "accrual", "income_tax_payable"): -TAX,
        ("factory", "accrual", "staff_advances"): -50_00,
        ("factory", "accrual", "wages_payable"): -(NET - 50_00),
        ("factory", "payment", "wages_payable"): NET - 50_00,
        ("factory", "payment", "bank"): -(NET - 50_00),
        ("office", "accrual", "wages_expense"): 2 * SALARY,
        ("office", "accrual", "income_tax_payable"): -2 * TAX,
        ("office", "accrual", "wages_payable"): -2 * NET,
        ("office", "payment", "wages_payable"): NET,
        ("office", "payment", "bank"): -NET,
    }


async def test_what_a_retry_paid_is_booked_too_and_nothing_twice(own_company: Company) -> None:
    kello = own_company.kello
    (_, employee) = await own_company.hire("tok_ok", "tok_declined")
    run = await own_company.completed()
    await own_company.reported(run.run_id)
    await own_company.tell(EmployeeChanged(employee_id=employee, payment_token="tok_ok", version=2))
    slip = await own_company.payslip(run.run_id, employee)
    await kello.publish(
        RetryPayslip(payslip_id=slip["payslip_id"], employee_id=employee, run_id=run.run_id, issued_by="berta")
    )
    await own_company.reported(run.run_id, count=2)
    payments = await kello.rows(
        "payroll",
        """
        SELECT p.amount FROM ledger_entry AS e JOIN ledger_posting AS p ON p.entry_id = e.id
        WHERE p.account = 'bank'
        """,
    )
    assert [row["amount"] for row in payments] == [-NET, -NET]
    (owed,) = await kello.rows("payroll", "SELECT sum(amount) AS n FROM ledger_posting WHERE account = 'wages_payable'")
    assert owed["n"] == 0


async def test_books_reports_and_payslips_are_protected_by_the_database(own_company: Company) -> None:
    await own_company.hire("tok_ok")
    run = await own_company.completed()
    await own_company.reported(run.run_id)
    database = await own_company.kello.database("payroll")
    service = await asyncpg.connect(database.url)
    owner = await asyncpg.connect(database.owner_url)
    try:
        for statement in (
            "DELETE FROM ledger_entry",
            "DELETE FROM ledger_posting",
            "DELETE FROM report",
            "DELETE FROM payslip_component",
            "UPDATE ledger_posting SET amount = -amount",
            "UPDATE report SET rows = 0",
            "TRUNCATE ledger_entry CASCADE",
            "TRUNCATE payroll_run CASCADE",
        ):
            for connection in (service, owner):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        for statement in (
            "UPDATE ledger_entry SET department = 'x'",
            "UPDATE payslip SET net = 0, gross = withholdings",
            "DELETE FROM payslip",
            "DELETE FROM payroll_run",
            "UPDATE tax_bracket SET basis_points = 0",
            "UPDATE legal_entity SET zone = 'UTC'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(statement)
    finally:
        await service.close()
        await owner.close()


async def test_an_entry_that_does_not_balance_or_grows_later_is_refused(own_company: Company) -> None:
    await own_company.hire("tok_ok")
    run = await own_company.completed()
    await own_company.reported(run.run_id)
    service = await asyncpg.connect((await own_company.kello.database("payroll")).url)
    entry = """
        INSERT INTO ledger_entry (id, run_id, department, currency, kind, business_on)
        VALUES (gen_random_uuid(), $1, 'office', 'EUR', 'payment', '2026-01-31') RETURNING id
    """
    posting = "INSERT INTO ledger_posting (entry_id, account, amount) VALUES ($1, 'bank', 100)"
    try:
        with pytest.raises(asyncpg.CheckViolationError, match="does not balance"):
            await service.execute(entry, run.run_id)
        with pytest.raises(asyncpg.CheckViolationError, match="does not balance"):
            async with service.transaction():
                await service.execute(posting, await service.fetchval(entry, run.run_id))
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="complete"):
            await service.execute(posting, await service.fetchval("SELECT id FROM ledger_entry WHERE kind = 'accrual'"))
    finally:
        await service.close()
