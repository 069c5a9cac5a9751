"""`kello restore`: a database that came back from a backup comes to agree with what Kafka has, or nothing changes."""

from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from shared.harness.kello import Kello
from shared.messaging.adoption import SEQUENCE_HEADER, DatabaseBehindKafka
from shared.messaging.outbox import contents
from shared.messaging.topics import partition_of
from shared.operations.survey import survey
from shared.schemas.billing import InvoiceIssued, PaymentReceived
from shared.schemas.notify import NotificationSent
from tests.billing.audit import assert_the_books_are_right
from tests.billing.orders import known_customer, profile, purchase, transfer
from tests.faults.backups import Backup, take_backup
from tests.journeys.worlds import world_of
from tests.notify import said
from tests.operations.conftest import Command

WITHOUT_RELAY = ("consumer", "tasks", "api")
PARTITIONS = 3


@pytest.fixture
def environment(kello: Kello) -> dict[str, str]:
    """The settings of the services themselves, as whoever restores one has them."""
    return {
        "KELLO_GATEWAY_URL": kello.gateway.url,
        "KELLO_SMTP_HOST": "127.0.0.1",
        "KELLO_SMTP_PORT": str(kello.mailbox.smtp_port),
        "KELLO_SMS_URL": kello.sms.url,
    }


async def backup_of(kello: Kello, service: str, folder: Path) -> Backup:
    return await take_backup((await kello.database(service)).admin_url, folder / f"{service}.sql")


async def test_what_was_published_comes_out_again_and_is_not_published_twice(
    kello: Kello, command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    async with kello.running("billing"):
        customer = await known_customer(kello)
        await kello.publish(purchase(customer))
        await kello.settled()
        backup = await backup_of(kello, "billing", tmp_path)
        await kello.publish(profile(customer, 2, name="Ada Renamed"))
        await kello.settled()
        await kello.publish(purchase(customer, payment_token="tok_ok"))
        await kello.expect(PaymentReceived, customer_id=customer)  # or the transfer pays for what was bought
        await kello.publish(transfer(customer, 5000))
        await kello.settled()
    before, told = await rows_of(kello), await kello.records("billing.events")
    await backup.bring_back()
    with pytest.raises(DatabaseBehindKafka, match="kello restore billing"):
        async with kello.running("billing"):
            pass
    tried = await command("restore", "billing", environment=environment)
    assert "Nothing was changed: add --yes" in tried.out
    done = await command("restore", "billing", "--yes", "--json", environment=environment)
    assert done.document["adopted"]["kello.billing.invoice-issued.v1"] == 1
    assert done.document["to_publish"] == 0
    assert await rows_of(kello) == before
    again = await command("restore", "billing", environment=environment)
    assert "nothing to adopt" in again.out
    async with kello.running("billing"):
        await kello.publish(purchase(customer))
        await kello.settled()
    assert (await kello.records("billing.events"))[: len(told)] == told
    await assert_the_books_are_right(kello)
    assert len(kello.gateway.captures()) == 1


async def rows_of(kello: Kello) -> list[object]:
    """All that billing holds, but for the moment in which the ledger was written."""
    return [
        await kello.rows("billing", sql)
        for sql in (
            "SELECT * FROM account ORDER BY id",
            "SELECT * FROM customer ORDER BY id",
            "SELECT * FROM invoice ORDER BY id",
            "SELECT * FROM payment ORDER BY id",
            "SELECT * FROM number_series",
            "SELECT * FROM ledger_posting ORDER BY entry_id, ledger_account",
            "SELECT * FROM allocation ORDER BY entry_id, invoice_id",
            "SELECT id, account_id, kind, business_on FROM ledger_entry ORDER BY id",
            "SELECT topic, partition, next_offset, last_timestamp FROM messaging.consumer_offset ORDER BY 1, 2",
            "SELECT digest, value_hash FROM messaging.inbox ORDER BY digest",
            "SELECT kind, key FROM messaging.task",
        )
    ]


async def test_a_payment_that_was_never_told_of_is_asked_about_and_not_made_twice(
    kello: Kello, command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    """The gateway took the money, and the database was lost before anybody heard of it."""
    async with kello.running("billing"):
        customer = await known_customer(kello)
        backup = await backup_of(kello, "billing", tmp_path)
    async with kello.running("billing", roles=WITHOUT_RELAY, drain_timeout_seconds=0.5):
        await kello.publish(purchase(customer, payment_token="tok_ok"))
        await kello.until(lambda: received(kello), "the gateway takes the money")
    await backup.bring_back()
    done = await command("restore", "billing", "--yes", "--json", environment=environment)
    assert done.document["to_ask"] == {"capture-payment": 1}
    async with kello.running("billing"):
        await kello.expect(PaymentReceived, customer_id=customer)
        await kello.settled()
    assert len(kello.gateway.captures()) == 1
    assert len(await kello.events(InvoiceIssued)) == len(await kello.events(PaymentReceived)) == 1
    await assert_the_books_are_right(kello)


async def received(kello: Kello) -> bool:
    return bool(await kello.rows("billing", "SELECT FROM payment WHERE state = 'received'"))


async def test_numbers_stay_gapless_where_only_some_of_them_were_published(
    kello: Kello, command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    """A relay that dies amid a round has published one partition and not the others: the gap is filled as it was."""
    async with kello.running("billing"):
        customers = [await customer_in(kello, partition) for partition in range(PARTITIONS)]
        backup = await backup_of(kello, "billing", tmp_path)
    async with kello.running("billing", roles=WITHOUT_RELAY, drain_timeout_seconds=0.1):
        for n in range(3 * len(customers)):
            await kello.publish(purchase(customers[n % len(customers)]))
            await kello.until(partial(has_invoices, kello, n + 1), "the purchase is billed")
    numbers = await numbers_of(kello)
    await publish_as_a_relay_does(kello, partition=1)
    await backup.bring_back()
    done = await command("restore", "billing", "--yes", "--json", environment=environment)
    assert done.document["adopted"]["kello.billing.invoice-issued.v1"] == 3
    async with kello.running("billing"):
        await kello.settled()
    assert await numbers_of(kello) == numbers
    assert sorted(invoice.number for invoice in await kello.events(InvoiceIssued)) == sorted(numbers.values())
    await assert_the_books_are_right(kello)


async def customer_in(kello: Kello, partition: int) -> UUID:
    """A customer whom billing knows, whose events are in that partition."""
    customer = uuid4()
    while partition_of(str(customer).encode(), 0, PARTITIONS) != partition:
        customer = uuid4()
    await kello.publish(profile(customer))
    await kello.settled()
    return customer


async def has_invoices(kello: Kello, count: int) -> bool:
    return len(await numbers_of(kello)) >= count


async def numbers_of(kello: Kello) -> dict[UUID, str]:
    return {row["cause_id"]: row["printed"] for row in await kello.rows("billing", "SELECT * FROM invoice")}


async def publish_as_a_relay_does(kello: Kello, partition: int) -> None:
    """What waits for one partition, in its order, and no more."""
    for row in await kello.rows("billing", "SELECT * FROM messaging.outbox ORDER BY id"):
        if partition_of(row["key"], row["id"], PARTITIONS) == partition:
            for value, headers in contents(row["records"]):
                headers.append((SEQUENCE_HEADER, str(row["id"]).encode()))
                await kello.publish_raw(row["topic"], row["key"], value, headers, partition)


async def test_a_mail_that_was_never_told_of_keeps_its_message_id(
    kello: Kello, command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    """Nobody can ask a mail server. The category decides: it is sent again as the same mail, and told of once."""
    customer, address = uuid4(), said.address()
    async with kello.running("notify"):
        await kello.publish(said.profile(customer, said.email(address)))
        await kello.settled()
        backup = await backup_of(kello, "notify", tmp_path)
        await kello.publish(said.invoice(customer))
        await kello.settled()
    async with kello.running("notify", roles=WITHOUT_RELAY, drain_timeout_seconds=0.5):
        await kello.publish(said.payment(customer))
        await kello.until(lambda: mails_to(kello, address, 2), "the mail server takes the second mail")
    await backup.bring_back()
    done = await command("restore", "notify", "--yes", "--json", environment=environment)
    assert done.document["adopted"] == {"kello.notify.notification-sent.v1": 1}
    assert done.document["to_ask"] == {"send-email": 1}
    async with kello.running("notify"):
        await kello.settled()
    told = {event.message_id for event in await kello.events(NotificationSent)}
    assert len(await kello.events(NotificationSent)) == len(told) == 2
    assert {mail.message_id for mail in kello.mailbox.mails(address)} == told
    assert len(kello.mailbox.mails(address)) == 3


async def test_a_message_that_found_another_way_is_not_sent_again(
    kello: Kello, command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    """Why the mail server turned the first one away is on no event: the restore says that nobody can tell any more."""
    customer = uuid4()
    async with kello.running("notify"):
        await kello.publish(said.profile(customer, said.email(said.address("bounce.example.com")), said.phone()))
        await kello.settled()
        backup = await backup_of(kello, "notify", tmp_path)
        await kello.publish(said.invoice(customer))
        sent = await kello.expect(NotificationSent, recipient_id=customer)
        await kello.settled()
    await backup.bring_back()
    done = await command("restore", "notify", "--yes", "--json", environment=environment)
    assert done.document["ended"] == {"send-email": 1, "send-sms": 1}
    (lost,) = done.document["lost"]
    assert f"why email turned {sent.notification_id} away" in lost
    async with kello.running("notify"):
        await kello.settled()
    assert len(await kello.events(NotificationSent)) == len(kello.sms.messages()) == 1


async def mails_to(kello: Kello, address: str, count: int) -> bool:
    return len(kello.mailbox.mails(address)) >= count


async def test_an_event_that_does_not_come_out_again_changes_nothing(
    kello: Kello, command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    async with kello.running("billing"):
        customer = await known_customer(kello)
        backup = await backup_of(kello, "billing", tmp_path)
        await kello.publish(purchase(customer))
        await kello.settled()
    await backup.bring_back()
    await kello.rows("billing", "UPDATE customer SET bill_to = jsonb_set(bill_to, '{name}', '\"Somebody Else\"')")
    refused = await command("restore", "billing", "--yes", environment=environment, code=1)
    assert "kello.billing.invoice-issued.v1" in refused.err
    assert "comes out differently: bill_to. Nothing was changed" in refused.err
    assert "Somebody Else" not in refused.err
    assert not await numbers_of(kello)


async def test_a_letter_that_was_replayed_since_is_not_replayed_again(
    kello: Kello, command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    async with kello.running("billing"):
        customer = await known_customer(kello)
        await kello.publish(purchase(customer, country="US"))
        await kello.dead_letters("billing", 1)
        await kello.rows("billing", "INSERT INTO tax_rate VALUES ('US', 'standard', '2000-01-01', 0)")
        await kello.settled()
        backup = await backup_of(kello, "billing", tmp_path)
        await command("dead", "replay", "billing", "--kind", "refused", "--yes")
        await kello.expect(InvoiceIssued, customer_id=customer)
        await kello.settled()
    await backup.bring_back()
    await command("restore", "billing", "--yes", environment=environment)
    async with kello.running("billing"):
        await kello.settled()
        again = await command("dead", "replay", "billing", "--kind", "refused", "--yes", code=1)
        assert "no letter of these waits" in again.err
    assert len(await kello.events(InvoiceIssued)) == len(await numbers_of(kello)) == 1
    await assert_the_books_are_right(kello)


async def test_a_database_that_was_written_to_since_it_came_back_is_refused(
    kello: Kello, command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    """A service that ran on regardless would have decided everything anew, and given numbers anew."""
    async with kello.running("billing"):
        customer = await known_customer(kello)
        backup = await backup_of(kello, "billing", tmp_path)
        await kello.publish(purchase(customer))
        await kello.settled()
    await backup.bring_back()
    await kello.rows(
        "billing",
        """
        INSERT INTO messaging.outbox (topic, records)
        SELECT 'billing.events', '\\x9192c090' FROM generate_series(1, 3) -- [[nil, []]]
        """,
    )
    with pytest.raises(DatabaseBehindKafka):
        async with kello.running("billing"):
            pass
    refused = await command("restore", "billing", "--yes", environment=environment, code=1)
    assert "Bring the backup back once more" in refused.err


async def test_a_service_that_runs_is_not_restored(kello: Kello, command: Command, environment: dict[str, str]) -> None:
    async with kello.running("billing"):
        await kello.until(lambda: is_relay_there(kello), "the relay holds its lock")
        refused = await command("restore", "billing", environment=environment, code=1)
    assert "stop it first" in refused.err


async def is_relay_there(kello: Kello) -> bool:
    found = await survey((await world_of(kello)).installation, ["billing"])
    inside = found.services[0].inside
    return inside is not None and inside.has_relay


async def test_the_settings_that_are_missing_are_named(kello: Kello, command: Command) -> None:
    refused = await command("restore", "billing", environment={"KELLO_GATEWAY_URL": ""}, code=2)
    assert "KELLO_GATEWAY_URL" in refused.err
