"""The Helm chart: what it is made of fits together, and, where there is helm (`make test-helm`), what it renders is Kubernetes.

There the plain manifests and the Containerfile are checked too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

yaml: Any = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "examples" / "deploy" / "helm"
HELM = os.environ.get("HELM") or shutil.which("helm")
KUBERNETES = ("1.29", "1.33", "1.37")
HADOLINT = os.environ.get("HADOLINT") or shutil.which("hadolint")
needs_helm = pytest.mark.skipif(HELM is None, reason="there is no helm (make test-helm)")
WAYS: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "gpu": ("gpu.enabled=true", "gpu.resource=amd.com/gpu"),
    "scaled": ("autoscaling.enabled=true", "models.accessMode=ReadWriteMany"),
    "given": ("existingSecret=keys", "models.existingClaim=models", "settings.ROOT_PATH=/stt"),
}


def values() -> Any:
    return yaml.safe_load((CHART / "values.yaml").read_text())


def names_in(document: Mapping[str, Any], schema: Mapping[str, Any], path: str = "") -> set[str]:
    """The values there are, by their paths; each has to be in the schema."""
    found: set[str] = set()
    for name, value in document.items():
        assert name in schema["properties"], f"{path}{name}"
        inner = schema["properties"][name]
        found.add(f"{path}{name}")
        if isinstance(value, dict) and "properties" in inner:
            found |= names_in(value, inner, f"{path}{name}.")
    return found


def test_every_value_is_in_the_schema_and_every_value_that_is_used_is_there() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = names_in(values(), schema)
    templates = "\n".join(file.read_text() for file in (CHART / "templates").iterdir())
    used = set(re.findall(r"\.Values\.([\w.]+)", templates))
    assert used <= known
    assert {name for name in known if not any(one.startswith(name) for one in used)} == set()


def test_the_variables_are_settings() -> None:
    settings = pytest.importorskip("lithophone.settings")
    template = (CHART / "templates" / "deployment.yaml").read_text()
    named = set(
        re.findall(r"LITHOPHONE_[A-Z_]+\b", template + (CHART / "templates" / "secret.yaml").read_text())
    )
    shown = re.findall(r"^#  ([A-Z_]+):", (CHART / "values.yaml").read_text(), re.MULTILINE)
    known = {field.variable for field in settings.setting_fields()}
    assert (named - {"LITHOPHONE_"}) | {f"LITHOPHONE_{name}" for name in shown} <= known


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, check=False, timeout=60)


def rendered(*sets: str) -> dict[str, Any]:
    """What is applied, by kind."""
    flags = [flag for one in sets for flag in ("--set", one)]
    done = helm("template", "speech", str(CHART), "--kube-version", "1.29.0", "--namespace", "sound", *flags)
    assert done.returncode == 0, done.stderr
    return {document["kind"]: document for document in yaml.safe_load_all(done.stdout) if document}


@needs_helm
@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_rendered_is_kubernetes(way: str, version: str) -> None:
    kubernetes_validate: Any = pytest.importorskip("kubernetes_validate")
    for kind, document in rendered("apiKeys=secret", *WAYS[way]).items():
        if kind != "ScaledObject":  # KEDA's, whose schema is not among Kubernetes' own
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("resource", [None, "nvidia.com/gpu", "amd.com/gpu"])
def test_the_plain_manifests_are_kubernetes_with_a_gpu_and_without(
    resource: str | None, version: str
) -> None:
    kubernetes_validate: Any = pytest.importorskip("kubernetes_validate")
    text = (CHART.parent / "kubernetes.yaml").read_text()
    if resource is not None:
        text = text.replace(f"# {resource}: 1", f"{resource}: 1")
    documents = list(yaml.safe_load_all(text))
    (deployment,) = [one for one in documents if one["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert set(container["resources"]["limits"]) == {"memory"} | ({resource} if resource else set())
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.skipif(HADOLINT is None, reason="there is no hadolint (make test-helm)")
def test_the_containerfile_has_nothing_to_be_blamed_for() -> None:
    assert HADOLINT is not None
    done = subprocess.run(
        [HADOLINT, "--failure-threshold", "info", str(ROOT / "Containerfile")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


@needs_helm
def test_the_chart_has_nothing_to_be_blamed_for() -> None:
    done = helm("lint", str(CHART), "--strict", "--set", "apiKeys=secret")
    assert done.returncode == 0, done.stdout


@needs_helm
def test_a_pod_is_given_longer_than_its_requests() -> None:
    for seconds in (30, 600):
        pod = rendered("apiKeys=secret", f"graceSeconds={seconds}")["Deployment"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        environment = {one["name"]: one["value"] for one in container["env"]}
        assert environment["LITHOPHONE_SHUTDOWN_GRACE_SECONDS"] == str(seconds)
        assert pod["terminationGracePeriodSeconds"] >= seconds + 15 + 5  # its last words, and `preStop`
        assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


@needs_helm
def test_a_gpu_is_asked_for_where_there_is_one_and_limits_stay() -> None:
    def limits(*sets: str) -> Any:
        deployment = rendered("apiKeys=secret", *sets)["Deployment"]
        return deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]

    assert limits() == {"memory": "16Gi"}
    assert limits(*WAYS["gpu"]) == {"memory": "16Gi", "amd.com/gpu": 1}


@needs_helm
def test_replicas_follow_the_audio_that_waits() -> None:
    found = rendered("apiKeys=secret", *WAYS["scaled"])
    assert "replicas" not in found["Deployment"]["spec"]
    assert found["Deployment"]["spec"]["strategy"]["type"] == "RollingUpdate"
    scaled = found["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["query"] == 'sum(lithophone_queued_audio_seconds{namespace="sound"})'
    assert trigger["metadata"]["threshold"] == "120"


@needs_helm
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("apiKeys=", "make up a long random key"),
        ("replicas=two", "replicas"),
        ("gpus.enabled=true", "gpus"),
        ("graceSeconds=5", "graceSeconds"),
        ("settings.max-requests=5", "max-requests"),
    ],
)
def test_what_makes_no_sense_is_refused(value: str, reason: str) -> None:
    done = helm(
        "template", "speech", str(CHART), "--kube-version", "1.29.0", "--set", "apiKeys=x", "--set", value
    )
    assert done.returncode != 0
    assert reason in done.stderr
