"""Payroll is killed in the middle of paying: whoever goes on pays each salary once, and tells of it once."""

from uuid import uuid4

from shared.harness.kello import Kello
from shared.schemas.payroll import ApprovePayrollRun, PayrollRunCalculated, SalaryPaid, StartPayrollRun
from tests.payroll.company import hired

STAFF = 60
ENVIRONMENT = {"KELLO_PAYMENT_TIMEOUT_SECONDS": "1", "KELLO_PAYMENTS_AT_ONCE": "8"}


async def test_a_run_survives_a_kill_and_pays_everybody_once(kello: Kello) -> None:
    gateway = kello.sandboxes.gateway
    tokens = ("tok_ok", "tok_lost_reply", "tok_lost_request")
    run_id = uuid4()
    async with kello.spawned("payroll", environment=ENVIRONMENT):
        await kello.publish(*(hired(uuid4(), token=tokens[n % 3]) for n in range(STAFF)))

        async def is_staffed() -> bool:
            return len(await kello.rows("payroll", "SELECT FROM employee")) == STAFF

        await kello.until(is_staffed, "payroll knows the staff", within=60)
        await kello.publish(StartPayrollRun(run_id=run_id, period="2026-01", currency="EUR", issued_by="anna"))
        await kello.expect(PayrollRunCalculated, run_id=run_id)
        gateway.latency(0.05)
        await kello.publish(ApprovePayrollRun(run_id=run_id, issued_by="berta"))

        async def are_some_paid() -> bool:
            return len(gateway.captures()) >= STAFF // 3

        await kello.until(are_some_paid, "some are paid")
    killed_at = len(gateway.captures())
    assert killed_at < STAFF, "it was killed too late to prove anything"
    async with kello.spawned("payroll", environment=ENVIRONMENT):

        async def is_reported() -> bool:
            rows = await kello.rows("payroll", "SELECT FROM report WHERE NOT EXISTS (SELECT FROM messaging.outbox)")
            return bool(rows)

        await kello.until(is_reported, "the run is completed, reported and told", within=60)
    paid = {each.payslip_id: each for each in await kello.events(SalaryPaid)}
    assert len(paid) == len(gateway.captures()) == STAFF
    assert {each.payment_reference for each in paid.values()} == {each.id for each in gateway.captures()}
    assert not gateway.summary()["references_captured_again"]
    assert {each.version for each in paid.values()} <= {2, 3}, "one event each, after an unknown outcome or without"
