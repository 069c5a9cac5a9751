"""`make demo`: everything from nothing, a scripted month, and the proof. Exit code 0 only if every promise held.

DEMO_CUSTOMERS (150) and DEMO_STAFF (50) say how many people there are, DEMO_SEED (1) which month it is.
"""

import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from deploy.local.databases import drop_databases
from deploy.local.demo.month import run_month
from deploy.local.demo.portrait import Card, Door, portraits
from deploy.local.demo.proof import proof
from deploy.local.demo.screen import Screen
from deploy.local.demo.script import Script, script
from deploy.local.demo.world import POLL_SECONDS, Restless, Watch, World
from deploy.local.processes import ROOT, StartError
from deploy.local.stack import exit_on_signals, lock_folder
from deploy.local.system import System
from deploy.local.topics import delete_topics, plan
from shared.operations.audit.checks import Finding

FOLDER = ROOT / ".kello" / "demo"
LOG_LINES = 15
AT_WORK_SECONDS = 10.0
EXIT_BROKEN, EXIT_BAD_SETTINGS = 1, 64


def main() -> int:
    exit_on_signals()
    screen = Screen()
    written = script(
        os.environ.get("DEMO_SEED", "1"), _count("DEMO_CUSTOMERS", 150), _count("DEMO_STAFF", 50), datetime.now(UTC)
    )
    try:
        _remove_what_was(FOLDER)
        system = System(FOLDER, screen.say, prefix=_prefix())
        with _leaving_no_trace(system), _running(system, screen):
            return asyncio.run(_demonstrate(written, system, screen))
    except (StartError, Restless, ExceptionGroup) as error:
        screen.say(f"It failed: {_told(error)}")
        return EXIT_BROKEN


async def _demonstrate(written: Script, system: System, screen: Screen) -> int:
    async with _world_of(system).watched() as watch:

        async def on_day(day: int) -> None:
            if day == written.killed_on:
                await _is_at_work(watch, written.victim)
                screen.say(f"Day {day + 1}: killing {written.victim} with SIGKILL, and starting it again")
                system.services[written.victim].kill()
                system.services[written.victim].launch()

        try:
            sent = await run_month(written, watch.world, screen, on_day)
        except BaseException:
            _say_who_is_gone(system, screen)
            raise
        with screen.phase("Reading every topic, every database and the world outside"):
            findings = await proof(watch, sent, written.people, screen.show)
    screen.table(findings)
    for card in await _cards(written, system):
        screen.card(card.title, card.text)
    return _verdict(findings, screen)


async def _is_at_work(watch: Watch, service: str) -> None:
    """Wait until a service has taken in something, so that there is a middle to kill it in; not for ever."""
    deadline = monotonic() + AT_WORK_SECONDS
    while monotonic() < deadline and not sum((await watch.offsets(service)).values()):  # noqa: ASYNC110 - another process
        await asyncio.sleep(POLL_SECONDS)


async def _cards(written: Script, system: System) -> list[Card]:
    doors = {name: Door(service.url, service.token) for name, service in system.services.items()}
    return await portraits(doors, system.outside.mailbox, written.showcase, written.runs[0].run_id)


def _verdict(findings: list[Finding], screen: Screen) -> int:
    broken = [each for each in findings if not each.holds]
    screen.say(f"{len(findings) - len(broken)} of {len(findings)} promises held, in {screen.seconds:.0f} s")
    if broken:
        screen.say(f"Logs are in {FOLDER / 'logs'}")
    return EXIT_BROKEN if broken else 0


def _world_of(system: System) -> World:
    return World(
        kafka=system.stack.kafka,
        prefix=system.prefix,
        databases={name: database.admin_url for name, database in system.databases.items()},
        gateway=system.outside.gateway,
        mailbox=system.outside.mailbox,
        sms=system.outside.sms,
        logs=[service.process.log for service in system.services.values()],
    )


def _prefix() -> str:
    """On servers that are somebody else's, topics and databases of our own."""
    is_theirs = os.environ.get("KELLO_KAFKA") or os.environ.get("KELLO_POSTGRES")
    return f"demo-{secrets.token_hex(4)}." if is_theirs else ""


@contextmanager
def _leaving_no_trace(system: System) -> Iterator[None]:
    """Servers that are somebody else's are left as they were."""
    try:
        yield
    finally:
        if system.prefix and not system.stack.broker:
            names = [system.prefix + topic.name for topic in plan()]
            asyncio.run(delete_topics(system.stack.kafka, names))
        if system.prefix and not system.stack.server:
            names = [database.name for database in system.databases.values()]
            asyncio.run(drop_databases(system.stack.postgres, names))


@contextmanager
def _running(system: System, screen: Screen) -> Iterator[None]:
    """The system, with its stop announced: it takes a moment."""
    with system:
        try:
            yield
        finally:
            screen.say("Stopping")


def _remove_what_was(folder: Path) -> None:
    """A month begins from nothing. Raises FolderInUse while another one is at work here."""
    with lock_folder(folder):
        for each in folder.iterdir():
            if each.is_dir():
                shutil.rmtree(each)
            elif each.name != "lock":
                each.unlink()


def _say_who_is_gone(system: System, screen: Screen) -> None:
    for service in system.services.values():
        if not service.alive:
            screen.say(f"{service.name} has ended. The end of its log:\n{service.process.log_tail(LOG_LINES)}")


def _count(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdigit() or int(text) < 1:
        sys.stderr.write(f"{name} must be a whole number from 1 on, not {text!r}\n")
        sys.exit(EXIT_BAD_SETTINGS)
    return int(text)


def _told(error: BaseException) -> str:
    """The message; of several that came together, all of them."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_told(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}" if not isinstance(error, StartError | Restless) else str(error)


if __name__ == "__main__":
    sys.exit(main())
