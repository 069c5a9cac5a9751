"""Points from payments, and the segment that payments and tags lead into and out of."""

from uuid import uuid4

from shared.harness.kello import Kello
from shared.schemas.customer import DeactivateCustomer, LoyaltyPointsEarned, SegmentEntered, SegmentExited
from tests.customer import words
from tests.customer.words import CLERK


async def test_each_full_unit_that_is_paid_earns_a_point(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("customer"):
        await kello.publish(words.registration(customer))
        await kello.publish(
            words.payment(customer, 1999),
            words.payment(customer, 700, "JPY"),
            words.payment(customer, 5999, "KWD"),
            words.payment(customer, 99),
            twice=True,
        )
        last = await kello.expect(LoyaltyPointsEarned, customer_id=customer, version=3)
        earned = await kello.events(LoyaltyPointsEarned, customer_id=customer)
        await kello.settled()
        _, body = await kello.get("customer", f"/customers/{customer}")
    assert [(event.version, event.points, event.balance) for event in earned] == [
        (1, 19, 19),
        (2, 700, 719),
        (3, 5, 724),
    ]
    assert last.balance == 724
    assert body["loyalty"]["points"] == sum(entry["points"] for entry in body["loyalty"]["entries"]) == 724


async def test_points_of_payments_before_the_registration_are_given_with_it(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("customer"):
        await kello.publish(words.payment(customer, 100_000), words.payment(customer, 500))
        await kello.settled()
        assert not await kello.events(LoyaltyPointsEarned)
        assert not await kello.events(SegmentEntered)
        await kello.publish(words.registration(customer))
        entered = await kello.expect(SegmentEntered, customer_id=customer)
        earned = await kello.events(LoyaltyPointsEarned, customer_id=customer)
        _, body = await kello.get("customer", f"/customers/{customer}")
    assert sorted(event.points for event in earned) == [5, 1000]
    assert [(event.version, event.balance) for event in earned][-1] == (2, 1005)
    assert (entered.segment, entered.version) == ("vip", 1)
    assert [each["segment"] for each in body["segments"]] == ["vip"]


async def test_a_segment_is_entered_and_left_with_the_message_that_makes_the_difference(kello: Kello) -> None:
    customer = uuid4()
    async with kello.running("customer"):
        await kello.publish(words.registration(customer), words.payment(customer, 99_999))
        await kello.settled()
        assert not await kello.events(SegmentEntered)
        await kello.publish(words.payment(customer, 1))
        entered = await kello.expect(SegmentEntered, customer_id=customer, version=1)
        await kello.publish(words.tagging(customer, "blocked"))
        await kello.expect(SegmentExited, customer_id=customer, version=2)
        await kello.publish(words.payment(customer, 50_000), words.untagging(customer, "blocked"))
        await kello.expect(SegmentEntered, customer_id=customer, version=3)
        _, vips = await kello.get("customer", "/customers?segment=vip")
        assert [each["id"] for each in vips["customers"]] == [str(customer)]
        await kello.publish(DeactivateCustomer(issued_by=CLERK, customer_id=customer, reason="moved-away"))
        await kello.expect(SegmentExited, customer_id=customer, version=4)
        _, vips = await kello.get("customer", "/customers?segment=vip")
    assert entered.rule_version == 1
    assert vips == {"customers": []}
