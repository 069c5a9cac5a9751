"""The whole way of a message through the kit."""

from uuid import uuid4

from shared.harness.kello import Kello
from tests.messaging import probe
from tests.messaging.probe import Add, Added, CommandRejected, Paid


async def test_a_command_published_twice_has_one_effect(kello: Kello) -> None:
    counter = uuid4()
    async with kello.running_service(probe.service()):
        await kello.publish(Add(counter_id=counter, amount=5, issued_by="me"), twice=True)
        await kello.publish(Add(counter_id=counter, amount=13, issued_by="me"))
        await kello.publish(Add(counter_id=counter, amount=7, issued_by="me", pay=True))
        added = await kello.expect(Added, counter_id=counter, total=12)
        assert added.version == 2
        assert (await kello.expect(CommandRejected, key=str(counter))).code == "unlucky"
        assert (await kello.expect(Paid, counter_id=counter)).state == "paid"
        await kello.settled()
        assert len(await kello.events(Added)) == 2
