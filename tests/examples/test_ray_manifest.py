"""The manifest for KubeRay: its own fields by name, and the pods it makes against Kubernetes' schemas (`make test-helm`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

yaml: Any = pytest.importorskip("yaml")

MANIFEST = Path(__file__).resolve().parents[2] / "examples" / "ray" / "kubernetes.yaml"
VERSIONS = ("1.29", "1.33", "1.37")

# Names and types as in KubeRay's definition of a RayCluster, v1 (helm-chart/kuberay-operator/crds at feeaf72, August 2026), against
# which the whole manifest was valid, unknown fields refused. That file is a megabyte, most of it a copy of Kubernetes' pods.
CLUSTER: Mapping[str, type] = {
    "authOptions": dict,
    "autoscalerOptions": dict,
    "enableInTreeAutoscaling": bool,
    "gcsFaultToleranceOptions": dict,
    "headGroupSpec": dict,
    "headServiceAnnotations": dict,
    "rayVersion": str,
    "suspend": bool,
    "workerGroupSpecs": list,
}
HEAD: Mapping[str, type] = {"rayStartParams": dict, "serviceType": str, "template": dict}
WORKERS: Mapping[str, type] = {
    "groupName": str,
    "idleTimeoutSeconds": int,
    "maxReplicas": int,
    "minReplicas": int,
    "numOfHosts": int,
    "rayStartParams": dict,
    "replicas": int,
    "template": dict,
}
AUTH: Mapping[str, type] = {"mode": str, "secretName": str}


def documents() -> list[Any]:
    return list(yaml.safe_load_all(MANIFEST.read_text()))


def cluster() -> Any:
    (found,) = [one["spec"] for one in documents() if one["kind"] == "RayCluster"]
    return found


def groups() -> Iterator[Any]:
    yield cluster()["headGroupSpec"]
    yield from cluster()["workerGroupSpecs"]


def assert_fields(fields: Mapping[str, Any], known: Mapping[str, type]) -> None:
    for name, value in fields.items():
        assert name in known, name
        assert isinstance(value, known[name]), name


def test_the_cluster_has_kuberays_fields() -> None:
    spec = cluster()
    assert_fields(spec, CLUSTER)
    assert_fields(spec["authOptions"], AUTH)
    assert_fields(spec["headGroupSpec"], HEAD)
    for workers in spec["workerGroupSpecs"]:
        assert_fields(workers, WORKERS)
        assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in groups():
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_every_server_ends_after_its_requests_and_every_volume_is_there() -> None:
    for group in groups():
        pod = group["template"]["spec"]
        mounted = {one["name"] for each in pod["containers"] for one in each.get("volumeMounts", ())}
        assert mounted == {one["name"] for one in pod.get("volumes", ())}
        for container in pod["containers"]:
            for argument in container.get("args", ()):
                name, _, value = argument.partition("=")
                if name == "--shutdown-grace-seconds":
                    assert pod["terminationGracePeriodSeconds"] > float(value)


def test_the_service_finds_the_servers_and_the_secrets_are_there() -> None:
    there = documents()
    (service,) = [one for one in there if one["kind"] == "Service"]
    (workers,) = cluster()["workerGroupSpecs"]
    labels = workers["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    secrets = {one["metadata"]["name"] for one in there if one["kind"] == "Secret"}
    assert cluster()["authOptions"]["secretName"] in secrets


@pytest.mark.parametrize("version", VERSIONS)
def test_what_it_makes_is_kubernetes(version: str) -> None:
    kubernetes_validate: Any = pytest.importorskip("kubernetes_validate")
    for document in documents():
        if document["kind"] != "RayCluster":
            kubernetes_validate.validate(document, version, strict=True)
    for group in groups():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, **group["template"]}
        pod["metadata"] = {"name": "one", **group["template"].get("metadata", {})}
        kubernetes_validate.validate(pod, version, strict=True)
