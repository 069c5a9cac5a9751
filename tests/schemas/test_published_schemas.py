"""What was published stays: every contract is as its file says, and every recorded payload can still be read."""

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import Field

import shared.schemas
from shared.schemas.base import Command, Event, Payload
from shared.schemas.publish import FOLDER, contracts, differences, document, main, publish, published
from shared.schemas.registry import newest, parse
from tests.schemas.payloads import samples_of

ROOT = Path(__file__).parents[2]
PUBLISHED = published()

PERSONAL = {"name", "email", "phone", "address", "iban", "birth", "text", "summary", "evidence", "value", "tax_id"}
"""Words of a field's name that mean a person's data, unless it is the id of it."""

MAY_BE_PERSONAL = {"kello.customer.profile.v1", "kello.billing.invoice-issued.v1"}
"""The profile, and the invoice as a legal hold. Commands and hr.events have a short retention."""


def test_every_contract_is_as_it_was_published() -> None:
    assert [str(one) for one in differences(contracts(), PUBLISHED) if one.state != "same"] == []


def test_every_contract_is_published_with_a_sample() -> None:
    assert contracts().keys() == PUBLISHED.keys() == {path.stem for path in (FOLDER / "samples").glob("*.json")}


def test_every_module_that_declares_contracts_is_a_publisher() -> None:
    for module in pkgutil.walk_packages(shared.schemas.__path__, "shared.schemas."):
        importlib.import_module(module.name)
    ours = {model.ce_type for model in Payload.contracts.values() if model.__module__.startswith("shared.schemas.")}
    assert ours == contracts().keys()


def test_every_contract_travels_on_a_planned_topic() -> None:
    planned = yaml.safe_load((ROOT / "deploy" / "topics.yaml").read_text(encoding="utf-8"))
    assert {model.topic for model in contracts().values()} <= planned.keys()


@pytest.mark.parametrize("ce_type", sorted(contracts()))
def test_a_recorded_payload_is_still_read_whole(ce_type: str) -> None:
    for recorded in samples_of(ce_type):
        read = json.loads(contracts()[ce_type].model_validate_json(json.dumps(recorded)).model_dump_json())
        assert _within(recorded, read)
        assert parse(ce_type, json.dumps(recorded).encode()).ce_type == newest(ce_type)
        Draft202012Validator(PUBLISHED[ce_type]).validate(recorded)


@pytest.mark.parametrize("ce_type", sorted(PUBLISHED))
def test_a_payload_is_written_as_pydantic_writes_it(ce_type: str) -> None:
    for recorded in samples_of(ce_type):
        payload = parse(ce_type, json.dumps(recorded).encode())
        assert payload.to_json() == payload.model_dump_json().encode()


@pytest.mark.parametrize("ce_type", sorted(contracts()))
def test_the_first_recorded_payload_has_every_published_field(ce_type: str) -> None:
    assert samples_of(ce_type)[0].keys() == PUBLISHED[ce_type]["properties"].keys()


@pytest.mark.parametrize("ce_type", sorted(PUBLISHED))
def test_a_published_schema_is_one(ce_type: str) -> None:
    schema = PUBLISHED[ce_type]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:kello:schema:{ce_type}"
    assert schema["description"]


COUNTS = {"employees", "expected_version", "failed", "paid", "rows", "rule_version", "score", "version"}
"""Whole numbers that count or rank, and so have no unit."""


@pytest.mark.parametrize("ce_type", sorted(PUBLISHED))
def test_every_published_field_says_what_it_is_and_every_amount_its_unit(ce_type: str) -> None:
    schema = PUBLISHED[ce_type]
    for part in (schema, *schema.get("$defs", {}).values()):
        assert part["description"]
        for name, field in part.get("properties", {}).items():
            assert "$ref" in field or field.get("description"), name
            for shape in (field, *field.get("anyOf", ())):
                assert shape.get("type") != "integer" or ("x-unit" in shape) != (name in COUNTS), name


@pytest.mark.parametrize("ce_type", sorted(contracts()))
def test_personal_data_is_where_it_may_be_alone(ce_type: str) -> None:
    model = contracts()[ce_type]
    if ce_type in MAY_BE_PERSONAL or issubclass(model, Command) or model.topic == "hr.events":
        return
    found = {name for name in _field_names(document(model)) if PERSONAL & {name, *name.split("_")}}
    assert found <= {"contact_point_id"}


@pytest.mark.parametrize("ce_type", sorted(contracts()))
def test_a_contract_travels_on_a_topic_of_its_publisher(ce_type: str) -> None:
    model = contracts()[ce_type]
    publisher = ce_type.split(".")[1]
    kinds = ("commands",) if issubclass(model, Command) else ("events", "profiles")
    assert model.topic in {f"{publisher}.{kind}" for kind in kinds}


def _within(recorded: Any, read: Any) -> bool:
    """Whether everything recorded was read as it is; fields that got their default may be there besides."""
    if isinstance(recorded, dict):
        return all(name in read and _within(value, read[name]) for name, value in recorded.items())
    if isinstance(recorded, list):
        return len(recorded) == len(read) and all(map(_within, recorded, read))
    return bool(recorded == read)


def _field_names(schema: dict[str, Any]) -> set[str]:
    return {name for part in (schema, *schema.get("$defs", {}).values()) for name in part.get("properties", {})}


# -- The command that publishes


class _Weighed(Event):
    """A parcel was weighed."""

    parcel: str = Field(max_length=40)
    grams: int = Field(ge=1, le=1000)


class _WeighedWider(_Weighed):
    """A parcel was weighed."""

    grams: int = Field(ge=1, le=2000)


class _WeighedWhere(_Weighed):
    """A parcel was weighed."""

    scale: str | None = None


def models(model: type[Payload]) -> dict[str, type[Payload]]:
    return {"kello.test.weighed.v1": model}


def test_a_new_contract_is_written(tmp_path: Path) -> None:
    assert publish(models(_Weighed), tmp_path) == []
    assert published(tmp_path)["kello.test.weighed.v1"]["properties"].keys() == {"version", "parcel", "grams"}
    assert [one.state for one in differences(models(_Weighed), published(tmp_path))] == ["same"]


def test_a_compatible_change_is_written(tmp_path: Path) -> None:
    publish(models(_Weighed), tmp_path)
    (found,) = differences(models(_WeighedWhere), published(tmp_path))
    assert (found.state, "kello contracts publish" in str(found)) == ("compatible", True)
    assert publish(models(_WeighedWhere), tmp_path) == []
    assert "scale" in published(tmp_path)["kello.test.weighed.v1"]["properties"]


def test_a_breaking_change_is_refused_and_says_what_breaks_for_whom(tmp_path: Path) -> None:
    publish(models(_Weighed), tmp_path)
    before = published(tmp_path)
    (refused,) = publish(models(_WeighedWider), tmp_path)
    assert "payload.grams: its maximum went from 1000 to 2000: wider (breaks older readers)" in str(refused)
    assert "declare a new version" in str(refused)
    assert published(tmp_path) == before


def test_a_published_contract_cannot_be_withdrawn(tmp_path: Path) -> None:
    publish(models(_Weighed), tmp_path)
    (refused,) = publish({}, tmp_path)
    assert refused.state == "withdrawn"
    assert published(tmp_path)


def test_the_command_checks_what_is_committed() -> None:
    command = [sys.executable, "-m", "shared.schemas.publish", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - ours
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_publishes_into_an_empty_folder_and_then_finds_nothing_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "published"
    assert main(["--check"], folder) == 1
    assert main([], folder) == 0
    assert main(["--check"], folder) == 0
    assert published(folder) == PUBLISHED


def test_the_command_says_what_is_wrong_and_how_to_mend_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([], tmp_path)
    changes: dict[str, dict[str, Any]] = {
        "kello.billing.account-opened.v1": {"properties": {}, "required": []},
        "kello.billing.invoice-paid.v1": {"description": "Somebody has paid."},
        "kello.billing.no-more.v1": {},
    }
    for name, change in changes.items():
        path = tmp_path / f"{name}.json"
        frozen = published(tmp_path).get(name, {})
        path.write_text(json.dumps(frozen | change), encoding="utf-8")
    (tmp_path / "kello.billing.payment-unknown.v1.json").unlink()
    assert main(["--check"], tmp_path) == 1
    told = capsys.readouterr().err
    assert "kello.billing.account-opened.v1: declare a new version and an upcaster" in told
    assert "kello.billing.invoice-paid.v1: changed, and breaks nobody" in told
    assert "kello.billing.no-more.v1: declare it again" in told
    assert "kello.billing.payment-unknown.v1: not published yet" in told
    assert len(told.splitlines()) < 12


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 2
    assert "usage" in capsys.readouterr().err
