"""The documents that others are given: committed as they are now, valid by those who define them, and true."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from shared.operations.contracts import documents
from shared.operations.installation import service_named
from shared.schemas import envelope
from shared.schemas.base import Command
from shared.schemas.customer import ProfileErased
from shared.schemas.publish import FOLDER, contracts
from shared.schemas.registry import newest, parse
from tests.contracts import javascript
from tests.contracts.javascript import run

SERVICES = ("billing", "customer", "notify", "payroll")
INSTALL_SECONDS = 600
"""Node and its packages come over the network the first time."""


def test_every_document_is_committed_as_it_is_now() -> None:
    assert documents.differing(documents.documents()) == {}
    assert set(documents.documents()) == {"asyncapi/kello.json"} | {
        f"{kind}/{name}.json" for kind in ("asyncapi", "openapi") for name in SERVICES
    }


def test_the_lock_of_what_runs_on_node_names_no_registry_and_every_digest() -> None:
    text = (javascript.HERE / "package-lock.json").read_text(encoding="utf-8")
    packages = {name: package for name, package in json.loads(text)["packages"].items() if name}
    assert "://" not in text
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())


@pytest.mark.timeout(INSTALL_SECONDS)
async def test_the_official_parser_finds_nothing_to_say_about_the_asyncapi_documents() -> None:
    committed = {place: _committed(place) for place in documents.documents() if place.startswith("asyncapi/")}
    broken = copy.deepcopy(committed["asyncapi/payroll.json"])
    broken["operations"]["payroll.receives.hr.events"]["action"] = "hear"
    found = await run("validate.mjs", {**committed, "broken": broken})
    assert "hr.events/action" in str(found.pop("broken")["diagnostics"])
    assert {place: each["diagnostics"] for place, each in found.items() if each["diagnostics"]} == {}
    whole = found["asyncapi/kello.json"]
    assert set(whole["channels"]) == documents.planned_topics().keys()
    assert set(whole["messages"]) == {*contracts(), ProfileErased.ce_type, "dead-letter"}
    assert set(found["asyncapi/billing.json"]["messages"]) < set(whole["messages"])


def test_every_example_is_a_whole_record_that_can_be_read() -> None:
    components = _committed("asyncapi/kello.json")["components"]
    for ce_type, model in contracts().items():
        examples = components["messages"][ce_type]["examples"]
        assert [each["payload"] for each in examples] == documents.samples()[ce_type]
        for each in examples:
            headers = [(name, value.encode()) for name, value in each["headers"].items()]
            head, value = envelope.read(headers, json.dumps(each["payload"]).encode())
            payload = parse(head.type, value or b"")
            assert (head.type, head.subject) == (model.ce_type, parse(ce_type, value or b"").subject) or head.subject
            assert payload.kafka_key
            for part in ("headers", "payload"):
                schema = {**components["messages"][ce_type][part], "components": components}
                Draft202012Validator(schema).validate(each[part])


@pytest.mark.parametrize("name", SERVICES)
def test_a_services_document_says_what_it_sends_and_receives(name: str) -> None:
    service, document = service_named(name), documents.documents()[f"asyncapi/{name}.json"]
    operations = document["operations"]
    received = {f"{name}.receives.{topic}" for topic in service.consumes}
    sent = {f"{name}.sends.{topic}" for topic in (*service.publishes, f"{name}.dead-letters")}
    assert operations.keys() == received | sent
    taken = {_last(one) for key in received for one in operations[key]["messages"]}
    assert service.handlers.types <= taken
    for ce_type in taken - {ProfileErased.ce_type}:
        key = f"{name}.receives.{contracts()[ce_type].topic}"
        is_command = issubclass(contracts()[ce_type], Command)
        assert ("reply" in operations[key]) == is_command
        assert is_command or ce_type in operations[key]["x-reads"] or newest(ce_type) != ce_type


@pytest.mark.parametrize("name", SERVICES)
def test_a_read_api_is_valid_openapi_and_says_how_it_answers(name: str) -> None:
    document = _committed(f"openapi/{name}.json")
    OpenAPIV31SpecValidator(document).validate()
    for path, methods in document["paths"].items():
        assert methods.keys() == {"get"}, path
        operation = methods["get"]
        assert operation["description"]
        assert operation["security"] == [{"HTTPBearer": []}]
        assert operation["responses"].keys() == {"200", "400", "401", "403", "404", "default"}


def test_documents_that_differ_are_named_and_written(tmp_path: Path) -> None:
    wanted = {"asyncapi/a.json": {"a": 1}, "openapi/b.json": {"b": 1}}
    assert documents.differing(wanted, tmp_path) == {"asyncapi/a.json": "new", "openapi/b.json": "new"}
    documents.write(wanted, tmp_path)
    assert documents.differing(wanted, tmp_path) == {}
    changed = {"asyncapi/a.json": {"a": 2}}
    assert documents.differing(changed, tmp_path) == {"asyncapi/a.json": "changed", "openapi/b.json": "gone"}
    documents.write(changed, tmp_path)
    assert [file.name for file in tmp_path.rglob("*.json")] == ["a.json"]


def _committed(place: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / place).read_text(encoding="utf-8"))
    return document


def _last(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]
