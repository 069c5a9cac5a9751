"""`kello contracts`: whether a change breaks somebody, and whom; what is published; the page for reading."""

import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from shared.operations.contracts import app, documents
from shared.schemas.publish import FOLDER, contracts

INVOICE = "kello.billing.invoice-issued.v1"

Kello = Callable[..., Any]


@pytest.fixture
def kello() -> Kello:
    """The command, without an installation: contracts are checked where there is none."""
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """What was published, as a folder that a test may change."""
    folder = tmp_path / "published"
    shutil.copytree(FOLDER, folder)
    return folder


def _edit(folder: Path, ce_type: str, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / f"{ce_type}.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    change(schema)
    file.write_text(json.dumps(schema), encoding="utf-8")


def test_nothing_breaks(kello: Kello) -> None:
    found = kello("check", "--json")
    assert (found.exit_code, json.loads(found.stdout)) == (0, {"broken": [], "unpublished": []})


def test_a_change_says_what_breaks_and_whom(kello: Kello, published: Path, tmp_path: Path) -> None:
    """The published contract promised a shorter number, and a field that the model no longer has."""
    _edit(published, INVOICE, lambda schema: schema["properties"]["number"].update(maxLength=20))
    _edit(published, INVOICE, lambda schema: schema["properties"].update(remarks={"type": "string"}))
    shop = tmp_path / "shop.json"
    shop.write_text(json.dumps({"name": "shop", "reads": {INVOICE: ["remarks"]}}))
    found = kello("check", "--published", published, "--reader", shop, "--json")
    broken = {(one["where"], one["breaks"]): one["readers"] for one in json.loads(found.stdout)["broken"]}
    assert found.exit_code == 1
    assert broken[("payload.number", "older readers")] == ["customer", "notify"]
    assert broken[("payload.remarks", "older readers")] == ["shop"]
    assert broken[("payload.remarks", "readers")] == ["shop"]
    told = kello("check", "--published", published)
    assert told.exit_code == 1
    assert "its maxLength went from 20 to 200: wider" in told.stdout


def test_payloads_that_could_no_longer_be_read_hit_everybody_who_receives_them(kello: Kello, published: Path) -> None:
    _edit(published, INVOICE, lambda schema: schema["required"].remove("series"))
    broken = json.loads(kello("check", "--published", published, "--json").stdout)["broken"]
    assert [(one["where"], one["breaks"], one["readers"]) for one in broken] == [
        ("payload.series", "older payloads", ["customer", "notify"])
    ]


def test_a_contract_that_was_published_cannot_be_withdrawn(kello: Kello, published: Path) -> None:
    (published / "kello.billing.no-more.v1.json").write_text("{}")
    found = kello("check", "--published", published)
    assert found.exit_code == 1
    assert "its records are still on Kafka" in found.stdout


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"name": "shop", "reads": {INVOICE: ["lines[].sku", "lines[].colour"]}}, "payload.lines[].colour"),
        ({"name": "shop", "reads": {"kello.billing.invoice-sung.v1": ["number"]}}, "nobody publishes it"),
    ],
)
def test_a_reader_of_what_nobody_writes_is_told(kello: Kello, tmp_path: Path, told: object, what: str) -> None:
    (tmp_path / "shop.json").write_text(json.dumps(told))
    found = kello("check", "--reader", tmp_path / "shop.json")
    assert found.exit_code == 1
    assert what in found.stdout
    assert "payload.lines[].sku" not in found.stdout


@pytest.mark.parametrize("told", ["", "[]", '{"name": "shop"}', '{"name": "shop", "reads": []}'])
def test_a_reader_that_is_none_is_not_understood(kello: Kello, tmp_path: Path, told: str) -> None:
    (tmp_path / "shop.json").write_text(told)
    found = kello("check", "--reader", tmp_path / "shop.json")
    assert (found.exit_code, "does not say who reads what" in found.stderr) == (2, True)


def test_publishing_writes_only_when_it_is_told_to_and_then_nothing_is_left_to_do(
    kello: Kello, published: Path
) -> None:
    (published / "asyncapi" / "kello.json").unlink()
    (published / f"{INVOICE}.json").unlink()
    (published / "openapi" / "old.json").write_text("{}")
    assert kello("check", "--published", published).exit_code == 1
    dry = kello("publish", "--published", published)
    assert (dry.exit_code, "3 would be written; add --yes" in dry.stdout) == (0, True)
    assert not (published / f"{INVOICE}.json").exists()
    assert "3 written" in kello("publish", "--published", published, "--yes").stdout
    assert kello("check", "--published", published).exit_code == 0


def test_what_breaks_somebody_is_not_published(kello: Kello, published: Path) -> None:
    _edit(published, INVOICE, lambda schema: schema["properties"]["number"].update(maxLength=20))
    before = (published / f"{INVOICE}.json").read_text()
    refused = kello("publish", "--published", published, "--yes")
    assert (refused.exit_code, "customer, notify" in refused.stderr) == (1, True)
    assert (published / f"{INVOICE}.json").read_text() == before


class _Page(HTMLParser):
    """What a browser would find: the targets of links, where they lead, and everything that would be fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in {"meta", "input", "br"}:
            self.open.append(tag)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if tag == "a" else []
        self.fetched += [value or "" for name, value in attrs if name == "src" or (name == "href" and tag != "a")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_tells_everything_and_needs_nothing_else(kello: Kello, tmp_path: Path) -> None:
    out = tmp_path / "docs" / "kello.html"
    assert kello("page", "--out", out).exit_code == 0
    text = out.read_text(encoding="utf-8")
    page = _Page(text)
    assert page.fetched == page.open == []
    assert "@import" not in text
    assert "url(" not in text
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    for ce_type, model in contracts().items():
        assert f"message-{ce_type}" in page.ids
        assert all(f">{name}</td>" in text for name in model.model_fields)
    assert {f"topic-{name}" for name in documents.planned_topics()} <= set(page.ids)
    for name in documents.names():
        for path in documents.openapi(name)["paths"]:
            assert path in text
    assert "lines[].unit_price" in text
    assert "Maria Gruber" in text
