"""What is written down about the house is true: front pages, topics, schemas and migrations."""

import asyncio
import re
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.local.databases import clone_database, drop_databases, template_of
from deploy.local.postgres import binary
from deploy.local.stack import Stack
from deploy.local.topics import plan
from shared.harness.kello import service_named
from shared.messaging import migrate
from shared.messaging.migrate import KIT, Migration
from shared.schemas.base import Payload
from shared.schemas.registry import model_of

SERVICES = ("billing", "customer", "notify", "payroll")


@pytest.mark.parametrize("name", SERVICES)
def test_the_front_page_names_what_is_consumed_and_published(name: str) -> None:
    page = import_module(f"services.{name}").__doc__ or ""
    service = service_named(name)
    assert _topics_under("Consumes", page) == set(service.consumes)
    assert _topics_under("Publishes", page) == set(service.publishes)


@pytest.mark.parametrize("name", SERVICES)
def test_every_topic_that_is_consumed_has_a_decision_and_every_decision_a_topic(name: str) -> None:
    service = service_named(name)
    assert {_topic_of(ce_type) for ce_type in service.handlers.types} == set(service.consumes)


@pytest.mark.parametrize("name", SERVICES)
def test_topics_name_their_readers_and_their_owner(name: str) -> None:
    service = service_named(name)
    topics = {topic.name: topic for topic in plan()}
    assert {topic.name for topic in topics.values() if name in topic.readers} == set(service.consumes)
    assert all(topics[topic].owner == name for topic in service.publishes)


def test_every_contract_has_a_planned_topic() -> None:
    planned = {topic.name for topic in plan()}
    contracts = [model for model in Payload.contracts.values() if model.__module__.startswith("shared.")]
    assert contracts
    assert {model.topic for model in contracts} <= planned


@pytest.mark.parametrize("name", SERVICES)
async def test_migrations_lead_to_the_schema_that_is_written_down(stack: Stack, name: str) -> None:
    kit = Path(migrate.__file__).with_name("schema.sql")
    own = Path(import_module(f"services.{name}").__file__ or "").with_name("schema.sql")
    written = [Migration(KIT, 1, "schema", kit.read_text()), Migration(name, 1, "schema", own.read_text())]
    dumps = []
    for number, migrations in enumerate((None, written)):
        database = f"schema_{name}_{number}"
        await drop_databases(stack.postgres, [database])
        await clone_database(stack.postgres, name, await template_of(stack.postgres, name, migrations), database)
        dumps.append(await _dumped(stack.postgres, database))
        await drop_databases(stack.postgres, [database])
    migrated, schema = dumps
    assert migrated == schema


def _topics_under(title: str, page: str) -> set[str]:
    """The topics that begin a line below a title, up to the next title."""
    section = page.split(f"\n{title}\n", 1)[1]
    lines = []
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        lines.append(line)
    return {match[1] for line in lines if (match := re.match(r"    ([a-z]+\.[a-z-]+) ", line))}


def _topic_of(ce_type: str) -> str:
    """A tombstone's model is no published contract: it stands on the topic of profiles."""
    return "customer.profiles" if ce_type == "kello.customer.profile-erased.v1" else model_of(ce_type).topic


async def _dumped(admin_url: str, database: str) -> str:
    """Everything but what the kit writes at run time and the record of migrations."""
    url = urlsplit(admin_url)._replace(path=f"/{database}").geturl()
    arguments = ["--exclude-schema=migration", "--exclude-table-data=messaging.*", "--dbname", url]
    dump = await asyncio.create_subprocess_exec(binary("pg_dump"), *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await dump.communicate()
    assert dump.returncode == 0
    return re.sub(r"\\(un)?restrict .*", "", output.decode())
