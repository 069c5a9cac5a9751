"""The dashboard and the alerts speak of what is there: every metric is exposed, every command exists."""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from shared.harness.kello import Kello
from shared.messaging import metrics
from shared.operations.__main__ import app
from tests.contracts.javascript import run
from tests.messaging import probe

HERE = Path(__file__).parents[2] / "deploy" / "observability"
DASHBOARD = json.loads((HERE / "grafana" / "kello.json").read_text())
RULES = [rule for group in yaml.safe_load((HERE / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
TESTED = yaml.safe_load((HERE / "alerts_test.yaml").read_text())["tests"]

OF_PROMETHEUS = {"up", "job", "instance"}
"""What Prometheus adds: a metric of each scrape, and labels of every sample."""
METRIC = re.compile(r"\b(?:kello|process)_[a-z_]+\b")
LABELS = re.compile(r"by \(([a-z_, ]+)\)")
SELECTOR = re.compile(r"\b((?:kello|process)_[a-z_]+)\{([^}]*)\}")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    told = [rule["expr"] for rule in RULES]
    told += [target["expr"] for panel in panels() for target in panel["targets"]]
    told += [variable["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    return told + [each["expr"] for each in DASHBOARD["annotations"]["list"]]


def commands() -> Iterator[str]:
    for rule in RULES:
        yield rule["annotations"]["command"]
        yield from filter(None, [rule["annotations"].get("then")])
    for panel in panels():
        yield from re.findall(r"`(kello [^`]+)`", panel["description"])


async def test_every_metric_of_the_dashboard_and_the_alerts_is_exposed_by_a_running_service(kello: Kello) -> None:
    async with kello.running_service(probe.service()):
        status, page = await kello.get("probe", "/metrics")
    assert status == 200
    families = list(text_string_to_metric_families(page.decode()))
    exposed = {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}
    spoken_of = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert len(spoken_of) > 20
    assert spoken_of <= exposed


SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
    "unknown": ("",),
    "info": ("_info",),
    "summary": ("_count", "_sum"),
}


def test_every_label_is_one_that_its_metric_has() -> None:
    labels = {name: set(each._labelnames) for each in vars(metrics).values() for name in names_of(each)}
    for expression in expressions():
        asked = {name.strip() for names in LABELS.findall(expression) for name in names.split(",")}
        of_all = set().union(*(labels.get(name, set()) for name in METRIC.findall(expression)))
        assert asked <= of_all | OF_PROMETHEUS | {"le"}, expression
        for name, selector in SELECTOR.findall(expression):
            matched = set(re.findall(r"([a-z]+)(?:=~|!=|=)", selector))
            assert matched <= labels.get(name, set()) | OF_PROMETHEUS | {"le"}, expression


def names_of(metric: Any) -> list[str]:
    return REGISTRY._collector_to_names.get(metric, []) if hasattr(metric, "_labelnames") else []


def test_every_metric_of_ours_has_a_place_on_the_dashboard() -> None:
    shown = {name for panel in panels() for target in panel["targets"] for name in METRIC.findall(target["expr"])}
    ours = {metric for metric in vars(metrics).values() if names_of(metric)}
    assert not [names_of(metric) for metric in ours if not shown & set(names_of(metric))]


def test_every_name_of_a_metric_says_its_unit() -> None:
    units = ("messages", "records", "letters", "gaps", "seconds", "partitions", "failures", "rows", "tasks", "lines")
    exceptions = {"kello_relay_holds", "kello_answers"}  # a yes or no
    names = {metric._name for metric in vars(metrics).values() if names_of(metric)}
    assert {name for name in names if not name.endswith(units)} == exceptions


def test_every_alert_names_a_command_that_exists_and_takes_these_arguments() -> None:
    assert all(rule["annotations"]["command"].startswith("kello ") for rule in RULES)
    for command in set(commands()):
        words = re.sub(r"\{\{ \$labels\.service \}\}|SERVICE", "billing", command).split()[1:]
        found: Any = typer.main.get_command(app)
        while hasattr(found, "commands") and words and words[0] in found.commands:
            found = found.commands[words.pop(0)]
        assert not hasattr(found, "commands"), f"there is no such command: {command}"
        found.make_context(command, words)  # raises where it takes no such arguments


def test_grafana_reads_the_whole_dashboard() -> None:
    """With its own model: what that does not know, such as a misspelt field, would be lost on the way."""
    register_default_plugins()
    read = json.loads(json.dumps(Dashboard.from_json(DASHBOARD), cls=JSONEncoder))
    assert not list(lost(DASHBOARD, read))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def lost(said: Any, read: Any, path: str = "") -> Iterator[str]:
    if isinstance(said, dict) and isinstance(read, dict):
        for name, value in said.items():
            yield from lost(value, read.get(name, "nothing"), f"{path}/{name}")
    elif isinstance(said, list) and isinstance(read, list) and len(said) == len(read):
        for number, (one, other) in enumerate(zip(said, read, strict=True)):
            yield from lost(one, other, f"{path}/{number}")
    elif said != read:
        yield path


def test_panels_stand_beside_each_other_and_not_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        mine = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & mine, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= mine


def test_every_alert_is_seen_to_fire_and_to_stay_quiet() -> None:
    """By promtool; what is in its file is checked here wherever that is not installed."""
    names = {rule["alert"] for rule in RULES}
    quiet, *loud = TESTED
    assert {each["alertname"] for each in quiet["alert_rule_test"] if not each.get("exp_alerts")} == names
    assert {each["alertname"] for test in loud for each in test["alert_rule_test"] if each["exp_alerts"]} == names


async def test_every_expression_is_promql() -> None:
    """By the grammar that Prometheus itself publishes for its editor."""
    asked = [
        re.sub(r"\$(?:__rate_interval|service)\b", "5m", each) for each in expressions() if "label_values" not in each
    ]
    wrong = await run("promql.mjs", [*asked, "sum by (service) rate(x[5m)"])
    assert wrong.pop() is not None, "what is wrong is found"
    assert dict(zip(asked, wrong, strict=True)) == dict.fromkeys(asked)


async def test_promtool_finds_rules_and_settings_right() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    for arguments in (
        ("check", "rules", "alerts.yaml"),
        ("check", "config", "prometheus.yaml"),
        ("test", "rules", "alerts_test.yaml"),
    ):
        child = await asyncio.create_subprocess_exec(
            promtool, *arguments, cwd=HERE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await child.communicate()
        assert child.returncode == 0, output.decode()
