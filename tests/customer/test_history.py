"""What others say of a customer: the timeline, balances, the communication log, and how fresh it is."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from shared.harness.kello import Kello
from shared.schemas.customer import CustomerRegistered
from tests.customer import words

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


async def test_the_timeline_tells_what_happened_the_latest_first(kello: Kello) -> None:
    customer, invoice = uuid4(), uuid4()
    facts = [
        words.purchase(customer),
        words.booking(customer),
        words.invoice(customer, invoice),
        words.payment_failed(customer),
        words.payment(customer, 1200),
        words.invoice_paid(customer, invoice),
    ]
    async with kello.running("customer"):
        await kello.publish(words.registration(customer))
        for hour, fact in enumerate(facts):
            await kello.publish(fact, time=NOON + timedelta(hours=hour), twice=True)
        await kello.settled()
        status, whole = await kello.get("customer", f"/customers/{customer}/timeline")
        _, first = await kello.get("customer", f"/customers/{customer}/timeline?limit=4")
        _, second = await kello.get(
            "customer", f"/customers/{customer}/timeline?limit=4&after={first['timeline'][-1]['id']}"
        )
    assert status == 200
    timeline = whole["timeline"]
    assert [(each["kind"], each["amount"]) for each in timeline] == [
        ("invoice-paid", 1200),
        ("payment-received", 1200),
        ("payment-failed", 1200),
        ("invoice-issued", 1200),
        ("booking", 26_000),
        ("purchase", 2500),
    ]
    assert timeline[-1]["details"]["items"] == [{"sku": "T-1", "description": "Tea", "quantity": 2}]
    assert datetime.fromisoformat(timeline[-1]["at"]) == NOON
    assert first["timeline"] + second["timeline"] == timeline


async def test_facts_that_come_before_the_registration_show_with_it(kello: Kello) -> None:
    customer, account = uuid4(), uuid4()
    async with kello.running("customer"):
        await kello.publish(
            words.purchase(customer), words.sent(customer), words.balance(customer, account, 1, 2500), time=NOON
        )
        await kello.settled()
        assert (await kello.get("customer", f"/customers/{customer}"))[0] == 404
        assert (await kello.get("customer", f"/customers/{customer}/timeline"))[0] == 404
        kinds = await kello.rows("customer", "SELECT kind FROM party WHERE id = $1", customer)
        assert [row["kind"] for row in kinds] == ["unknown"]
        await kello.publish(words.registration(customer))
        await kello.expect(CustomerRegistered, customer_id=customer)
        _, body = await kello.get("customer", f"/customers/{customer}")
    assert [each["kind"] for each in body["timeline"]] == ["purchase"]
    assert body["communication"][0]["status"] == "sent"
    assert (body["balances"][0]["outstanding"], body["balances"][0]["currency"]) == (2500, "EUR")


async def test_a_copy_takes_higher_versions_only_in_whatever_order_they_come(kello: Kello) -> None:
    customer, account, notification, booking = uuid4(), uuid4(), uuid4(), uuid4()
    async with kello.running("customer"):
        await kello.publish(words.registration(customer))
        for version in (2, 3, 1):
            await kello.publish(words.balance(customer, account, version, version * 100))
        await kello.settled()
        await kello.publish(
            words.balance(customer, account, 2, 7), words.booking(customer, booking_id=booking, version=2)
        )
        await kello.publish(
            words.sent(customer, notification, version=2), words.not_sent(customer, notification, version=1)
        )
        await kello.publish(words.booking(customer, booking_id=booking, version=1, payment_token="tok"))
        await kello.settled()
        _, body = await kello.get("customer", f"/customers/{customer}")
    assert [(each["outstanding"], each["source_version"]) for each in body["balances"]] == [(300, 3)]
    assert [each["status"] for each in body["communication"]] == ["sent"]
    assert [each["source_version"] for each in body["timeline"]] == [2]


async def test_the_communication_log_says_what_was_sent_and_why_not(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("customer"):
        await kello.publish(words.registration(customer))
        for minute, fact in enumerate((words.sent(customer), words.not_sent(customer), words.suppressed(customer))):
            await kello.publish(fact, time=NOON + timedelta(minutes=minute))
        await kello.settled()
        _, body = await kello.get("customer", f"/customers/{customer}")
    assert [(each["status"], each["reason"], each["channel"]) for each in body["communication"]] == [
        ("suppressed", "no-consent", None),
        ("failed", "refused", "email"),
        ("sent", None, "email"),
    ]
    assert body["timeline"] == []


async def test_the_view_says_how_fresh_each_source_is(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("customer"):
        await kello.publish(words.registration(customer))
        await kello.publish(words.purchase(customer), words.payment(customer, 500), time=NOON)
        await kello.publish(words.purchase(uuid4()))
        await kello.settled()
        _, body = await kello.get("customer", f"/customers/{customer}")
    as_of = {each["source"]: each for each in body["as_of"]}
    assert set(as_of) == {"customer.commands", "sales.events", "billing.events", "notify.events", "payroll.events"}
    assert datetime.fromisoformat(as_of["sales.events"]["time"]) == NOON
    assert datetime.fromisoformat(as_of["billing.events"]["time"]) == NOON
    assert as_of["notify.events"] == {"source": "notify.events", "time": None, "read_until": None}
    assert datetime.fromisoformat(as_of["sales.events"]["read_until"]) > datetime.now(UTC) - timedelta(minutes=5)


async def test_a_payment_that_is_told_under_two_ids_counts_once(kello: Kello) -> None:
    customer = uuid4()
    payment = words.payment(customer, 1500)
    async with kello.running("customer"):
        await kello.publish(words.registration(customer), payment)
        await kello.settled()
        await kello.publish(payment, payment, payment.model_copy(update={"version": 2}))
        await kello.settled()
        _, body = await kello.get("customer", f"/customers/{customer}")
        paid = await kello.rows("customer", "SELECT amount FROM paid_total WHERE customer_id = $1", customer)
    assert len(body["timeline"]) == 1
    assert body["loyalty"]["points"] == 15
    assert [row["amount"] for row in paid] == [1500]


async def test_customers_are_listed_in_pages_and_only_to_those_who_may_read(kello: Kello) -> None:
    customers = sorted((uuid4() for _ in range(5)), key=str)
    async with kello.running("customer"):
        await kello.publish(*(words.registration(customer) for customer in customers))
        await kello.publish(words.tagging(customers[1], "loud"), words.tagging(customers[3], "loud"))
        await kello.settled()
        _, first = await kello.get("customer", "/customers?limit=3")
        _, second = await kello.get("customer", f"/customers?limit=3&after={first['customers'][-1]['id']}")
        _, loud = await kello.get("customer", "/customers?tag=loud")
        _, nobody = await kello.get("customer", "/customers?segment=vip")
        refused, problem = await kello.get("customer", "/customers", token=None)
        invalid, _ = await kello.get("customer", "/customers?limit=1000")
    assert [each["id"] for each in first["customers"] + second["customers"]] == [
        str(customer) for customer in customers
    ]
    assert [each["id"] for each in loud["customers"]] == [str(customers[1]), str(customers[3])]
    assert nobody == {"customers": []}
    assert (refused, problem["status"]) == (401, 401)
    assert invalid == 400
