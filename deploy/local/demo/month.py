"""Runs the script: day by day, with a service killed in the middle, until there is nothing left to do."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import groupby
from time import monotonic

from deploy.local.demo.followers import Followers
from deploy.local.demo.message import Message
from deploy.local.demo.producer import Producer, Sent, open_producer
from deploy.local.demo.screen import Screen
from deploy.local.demo.script import Script
from deploy.local.demo.world import World

PAYDAY = 5
"""The day on which the payroll office starts the runs of the first month."""
DAY_SECONDS = 0.15
"""A day of the script lasts at least so long, so that its middle is the middle of the work."""
SCRIPT_MARGIN_SECONDS = 150.0
SECONDS_PER_MESSAGE = 0.02

OnDay = Callable[[int], Awaitable[None]]


async def run_month(
    script: Script, world: World, screen: Screen, on_day: OnDay, day_seconds: float = DAY_SECONDS
) -> Sent:
    """Publishes everything, reacts to what is said, and returns when Kello is at rest. Raises Restless.

    `on_day` is called at the end of each day, from 0 on: to disturb, or to heal.
    """
    async with AsyncExitStack() as stack:
        watch = await stack.enter_async_context(world.watched())
        producer = await stack.enter_async_context(open_producer(world.kafka, world.prefix))
        followers = Followers(script, producer, watch)
        async with asyncio.TaskGroup() as group:
            following = group.create_task(followers.follow())
            title = f"A month: {len(script.messages):,} messages, {len(script.again):,} of them twice"
            with screen.phase(title, script.days):
                await _publish(script, producer, followers, screen, on_day, day_seconds)
            with screen.phase("Waiting until there is nothing left to read, to publish or to do"):
                await watch.rest(_patience(script), followers.open_work, screen.show)
            following.cancel()
    screen.say(f"{producer.sent.records:,} records published, {producer.sent.repeated:,} of them for the second time")
    return producer.sent


async def _publish(
    script: Script, producer: Producer, followers: Followers, screen: Screen, on_day: OnDay, day_seconds: float
) -> None:
    """One day after the other; what is said twice is said again at the end of its day."""
    days = {day: list(some) for day, some in groupby(enumerate(script.messages), lambda each: _day_of(script, each[1]))}
    for day in range(script.days):
        began, today = monotonic(), days.get(day, [])
        screen.show(f"Day {day + 1} of {script.days}")
        await producer.publish(
            [message for _, message in today], [message for n, message in today if n in script.again]
        )
        if day == PAYDAY:
            await followers.start_payroll()
        await on_day(day)
        await asyncio.sleep(max(0.0, day_seconds - (monotonic() - began)))
        screen.advance()


def _day_of(script: Script, message: Message) -> int:
    return (message.at - script.begin) // timedelta(days=1)


def _patience(script: Script) -> float:
    return SCRIPT_MARGIN_SECONDS + SECONDS_PER_MESSAGE * len(script.messages)
