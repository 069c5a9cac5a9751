"""Three lines for a shell that show the system at work: a command published, what followed, what can be read."""

import json
import shlex
import uuid
from dataclasses import dataclass

from deploy.local.running import Running


@dataclass(frozen=True)
class Customer:
    """Somebody new, each time the lines are printed."""

    customer_id: str

    def register(self) -> dict[str, object]:
        """The payload of kello.customer.register-customer.v1."""
        return {
            "customer_id": self.customer_id,
            "issued_by": "shell",
            "kind": "person",
            "name": "Ada Example",
            "locale": "en",
            "country": "DE",
            "zone": "Europe/Berlin",
            "contact_points": [
                {"contact_point_id": str(uuid.uuid4()), "channel": "email", "value": "ada@example.com"},
            ],
        }


def examples(running: Running) -> list[str]:
    """kcat publishes RegisterCustomer, kcat shows what the services said of it, curl reads the customer."""
    customer = Customer(str(uuid.uuid4()))
    url, token = running.services["customer"]
    return [
        publish(
            running.kafka,
            "customer.commands",
            customer.customer_id,
            "kello.customer.register-customer.v1",
            customer.register(),
        ),
        f"kcat -b {running.kafka} -C -t customer.events -o beginning -e -q -f '%k %h\\n  %s\\n'",
        f"curl -s -H 'Authorization: Bearer {token}' {url}/customers/{customer.customer_id}",
    ]


def publish(kafka: str, topic: str, key: str, ce_type: str, payload: dict[str, object]) -> str:
    """A line that publishes one message as any other system would: CloudEvents headers, murmur2 partitions."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid.uuid4()),
        "ce_source": "/shell",
        "ce_type": ce_type,
        "content-type": "application/json",
    }
    told = " ".join(f"-H {name}={value}" for name, value in headers.items())
    told += ' -H "ce_time=$(date -u +%Y-%m-%dT%H:%M:%SZ)"'
    value = shlex.quote(json.dumps(payload))
    return f"echo {value} | kcat -b {kafka} -P -t {topic} -k {key} -X topic.partitioner=murmur2_random {told}"
