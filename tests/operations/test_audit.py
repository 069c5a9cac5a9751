"""`kello audit`: a month holds every promise while it goes on; and whatever is broken is named."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import ormsgpack
import pytest

from deploy.local.demo import checks_letters, checks_outside
from deploy.local.demo.evidence import CHECKS, CheckFunction, Evidence, gather
from deploy.local.demo.month import run_month
from deploy.local.demo.proof import proof
from deploy.local.demo.script import script
from deploy.local.demo.world import SERVICES, World
from shared.harness.kello import Kello, RawRecord
from shared.messaging.relay import LOCK
from shared.operations.audit.audit import Report, audit, checks_of
from shared.operations.audit.checks import Finding
from shared.operations.installation import Connection
from shared.schemas.base import Payload
from shared.schemas.billing import InvoiceIssued, PaymentReceived, RecordPayment
from shared.schemas.customer import CustomerRegistered
from shared.schemas.envelope import Envelope, headers
from tests.customer.words import payment
from tests.journeys.people import CHAIRS_TOTAL, bought, registered, somewhere, today
from tests.journeys.worlds import unseen, world_of
from tests.operations.breaks import BREAKS, NAMED
from tests.operations.conftest import Command

CUSTOMERS, STAFF = 20, 16
DAY_SECONDS = 0.1
PAUSE_SECONDS = 0.5
AUDITED_ON = (8, 16, 24)
"""The days that do not end before an audit has found what none had found before."""
PAYERS, PAYMENTS = 5, 20


@pytest.mark.timeout(400)
async def test_every_promise_holds_while_the_month_goes_on_and_what_breaks_one_is_named(
    kello: Kello, command: Command
) -> None:
    written = script("journeys", CUSTOMERS, STAFF, datetime.now(UTC))
    world = await world_of(kello)
    is_over = asyncio.Event()
    reports: list[Report] = []

    async def on_day(day: int) -> None:
        if day in AUDITED_ON:
            before = heard_in(reports)
            await kello.until(lambda: more_is_heard(reports, before), "an audit finds what none has found", within=60)

    async with kello.running(*SERVICES), asyncio.TaskGroup() as group:
        group.create_task(audits_until(is_over, world, reports))
        sent = await run_month(written, world, unseen(), on_day, DAY_SECONDS)
        is_over.set()
    assert [(each.promise, each.offending) for report in reports for each in report.broken] == []
    assert len(heard_in(reports)) >= len(AUDITED_ON)
    async with world.watched() as watch:
        found = await proof(watch, sent, written.people)
        assert {each.promise: each.offending for each in found if not each.holds} == {}
        await every_check_of_the_outside_can_fail(await gather(watch, sent, written.people))
    said = await command("audit", "--at-rest", "--json")
    assert said.document["holds"]
    for service in SERVICES:
        await every_break_is_named(world, service, await broken_rows(world, service))
    await every_break_is_named(world, "billing", await broken_messages(kello, world))
    said = await command("audit", "billing", "--json", code=1)
    assert not said.document["holds"]
    said = await command("audit", "billing", code=1)
    assert "BROKEN" in said.out


async def test_what_an_operator_mends_and_replays_keeps_every_promise(
    kello: Kello, command: Command, tmp_path: Path
) -> None:
    customer = uuid4()
    async with kello.running("customer", "billing"):
        await kello.publish(registered(customer, somewhere()))
        await kello.expect(CustomerRegistered, customer_id=customer)
        await kello.settled()
        abroad = bought(customer).model_copy(update={"country": "AQ"})
        transferred = transfer(customer)
        await kello.publish(abroad)
        await kello.publish_raw(
            "billing.commands", b"nobody", transferred.model_dump_json().encode(), headers_of(transferred)
        )
        await kello.dead_letters("billing", 2)
        letters = {each["code"]: each["id"] for each in (await command("dead", "list", "billing", "--json")).document}
        mended = tmp_path / "mended.json"
        mended.write_text(abroad.model_copy(update={"country": "AT"}).model_dump_json())
        await command("dead", "edit", "billing", letters["unknown_tax_rate"], "--payload", str(mended), "--yes")
        await command("dead", "edit", "billing", letters["wrong-key"], "--key", str(customer), "--yes")
        assert (await audit_of(kello)).broken == []
        await command("dead", "replay", "billing", *letters.values(), "--although-answered", "--yes")
        await kello.expect(InvoiceIssued, customer_id=customer, total=CHAIRS_TOTAL)
        await kello.expect(PaymentReceived, payment_id=transferred.payment_id)
        report = await audit_of(kello)
    assert {each.promise: each.offending for each in report.broken} == {}
    assert report.heard["billing"] == 3  # a profile, a purchase and a transfer
    await kello.publish(
        bought(customer)
    )  # which nobody reads: a lag is no broken promise, unless all should be at rest
    assert (await audit_of(kello)).broken == []
    said = await command("audit", "billing", "--at-rest", "--json", code=1)
    assert [each["name"] for each in said.document["findings"] if not each["holds"]] == ["offsets-at-the-ends"]


async def test_what_waits_to_be_published_is_audited_in_the_order_in_which_it_was_said(kello: Kello) -> None:
    for customer in [uuid4() for _ in range(PAYERS)]:
        await kello.publish(registered(customer, somewhere()), *(payment(customer, 1250) for _ in range(PAYMENTS)))
    relay = await asyncpg.connect((await kello.database("customer")).admin_url)
    try:
        await relay.execute("SELECT pg_advisory_lock($1)", LOCK)  # nothing is published meanwhile
        async with kello.running("customer"):
            await kello.until(lambda: all_is_read(kello), "everything has had its effect")
            report = await audit_of(kello, "customer")
    finally:
        await relay.close()
    assert report.said["customer"] >= PAYERS * PAYMENTS
    assert {each.promise: each.offending for each in report.broken} == {}


async def all_is_read(kello: Kello) -> bool:
    rows = await kello.rows("customer", "SELECT sum(next_offset) AS read FROM messaging.consumer_offset")
    return bool(rows[0]["read"] == PAYERS * (1 + PAYMENTS))


async def audit_of(kello: Kello, service: str = "billing") -> Report:
    return await audit((await world_of(kello)).installation, [service])


def headers_of(payload: Payload) -> list[tuple[str, bytes | None]]:
    return [*headers(Envelope(str(uuid4()), "tests", payload.ce_type, datetime.now(UTC), payload.subject))]


async def test_an_audit_names_the_topic_that_is_missing(kello: Kello, command: Command) -> None:
    said = await command("audit", "billing", environment={"KELLO_TOPIC_PREFIX": "nobodys."}, code=3)
    assert "nobodys.billing.events" in said.err


async def audits_until(is_over: asyncio.Event, world: World, reports: list[Report]) -> None:
    """One after the other, with a pause in between: they take their time from the services, which run here, too."""
    while not is_over.is_set():
        reports.append(await audit(world.installation))
        with suppress(TimeoutError):
            await asyncio.wait_for(is_over.wait(), PAUSE_SECONDS)


def heard_in(reports: Sequence[Report]) -> set[int]:
    """How much each of them had to do with; two that had the same saw nothing move."""
    return {sum(report.heard.values()) for report in reports}


async def more_is_heard(reports: Sequence[Report], before: set[int]) -> bool:
    return bool(heard_in(reports) - before)


# What stands in a database

NAMES = {
    "billing": "SELECT bill_to->>'name' FROM customer WHERE bill_to->>'name' LIKE '% %' LIMIT 1",
    "customer": "SELECT name FROM customer WHERE name LIKE '% %' LIMIT 1",
    "notify": "SELECT name FROM recipient WHERE name LIKE '% %' LIMIT 1",
}
"""Somebody whom the service knows by name."""


async def broken_rows(world: World, service: str) -> dict[str, str]:
    """Breaks every promise about the service's own tables; gives, for each check, the word that it must name."""
    connection = await asyncpg.connect(world.databases[service])
    try:
        await connection.execute("SET session_replication_role = replica")  # no trigger and no foreign key objects
        named = {}
        for check, statements in BREAKS[service]:
            *before, last = statements.split(";")
            for statement in before:
                await connection.execute(statement)
            returned = await connection.fetchval(last)
            assert returned is not None or check in NAMED, f"{check}: nothing was there to be broken"
            named[check] = NAMED.get(check) or str(returned)
        if service in NAMES:
            named["nobody-by-name"] = await named_in_a_letter(connection, await connection.fetchval(NAMES[service]))
        return named
    finally:
        await connection.close()


async def named_in_a_letter(connection: Connection, name: str) -> str:
    """A dead letter that waits in the outbox, and names somebody; gives the place of its record."""
    dead = {"id": "x", "kind": "bug", "code": "x", "reason": f"the sender was {name}.", "topic": "hr.events"}
    said = {f"kello_dead_{part}": text.encode() for part, text in {**dead, "partition": "2", "offset": "77"}.items()}
    await connection.execute(
        """
        INSERT INTO messaging.outbox (topic, records)
        SELECT consumer_group || '.dead-letters', $1 FROM messaging.consumer_offset LIMIT 1
        """,
        ormsgpack.packb([(None, list(said.items()))]),
    )
    return "hr.events/2/77"


async def every_break_is_named(world: World, service: str, named: dict[str, str]) -> None:
    report = await audit(world.installation, [service], at_rest=True)
    findings = {each.name: each for each in report.findings}
    unseen = {check: word for check, word in named.items() if not is_named(word, findings[check])}
    assert unseen == {}, {check: findings[check].offending for check in unseen}


def is_named(word: str, finding: Finding) -> bool:
    return any(word in each for each in finding.offending)


def test_every_check_is_broken_by_some_test() -> None:
    broken = {(service, check) for service, breaks in BREAKS.items() for check, _ in breaks}
    broken |= {(service, check) for service in SERVICES for check in MESSAGES}
    broken |= {(service, "nobody-by-name") for service in NAMES}
    asked = {(service, each.name) for service in SERVICES for each in checks_of(service, at_rest=True)}
    assert broken == asked


# What is on Kafka, or on its way there. It is asked of every service alike: billing's is broken for all.

MESSAGES = (
    "answered-once",
    "said-once",
    "from-a-committed-row",
    "versions-in-order",
    "put-aside-rightly",
    "offsets-within-the-log",
    "nothing-stuck",
    "nobody-is-named",
    "nothing-left",
    "offsets-at-the-ends",
)


async def broken_messages(kello: Kello, world: World) -> dict[str, str]:
    """Breaks every promise about messages; gives, for each check, the word that it must name."""
    (unanswered,) = await kello.publish(transfer(uuid4()))
    (command,) = [each for each in await kello.records("billing.commands") if unanswered in str(each.headers)]
    await kello.publish_raw("billing.events", b"forged", b"{}", [("ce_id", b"forged")])
    forged = next(each for each in await kello.records("billing.events") if each.key == b"forged")
    event = next(each for each in await kello.records("billing.events") if each.key != b"forged")
    letters = await kello.dead_letters("billing", 2)
    connection = await asyncpg.connect(world.databases["billing"])
    try:
        await wait_in_outbox(connection, event, value=b'{"version": 1}')
        stuck = await wait_in_outbox(connection, event, ce_id=b"one-too-many", value=b'{"version": 77}')
        await wait_in_outbox(connection, letters[0], kello_dead_id=b"another-letter")
        await wait_in_outbox(connection, letters[1], kello_dead_reason=b"sent by somebody@example.com")
        await connection.execute(
            "INSERT INTO messaging.outbox_blocked (id, topic, key, reason)"
            " SELECT id, topic, key, 'too large' FROM messaging.outbox WHERE id = $1",
            stuck,
        )
        await connection.execute(
            "UPDATE messaging.consumer_offset SET next_offset = $2 WHERE topic = 'billing.commands' AND partition = $1",
            command.partition,
            command.offset + 1,
        )
        await connection.execute(
            "UPDATE messaging.consumer_offset SET next_offset = 1000000"
            " WHERE topic = 'customer.profiles' AND partition = 0"
        )
    finally:
        await connection.close()
    return {
        "answered-once": unanswered,
        "said-once": header(event, "ce_id"),
        "from-a-committed-row": f"billing.events/{forged.partition}/{forged.offset}",
        "versions-in-order": f"{header(event, 'ce_subject')} has version 77",
        "put-aside-rightly": place_of(letters[0]),
        "offsets-within-the-log": "customer.profiles/0 holds 1000000",
        "nothing-stuck": f"row {stuck}: too large",
        "nobody-is-named": place_of(letters[1]),
        "nothing-left": f"row {stuck} is to be published",
        "offsets-at-the-ends": f"billing.commands/{command.partition}",
    }


def transfer(customer_id: UUID) -> RecordPayment:
    return RecordPayment(
        customer_id=customer_id,
        issued_by="bank",
        payment_id=uuid4(),
        currency="EUR",
        amount=100,
        received_on=today(),
    )


async def wait_in_outbox(
    connection: Connection, record: RawRecord, value: bytes | None = None, **changed: bytes
) -> int:
    """A record that was published, once more in the outbox, with some headers changed; gives its row."""
    said = {**dict(record.headers), **changed}
    topic = "billing.dead-letters" if "kello_dead_id" in said else "billing.events"
    row_id: int = await connection.fetchval(
        "INSERT INTO messaging.outbox (topic, key, records) VALUES ($1, $2, $3) RETURNING id",
        topic,
        record.key,
        ormsgpack.packb([(record.value if value is None else value, list(said.items()))]),
    )
    return row_id


def header(record: RawRecord, name: str) -> str:
    return str(dict(record.headers)[name], "utf-8")


def place_of(letter: RawRecord) -> str:
    return "/".join(header(letter, f"kello_dead_{part}") for part in ("topic", "partition", "offset"))


# What the world outside says


async def every_check_of_the_outside_can_fail(evidence: Evidence) -> None:
    assert FALSE.keys() == {each.find for each in CHECKS}
    for find, falsify in FALSE.items():
        false = replace(
            evidence,
            letters={service: list(letters) for service, letters in evidence.letters.items()},
            captures=list(evidence.captures),
            mails=list(evidence.mails),
        )
        falsify(false)
        assert await find(false), f"{find.__name__} did not notice"


def captured_again(kind: str) -> Callable[[Evidence], None]:
    def falsify(evidence: Evidence) -> None:
        evidence.captures.append(next(each for each in evidence.captures if each["kind"] == kind))

    return falsify


def no_mails(evidence: Evidence) -> None:
    evidence.mails.clear()


def one_letter_less(evidence: Evidence) -> None:
    evidence.letters["billing"].pop()


def somebody_named(evidence: Evidence) -> None:
    letter = evidence.letters["billing"][0]
    named = {**letter.dead, "reason": f"sent by {evidence.people[0].name}"}
    evidence.letters["billing"][0] = replace(letter, dead=named)


FALSE: dict[CheckFunction, Callable[[Evidence], None]] = {
    checks_outside.captured_once: captured_again("capture"),
    checks_outside.salaries_captured_once: captured_again("payout"),
    checks_outside.mailed_once: no_mails,
    checks_letters.put_aside_rightly: one_letter_less,
    checks_letters.nobody_is_named: somebody_named,
}
"""What could be seen outside, and the check that must notice."""
