"""Several processes at once about the same people: every fact has its effect, once, in whatever order they come."""

from collections import Counter
from dataclasses import replace
from uuid import uuid4

from services.customer.app import service
from shared.harness.kello import Kello
from shared.schemas.base import Payload
from shared.schemas.customer import CustomerProfile, CustomerRegistered, LoyaltyPointsEarned, SegmentEntered
from tests.customer import words

CUSTOMERS = 30


async def test_two_processes_that_meet_the_same_people_at_once_keep_every_fact(kello: Kello) -> None:
    customers = [uuid4() for _ in range(CUSTOMERS)]
    said: list[Payload] = []
    for customer in customers:
        said += [words.payment(customer, 60_000), words.sent(customer), words.registration(customer)]
        said += [words.purchase(customer), words.balance(customer, uuid4(), 1, 0), words.payment(customer, 60_000)]
    whole = service()
    money = replace(whole, consumes=("billing.events",))
    rest = replace(whole, consumes=tuple(topic for topic in whole.consumes if topic != "billing.events"))
    await kello.publish(*said, twice=True)
    async with kello.running_service(rest), kello.running_service(money):  # so that both lock the same roots
        await kello.expect(LoyaltyPointsEarned, count=2 * CUSTOMERS)
        await kello.settled()
        registered = Counter(event.customer_id for event in await kello.events(CustomerRegistered))
        profiles = Counter(event.customer_id for event in await kello.events(CustomerProfile))
        earned = await kello.events(LoyaltyPointsEarned)
        entered = Counter(event.customer_id for event in await kello.events(SegmentEntered))
        _, body = await kello.get("customer", f"/customers/{customers[0]}")
        kept = await kello.rows("customer", "SELECT kind, count(*) AS entries FROM timeline GROUP BY kind")
        dead = await kello.dead_letters("customer")
    once = dict.fromkeys(customers, 1)
    assert registered == profiles == entered == once
    assert [event.balance for event in earned if event.customer_id == customers[0]] == [600, 1200]
    assert Counter((event.customer_id, event.version) for event in earned) == Counter(
        (customer, version) for customer in customers for version in (1, 2)
    )
    assert {row["kind"]: row["entries"] for row in kept} == {
        "payment-received": 2 * CUSTOMERS,
        "notification": CUSTOMERS,
        "purchase": CUSTOMERS,
    }
    assert (body["loyalty"]["points"], len(body["timeline"]), len(body["communication"])) == (1200, 3, 1)
    assert dead == []
