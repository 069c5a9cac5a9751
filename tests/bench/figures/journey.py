"""The whole journey through four services: a purchase becomes an invoice, a mail, and lines in the 360° view.

A journey has ended when its mail was handed over and the customer's view shows purchase, invoice and mail.
"""

from time import monotonic
from uuid import UUID

from shared.schemas.customer import RegisterCustomer
from tests.bench.ensemble import ALL_TOPICS, Ensemble, assembled
from tests.bench.purchases import customer_id, purchases
from tests.bench.report import Figure, Goal
from tests.bench.stage import Stage

PATIENCE_SECONDS = 300
LINES = "SELECT count(*) FROM timeline WHERE kind IN ('purchase', 'invoice-issued', 'notification')"
LINES_PER_JOURNEY = 3


def measure(stage: Stage) -> list[Figure]:
    """Journeys per second, from the first sending to the last mail and the last line; and each service's memory."""
    customers, journeys = (300, 2_000) if stage.quick else (2_000, 40_000)
    stage.say(f"{journeys:,} journeys of {customers:,} customers")
    with stage.ground(ALL_TOPICS) as ground:
        kello = assembled(ground)
        kello.publish(*(_registration(number) for number in range(customers)))
        kello.until(lambda: _are_known(kello, customers), "customers everywhere", PATIENCE_SECONDS)
        load = list(purchases(journeys, customers))
        began = monotonic()
        kello.publish_records("sales.events", load)
        kello.until(lambda: kello.sink.mails()[0] >= journeys, "all mails", PATIENCE_SECONDS)
        lines = journeys * LINES_PER_JOURNEY
        ended = kello.until(lambda: kello.count("customer", LINES) >= lines, "all views", PATIENCE_SECONDS)
        if kello.sink.mails() != (journeys, journeys) or kello.count("customer", LINES) != lines:
            raise RuntimeError(f"{kello.sink.mails()} mails for {journeys} purchases")
        memory = zip(ground.programs, ground.uses(), strict=True)
        return [
            Figure("whole journeys through four services", "journeys/s", (journeys / (ended - began),), Goal(800)),
            *(
                Figure(
                    f"whole journeys: memory of {program.name}",
                    "MiB",
                    (use.resident_bytes / 2**20,),
                    Goal(150, at_least=False),
                )
                for program, use in memory
                if program.name in kello.services
            ),
        ]


def _are_known(kello: Ensemble, customers: int) -> bool:
    known = "SELECT count(*) FROM customer"
    return (
        kello.count("customer", known) == customers
        and kello.count("billing", f"{known} WHERE status = 'known'") == customers
        and kello.has_taken_in("customer", "customer.commands")
        and all(kello.has_taken_in(service, "customer.profiles") for service in ("billing", "notify"))
    )


def _registration(number: int) -> RegisterCustomer:
    return RegisterCustomer.model_validate(
        {
            "issued_by": "bench",
            "customer_id": customer_id(number),
            "kind": "person",
            "name": f"Customer {number}",
            "locale": "en-GB",
            "country": "AT",
            "zone": "Europe/Vienna",
            "contact_points": [
                {
                    "contact_point_id": UUID(f"00000000-0000-7005-8000-{number:012x}"),
                    "channel": "email",
                    "value": f"customer{number}@example.com",
                    "verified": True,
                }
            ],
            "preferred_channels": ["email"],
        }
    )
