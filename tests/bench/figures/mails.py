"""How fast one notify process hands mails over to a mail server that takes everything at once."""

from uuid import UUID

from shared.schemas.customer import CustomerProfile
from shared.schemas.notify import RequestNotification
from tests.bench.ensemble import ALL_TOPICS, Ensemble, assembled
from tests.bench.report import Figure, Goal
from tests.bench.stage import Stage

ROUNDS = 3
RECIPIENTS = 1_000
PATIENCE_SECONDS = 120
WARM_UP_SHARE = 0.2


def measure(stage: Stage) -> list[Figure]:
    """mails/s, after the first fifth of them."""
    count = 3_000 if stage.quick else 20_000
    speeds = []
    for n in range(1 if stage.quick else ROUNDS):
        stage.say(f"Mails, round {n + 1}")
        speeds.append(_hand_over(stage, count))
    return [Figure("mails handed over by one notify process", "mails/s", tuple(speeds), Goal(833))]


def _hand_over(stage: Stage, count: int) -> float:
    with stage.ground(ALL_TOPICS) as ground:
        notify = assembled(ground, ["notify"])
        notify.publish(*(profile(number) for number in range(RECIPIENTS)))
        notify.until(lambda: notify.has_taken_in("notify", "customer.profiles"), "profiles", PATIENCE_SECONDS)
        notify.publish(*(_request(number) for number in range(count)))
        warm = int(count * WARM_UP_SHARE)
        began = notify.until(lambda: notify.sink.mails()[0] >= warm, "the first mails", PATIENCE_SECONDS)
        first = notify.sink.mails()[0]
        ended = notify.until(lambda: notify.sink.mails()[0] >= count, "all mails", PATIENCE_SECONDS)
        _check(notify, count)
        return (count - first) / (ended - began)


def _check(notify: Ensemble, count: int) -> None:
    if notify.sink.mails() != (count, count):
        raise RuntimeError(f"{notify.sink.mails()} mails and Message-IDs for {count} notifications")


def profile(number: int) -> CustomerProfile:
    """A customer who is told by mail."""
    return CustomerProfile.model_validate(
        {
            "version": 1,
            "customer_id": UUID(f"00000000-0000-7000-8000-{number:012x}"),
            "kind": "person",
            "status": "active",
            "name": f"Customer {number}",
            "locale": "en-GB",
            "country": "AT",
            "zone": "Europe/Vienna",
            "contact_points": [
                {
                    "id": UUID(f"00000000-0000-7005-8000-{number:012x}"),
                    "channel": "email",
                    "value": f"customer{number}@example.com",
                    "purpose": "general",
                    "verified": True,
                }
            ],
            "preferred_channels": ["email"],
        }
    )


def _request(number: int) -> RequestNotification:
    return RequestNotification.model_validate(
        {
            "issued_by": "bench",
            "notification_id": UUID(f"00000000-0000-7006-8000-{number:012x}"),
            "recipient_id": UUID(f"00000000-0000-7000-8000-{number % RECIPIENTS:012x}"),
            "template": "service-message",
            "category": "service",
            "data": {"title": "News", "body": "Something happened that is worth a line or two."},
        }
    )
