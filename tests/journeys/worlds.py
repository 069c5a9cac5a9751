"""A test's Kello as the scripted month sees it."""

from io import StringIO

from rich.console import Console

from deploy.local.demo.screen import Screen
from deploy.local.demo.world import SERVICES, World
from shared.harness.kello import Kello


async def world_of(kello: Kello) -> World:
    boxes = kello.sandboxes
    return World(
        kafka=kello.kafka,
        prefix=kello.prefix,
        databases={service: (await kello.database(service)).admin_url for service in SERVICES},
        gateway=boxes.gateway.url,
        mailbox=boxes.mailbox.url,
        sms=boxes.sms.url,
    )


def unseen() -> Screen:
    return Screen(Console(file=StringIO()))
