"""What is in examples/deploy: every figure it names exists, every alert is explained, the files are what they seem."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lithophone.settings import setting_fields
from tests.http.conftest import serving

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "examples" / "deploy"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """Names of samples of a server that has answered whole, as a stream, and with an error."""
    with serving() as live:
        live.transcribe()
        live.transcribe(stream="true")
        live.transcribe(model="nobody")
        families = list(text_string_to_metric_families(live.client.get("/metrics").text))
    declared = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    return declared | {sample.name for family in families for sample in family.samples}


@pytest.mark.parametrize("name", ["alerts.yaml", "dashboard.json"])
def test_every_figure_that_is_named_exists(name: str, exposed: set[str]) -> None:
    named = set(re.findall(r"lithophone_\w+", (DEPLOY / name).read_text()))
    assert len(named) > 4
    assert named <= exposed


def test_every_alert_is_explained_and_no_other() -> None:
    alerts = re.findall(r"- alert: (\w+)", (DEPLOY / "alerts.yaml").read_text())
    assert alerts == re.findall(r"^\| `(Lithophone\w+)` \|", OPERATIONS, re.MULTILINE)


def test_every_code_that_an_alert_names_is_one_of_ours() -> None:
    codes = re.findall(r'code=~?"([\w|]+)"', (DEPLOY / "alerts.yaml").read_text())
    table = (ROOT / "docs" / "api.md").read_text()
    assert all(f"`{code}`" in table for found in codes for code in found.split("|"))


def test_every_flag_in_the_page_exists() -> None:
    flags = {f"--{field.name.replace('_', '-')}" for field in setting_fields()}
    assert set(re.findall(r"--[a-z-]+", re.sub(r"\|[-|]+\|", "", OPERATIONS))) <= flags


def test_the_dashboard_has_panels_that_do_not_overlap() -> None:
    panels = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    assert len({panel["id"] for panel in panels}) == len(panels)


def documents(name: str) -> Iterator[Any]:
    yaml: Any = pytest.importorskip("yaml")
    return iter(yaml.safe_load_all((DEPLOY / name).read_text()))


def test_the_rules_are_rules() -> None:
    (rules,) = documents("alerts.yaml")
    for rule in rules["groups"][0]["rules"]:
        assert rule["expr"]
        assert rule["annotations"]["summary"]


def test_the_manifests_say_what_the_server_understands_and_let_it_finish() -> None:
    found = {document["kind"]: document for document in documents("kubernetes.yaml")}
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    known = {field.variable for field in setting_fields()}
    assert {*environment, *found["Secret"]["stringData"]} <= known
    assert pod["terminationGracePeriodSeconds"] > int(environment["LITHOPHONE_SHUTDOWN_GRACE_SECONDS"]) + 15
    assert {mount["name"] for mount in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert (
        found["Service"]["spec"]["selector"] == found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    )
