"""A small month holds every promise; and every check of them notices when its promise is broken."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from deploy.local.demo import (
    checks_billing,
    checks_messages,
    checks_notify,
    checks_payroll,
    checks_privacy,
    checks_projections,
)
from deploy.local.demo.evidence import CHECKS, CheckFunction, Evidence, Record, gather
from deploy.local.demo.message import Message
from deploy.local.demo.month import run_month
from deploy.local.demo.proof import proof
from deploy.local.demo.script import script
from deploy.local.demo.world import SERVICES
from shared.harness.kello import Kello
from shared.schemas.base import Payload
from shared.schemas.billing import AccountOpened
from shared.schemas.payroll import CommandRejected, PayslipCalculated
from tests.journeys.worlds import unseen, world_of

CUSTOMERS, STAFF = 20, 16

Falsify = Callable[[Evidence], None]


async def test_every_promise_holds_and_every_check_can_fail(kello: Kello) -> None:
    written = script("journeys", CUSTOMERS, STAFF, datetime.now(UTC))
    world = await world_of(kello)
    async with kello.running(*SERVICES):
        sent = await run_month(written, world, unseen(), nothing_happens, day_seconds=0)
        async with world.watched() as watch:
            evidence = await gather(watch, sent, written.people)
            assert {each.promise: each.offending for each in await proof(evidence) if not each.holds} == {}
            for find, falsify in FALSE_EVIDENCE.items():
                false = copied(evidence)
                falsify(false)
                assert await find(false), f"{find.__name__} did not notice"
            for find, (service, sql) in FALSE_ROWS.items():
                async with tampered(evidence, service, sql):
                    assert await find(evidence), f"{find.__name__} did not notice"
    assert FALSE_EVIDENCE.keys() | FALSE_ROWS.keys() == {each.find for each in CHECKS}


def test_the_same_seed_is_the_same_script_and_another_one_is_not() -> None:
    today = datetime.now(UTC)
    assert script("7", 30, 5, today) == script("7", 30, 5, today)
    assert script("7", 30, 5, today).messages != script("8", 30, 5, today).messages


def test_a_tenth_is_said_twice_and_a_dozen_and_more_are_malformed() -> None:
    written = script("1", 150, 50, datetime.now(UTC))
    assert 0.07 < len(written.again) / len(written.messages) < 0.13
    flaws = Counter(each.flaw for each in written.bad)
    assert len(flaws) >= 12
    assert set(flaws.values()) == {1}


def test_nobodys_life_depends_on_how_many_others_there_are() -> None:
    today = datetime.now(UTC)
    few, many = (keys(script("1", count, 2, today).messages) for count in (5, 50))
    assert few <= many


async def nothing_happens(_day: int) -> None:
    """An undisturbed month."""


def keys(messages: list[Message]) -> set[tuple[str, bytes | None]]:
    return {(each.id, each.value) for each in messages if not each.flaw}


def copied(evidence: Evidence) -> Evidence:
    return replace(
        evidence,
        records={topic: list(records) for topic, records in evidence.records.items()},
        captures=list(evidence.captures),
        mails=list(evidence.mails),
        _dead={},
    )


@asynccontextmanager
async def tampered(evidence: Evidence, service: str, sql: str) -> AsyncIterator[None]:
    """With rows changed behind everybody's back, in a transaction that is rolled back."""
    connection = evidence.watch._connections[service]
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(sql)
        yield
    finally:
        await transaction.rollback()


def without(model: type[Payload]) -> Falsify:
    """One event of a type was never published."""

    def falsify(evidence: Evidence) -> None:
        records = evidence.records[model.topic]
        records.remove(next(each for each in records if each.type == model.ce_type))

    return falsify


def said_again(model: type[Payload], **fields: Any) -> Falsify:
    """An event says something else."""

    def falsify(evidence: Evidence) -> None:
        records = evidence.records[model.topic]
        n = next(n for n, each in enumerate(records) if each.type == model.ce_type)
        records.append(changed(records[n], **fields))
        records[n] = changed(records[n], **fields)
        records.insert(0, records[-1])

    return falsify


def changed(record: Record, **fields: Any) -> Record:
    return replace(record, value=orjson.dumps({**record.payload, **fields}))


def otherwise_later(evidence: Evidence) -> None:
    records = evidence.records["billing.events"]
    records.append(changed(records[0], version=77))


def one_letter_less(evidence: Evidence) -> None:
    evidence.records["billing.dead-letters"].pop()


def captured_again(kind: str) -> Falsify:
    def falsify(evidence: Evidence) -> None:
        evidence.captures.append(next(each for each in evidence.captures if each["kind"] == kind))

    return falsify


def no_mails(evidence: Evidence) -> None:
    evidence.mails.clear()


def somebody_named(evidence: Evidence) -> None:
    letter = evidence.records["billing.dead-letters"][0]
    reason = f"sent by {evidence.people[0].name}"
    evidence.records["billing.dead-letters"][0] = replace(letter, dead={**letter.dead, "reason": reason})


FALSE_EVIDENCE: dict[CheckFunction, Falsify] = {
    checks_messages.answered_once: without(CommandRejected),
    checks_messages.said_once: otherwise_later,
    checks_messages.versions_in_order: without(AccountOpened),
    checks_messages.put_aside_rightly: one_letter_less,
    checks_billing.captured_once: captured_again("capture"),
    checks_payroll.salaries_paid_once: captured_again("payout"),
    checks_payroll.gross_is_divided: said_again(PayslipCalculated, net=1),
    checks_notify.mailed_once: no_mails,
    checks_notify.salaries_told_once: no_mails,
    checks_privacy.nobody_is_named: somebody_named,
}
"""What could be seen on Kafka or outside, and the check that must notice."""

FALSE_ROWS: dict[CheckFunction, tuple[str, str]] = {
    checks_messages.nothing_left: (
        "billing",
        "INSERT INTO messaging.outbox (event_id, topic, headers) VALUES ('x', 'billing.events', '')",
    ),
    checks_messages.offsets_at_the_ends: (
        "notify",
        "UPDATE messaging.consumer_offset SET next_offset = next_offset - 1 WHERE next_offset > 0",
    ),
    checks_billing.billed_once: ("billing", "DELETE FROM invoice WHERE id = (SELECT min(id::text)::uuid FROM invoice)"),
    checks_billing.lines_sum_up: (
        "billing",
        "UPDATE invoice SET net = net + 1, total = total + 1 WHERE status <> 'paid'",
    ),
    checks_billing.numbers_gapless: ("billing", "UPDATE number_series SET next_number = next_number + 1"),
    checks_billing.invoices_are_settled_or_owed: ("billing", "UPDATE account SET outstanding = outstanding + 1"),
    checks_billing.ledger_balances: (
        "billing",
        "UPDATE ledger_posting SET amount = amount + 1 WHERE ledger_account = 'revenue'",
    ),
    checks_billing.payments_told_once: ("billing", "UPDATE payment SET amount = amount + 1 WHERE state = 'received'"),
    checks_payroll.runs_completed: ("payroll", "UPDATE payroll_run SET state = 'paying'"),
    checks_notify.decided_once: ("notify", "DELETE FROM notification WHERE state = 'sent'"),
    checks_projections.profiles_agree: ("customer", "UPDATE customer SET name = 'Nobody'"),
    checks_projections.balances_agree: ("customer", "UPDATE account_balance SET credit = credit + 1"),
    checks_projections.histories_agree: ("customer", "DELETE FROM timeline WHERE kind = 'purchase'"),
    checks_projections.salaries_agree: ("customer", "UPDATE salary_payment SET status = 'unknown'"),
    checks_projections.staff_agree: ("payroll", "DELETE FROM overtime"),
    checks_projections.points_add_up: ("customer", "UPDATE loyalty_account SET points = points + 1"),
}
"""What could stand in a database, and the check that must notice."""
