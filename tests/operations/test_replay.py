"""`kello replay`: copies are made again beside the live ones, while services run, and nobody is told or paid."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from typer.testing import CliRunner

from shared.harness.kello import Kello, service_named
from shared.operations.__main__ import app
from shared.schemas.customer import ProfileErased
from shared.schemas.hr import AdvanceGranted, EmployeeChanged, OvertimeRecordedV1
from shared.schemas.payroll import PayrollReportGenerated
from shared.schemas.registry import VERSION_HEADER
from tests.billing.orders import known_customer, letters_of, profile
from tests.journeys.people import bought, hired, registered, somewhere
from tests.messaging.sending import headers_of
from tests.operations.conftest import SERVICES, Command
from tests.payroll.company import Company

PROJECTIONS = [(name, each) for name in SERVICES for each in service_named(name).projections]


@pytest.mark.parametrize("name", SERVICES)
def test_every_projection_decision_is_of_one_projection_that_can_be_made_again(name: str) -> None:
    service = service_named(name)
    decided = [each for each in service.handlers.types if service.handlers.projection_of(each) is not None]
    declared = [model.ce_type for each in service.projections.values() for model in each.types]
    assert sorted(decided) == sorted(declared)
    assert decided
    assert {topic for each in service.projections.values() for topic in each.topics} <= set(service.consumes)


async def test_every_copy_comes_out_the_same_and_is_mended_where_it_is_not(kello: Kello, command: Command) -> None:
    customer, employee, department = uuid4(), uuid4(), "office"
    company = Company(kello, department)
    async with kello.running(*SERVICES):
        await kello.publish(registered(customer, somewhere()), hired(employee, somewhere(), department, "tok_ok"))
        await kello.publish(
            EmployeeChanged(employee_id=employee, version=2, name="Bruna Esempio"),
            AdvanceGranted(
                employee_id=employee, version=3, advance_id=uuid4(), amount=10_00, granted_on=date(2026, 1, 2)
            ),
            OvertimeRecordedV1(
                employee_id=employee,
                version=4,
                overtime_id=uuid4(),
                worked_on=date(2026, 1, 7),
                minutes=60,
                rate_percent=150,
            ),
        )
        await kello.settled()
        await kello.publish(bought(customer, "tok_ok"), bought(customer))
        run = await company.completed()
        await kello.expect(PayrollReportGenerated, run_id=run.run_id)
        await kello.settled()
        said = await outside(kello)
        broken = await break_the_copies(kello, customer, employee)
        for service, projection in PROJECTIONS:
            report = (await command("replay", service, projection, "--yes", "--json")).document
            assert report["began_with"] == "nothing"
            ids = {str(id_) for each in report["differences"] for id_ in each["key"].values()}
            assert set(broken[service, projection]) <= ids
            assert (report["swapped_rows"], report["left"]) == (len(report["differences"]), 0)
            assert sum(table["settled"] for table in report["tables"]) == (projection == "staff")
        assert "no difference" in (await command("replay", "customer", "timeline")).out
        assert await outside(kello) == said, "nobody was mailed or paid, and no event was published"
        (advance,) = await kello.rows("payroll", "SELECT amount, deducted FROM advance")
        assert (advance["amount"], advance["deducted"]) == (10_00, 10_00), "what is our own stays"
        (overtime,) = await kello.rows("payroll", "SELECT minutes FROM overtime WHERE payslip_id IS NOT NULL")
        assert overtime["minutes"] == 61, "what was paid stays as it was paid"


async def break_the_copies(kello: Kello, customer: UUID, employee: UUID) -> dict[tuple[str, str], list[str]]:
    """Spoils each copy in its own way; returns whose rows a replay must name."""
    await kello.rows("billing", "UPDATE customer SET bill_to = jsonb_set(bill_to, '{name}', '\"Eve\"')")
    await kello.rows("notify", "UPDATE recipient SET addresses = '[]' WHERE id = $1", employee)
    await kello.rows("customer", "DELETE FROM timeline WHERE kind = 'invoice-issued'")
    await kello.rows("customer", "UPDATE paid_total SET amount = amount + 1")
    await kello.rows("customer", "DELETE FROM account_balance")
    await kello.rows("customer", "UPDATE salary_payment SET status = 'calculated'")
    await kello.rows("payroll", "DELETE FROM salary")
    await kello.rows("payroll", "UPDATE advance SET granted_on = '2000-01-01', deducted = amount")
    await kello.rows("payroll", "UPDATE overtime SET minutes = 61")
    payslips = await kello.rows("payroll", "SELECT id FROM payslip")
    accounts = await kello.rows("billing", "SELECT id FROM account")
    return {
        ("billing", "customers"): [str(customer)],
        ("notify", "recipients"): [str(employee)],
        ("customer", "timeline"): [str(customer)],
        ("customer", "balances"): [str(row["id"]) for row in accounts],
        ("customer", "salaries"): [str(row["id"]) for row in payslips],
        ("payroll", "staff"): [str(employee)],
    }


async def outside(kello: Kello) -> dict[str, Any]:
    """All that a replay must not add to."""
    found: dict[str, Any] = {
        "captures": len(kello.sandboxes.gateway.captures()),
        "mails": len(kello.sandboxes.mailbox.mails()),
    }
    for service in SERVICES:
        found[f"{service}.events"] = len(await kello.records(f"{service}.events"))
        found[f"{service} tasks"] = await kello.rows(
            service, "SELECT kind, key, state FROM messaging.task ORDER BY key"
        )
    assert found["captures"] >= 2
    assert found["mails"] >= 3
    return found


async def test_a_replay_may_be_of_a_part_of_the_log_while_records_go_on_coming(kello: Kello, command: Command) -> None:
    async with kello.running("billing"):
        lost, other, erased = uuid4(), uuid4(), uuid4()
        await kello.publish(profile(lost), profile(other), profile(erased))
        tombstone = [*headers_of(ProfileErased(customer_id=erased, version=2)), (VERSION_HEADER, b"2")]
        await kello.publish_raw("customer.profiles", str(erased).encode(), None, tombstone)
        await kello.settled()
        (record,) = [each for each in await kello.records("customer.profiles") if each.key == str(lost).encode()]
        between = datetime.now(UTC)
        await kello.publish(profile(other, 2, name="Grace Example"))
        await kello.settled()
        await kello.rows("billing", "DELETE FROM customer WHERE id = $1", lost)

        async with flood(kello):
            report = (await command("replay", "billing", "customers", "--json", code=1)).document
        assert [each["key"] for each in report["differences"]] == [{"id": str(lost)}]
        assert report["differences"][0]["live"] is None

        early = ("replay", "billing", "customers", "--until", between.isoformat())
        said = (await command(*early, "--json", code=1)).document
        (changed,) = [each for each in said["differences"] if each["key"] == {"id": str(other)}]
        assert (changed["live"]["source_version"], changed["rebuilt"]["source_version"]) == (2, 1)
        await command(*early, "--yes", code=2)
        await command("replay", "billing", "customers", "--from", "sales.events/0=1", code=2)
        await command("replay", "billing", "customers", "--remove", "--since", "2026-01-01", code=2)

        part = f"customer.profiles/{record.partition}"
        from_to = ("--from", f"{part}={record.offset}", "--to", f"{part}={record.offset + 1}")
        async with flood(kello):
            report = (await command("replay", "billing", "customers", *from_to, "--yes", "--json")).document
        assert (report["began_with"], report["swapped_rows"]) == ("the live copy", 1)
        await kello.settled()
        report = (await command("replay", "billing", "customers", "--json")).document
        assert report["differing"] == 0
        (row,) = await kello.rows("billing", "SELECT status FROM customer WHERE id = $1", erased)
        assert row["status"] == "erased"


@asynccontextmanager
async def flood(kello: Kello) -> AsyncIterator[None]:
    """Profiles that come while something else is done, at least as long as it takes."""

    async def publish() -> None:
        while True:
            await kello.publish(*(profile(uuid4()) for _ in range(20)))
            await asyncio.sleep(0.02)

    flowing = asyncio.create_task(publish())
    try:
        yield
    finally:
        flowing.cancel()
        await asyncio.gather(flowing, return_exceptions=True)


async def test_dead_letters_count_as_the_live_copy_has_them(kello: Kello, command: Command) -> None:
    async with kello.running("billing"):
        await known_customer(kello)
        (entity,) = await kello.rows("billing", "DELETE FROM legal_entity RETURNING *")
        customer = uuid4()
        await kello.publish(profile(customer))
        await letters_of(kello, customer, 1)
        await kello.rows("billing", "INSERT INTO legal_entity VALUES ($1, $2, $3, $4)", *entity.values())
        report = (await command("replay", "billing", "customers", "--json")).document
        assert (report["left_out"], report["decided"]) == ({"dead letter": 1}, 1)
        await command("dead", "replay", "billing", "--all", "--yes")
        report = (await command("replay", "billing", "customers", "--json")).document
        assert (report["left_out"], report["decided"]) == ({}, 2)


def test_what_a_replay_does_not_understand_is_told() -> None:
    def said(*arguments: str, code: int = 2) -> str:
        result = CliRunner().invoke(app, ["replay", *arguments])
        assert result.exit_code == code, result.output
        return result.output

    listed = orjson.loads(said("customer", "--json", code=0))
    assert [each["projection"] for each in listed] == ["timeline", "balances", "salaries"]
    assert "customers" in said("billing", "nothing")
    assert "yesterday" in said("billing", "customers", "--since", "yesterday")
    assert "TOPIC/PARTITION=OFFSET" in said("billing", "customers", "--from", "sales.events")
