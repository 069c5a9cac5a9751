"""Every service's database is lost in the middle of a month and comes back from an older backup, and no promise breaks.

The backups are taken while the services work; what they decide afterwards is on Kafka, and others act on it. Each
refuses to run on the database that came back, until `kello restore` has adopted what was published since.

FAULTS_SEED repeats a run, RESTORE_CUSTOMERS says how much there is to do.
"""

import asyncio
import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGKILL

import pytest
from pydantic import SecretStr

from deploy.local.demo.month import run_month
from deploy.local.demo.proof import proof
from deploy.local.demo.script import script
from deploy.local.demo.world import SERVICES, World
from deploy.local.services import Service
from shared.harness.kello import Kello
from shared.messaging.adoption import DatabaseBehindKafka
from shared.messaging.service import EXIT_NEEDS_AN_OPERATOR
from shared.operations.installation import Installation, service_named
from shared.operations.restore import restore_service
from shared.operations.restore.restoring import Report
from tests.faults.arson import standing, until_ready
from tests.faults.backups import Backup, take_backup
from tests.journeys.worlds import unseen, world_of

SEED = os.environ.get("FAULTS_SEED") or secrets.token_hex(3)
CUSTOMERS = int(os.environ.get("RESTORE_CUSTOMERS", "20"))
STAFF = 10
DAY_SECONDS = 0.2
BACKED_UP_ON = {"payroll": 5, "billing": 7, "customer": 9, "notify": 11}
LOST_ON = 17


@dataclass
class Losses:
    """Takes each service's backup on its day; on a later one all databases are lost, and the backups come back."""

    kello: Kello
    world: World
    services: dict[str, Service]
    folder: Path
    backups: dict[str, asyncio.Task[Backup]] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)

    async def on_day(self, day: int) -> None:
        for name, backed_up_on in BACKED_UP_ON.items():
            if day == backed_up_on:
                url = (await self.kello.database(name)).admin_url
                self.backups[name] = asyncio.create_task(take_backup(url, self.folder / f"{name}.sql"))
        if day == LOST_ON:
            backups = {name: await taking for name, taking in self.backups.items()}
            for name in ("billing", "customer", "payroll", "notify"):
                if name == "notify":
                    await self._nothing_is_under_way(name)
                self.services[name].kill()
                assert self.services[name].process.process.returncode == -SIGKILL
            await asyncio.gather(*(self._bring_back(name, backup) for name, backup in backups.items()))
            await until_ready(self.services)

    async def _nothing_is_under_way(self, name: str) -> None:
        """The others die at work. Of a message that notify handed over and had not told of nobody knows by which way it
        went: after a restore it may go by another one, if what notify knew then came to it in an unusual order."""
        async with self.world.watched() as watch:

            async def rests() -> bool:
                return not await watch.lag(name) and not await self.kello.rows(
                    name,
                    """
                    SELECT FROM messaging.outbox UNION ALL
                    SELECT FROM messaging.task WHERE state <> 'waiting' OR due_at <= messaging.kello_now()
                    """,
                )

            await self.kello.until(rests, f"{name} has nothing under way", within=60)

    async def _bring_back(self, name: str, backup: Backup) -> None:
        await backup.bring_back()
        await self._refused(name)
        before = await self._rows(name)
        tried = await self._restored(name, yes=False)
        assert await self._rows(name) == before, "trying a restore has changed something"
        self.reports[name] = await self._restored(name, yes=True)
        assert tried.adopted == self.reports[name].adopted
        self.services[name].launch()

    async def _refused(self, name: str) -> None:
        """As it says itself; and of one, as whoever started it sees it."""
        with pytest.raises(DatabaseBehindKafka, match=f"kello restore {name}"):
            async with self.kello.running(name):
                pass
        if name == "billing":
            service = self.services[name]
            service.launch()
            await self.kello.until(lambda: _has_ended(service), f"{name} ends")
            assert service.process.process.returncode == EXIT_NEEDS_AN_OPERATOR

    async def _rows(self, name: str) -> list[object]:
        """What a restore moves first of all."""
        return [
            await self.kello.rows(name, "SELECT * FROM messaging.consumer_offset ORDER BY topic, partition"),
            await self.kello.rows(name, "SELECT * FROM messaging.relay_position ORDER BY topic, partition"),
            await self.kello.rows(name, "SELECT count(*) FROM messaging.inbox"),
            await self.kello.rows(name, "SELECT kind, key, state FROM messaging.task ORDER BY kind, key"),
        ]

    async def _restored(self, name: str, *, yes: bool) -> Report:
        database = await self.kello.database(name)
        installed = Installation(
            kafka=self.kello.kafka, databases={name: SecretStr(database.owner_url)}, topic_prefix=self.kello.prefix
        )
        settings = service_named(name).settings(**await self.kello.settings(name))
        return await restore_service(installed, name, yes=yes, settings=settings)


async def _has_ended(service: Service) -> bool:
    return not service.alive


@pytest.mark.timeout(300)
async def test_databases_that_come_back_from_backups_break_no_promise(kello: Kello, tmp_path: Path) -> None:
    print(f"FAULTS_SEED={SEED} RESTORE_CUSTOMERS={CUSTOMERS}")  # noqa: T201 - repeats the run
    written = script(SEED, CUSTOMERS, STAFF, datetime.now(UTC))
    world = await world_of(kello)
    async with standing(kello, tmp_path, SERVICES) as services:
        losses = Losses(kello, world, services, tmp_path)
        sent = await run_month(written, world, unseen(), losses.on_day, DAY_SECONDS)
        async with world.watched() as watch:
            found = await proof(watch, sent, written.people)
    print(losses.reports)  # noqa: T201 - what really happened
    assert {each.promise: each.offending for each in found if not each.holds} == {}
    assert set(losses.reports) == set(SERVICES)
    assert all(report.adopted for report in losses.reports.values())
