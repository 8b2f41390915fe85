"""The models that settings ask for, and where each of them runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from lithophone.backends.transformers_backend.checkpoint import ModelReference, read_reference
from lithophone.errors import ConfigurationError
from lithophone.granite.family import FAMILY
from lithophone.hosts.base import Launch, ModelHost
from lithophone.hosts.description import WorkerDescription
from lithophone.hosts.models import Models
from lithophone.hosts.process import in_process
from lithophone.hosts.ray_serve.deployment import Scale, Served
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from lithophone.hub.cache import DEFAULT_REVISION
from lithophone.measured import MeasuredMemory, measured_path
from lithophone.settings import Settings

if TYPE_CHECKING:
    from lithophone.hosts.ray_serve.cluster import Cluster

OPENER: Final = "lithophone.backends.opening:open_backend"


def build_cluster(settings: Settings) -> Cluster | None:
    """The cluster that models are to run on, if they are; not connected yet.

    Raises:
        ConfigurationError: Ray is not installed.
    """
    if settings.hosts != "ray":
        return None
    from lithophone.hosts.ray_serve.cluster import Cluster, require_ray  # noqa: PLC0415 - an extra

    require_ray()
    return Cluster(settings.ray_address)


def build_models(settings: Settings, cluster: Cluster | None = None) -> Models:
    """The models asked for and their hosts; nothing is loaded yet.

    Args:
        settings: What is asked for.
        cluster: Where they run, if it is not this machine; made here if it is not given.

    Raises:
        StartupError: one is no model, two have one name, or none can do what is asked.
    """
    references = _references(settings)
    _refuse_two_of_one_name(references)
    _refuse_native_times(settings, references)
    cluster = cluster or build_cluster(settings)
    hosts = _ray_hosts(references, settings, cluster) if cluster else _own_hosts(references, settings)
    budget_bytes = round(settings.memory_budget_gb * 1e9) or None
    return Models(hosts, load_wait_seconds=settings.load_wait_seconds, budget_bytes=budget_bytes)


def _references(settings: Settings) -> list[ModelReference]:
    """What the models' names mean.

    Raises:
        ConfigurationError: a revision is named that could be of several.
        CheckpointError: one is no model.
    """
    references = [read_reference(name, settings.revision) for name in settings.model]
    from_hub = [reference.model_id for reference in references if reference.path is None]
    if settings.revision != DEFAULT_REVISION and len(from_hub) != 1:
        raise ConfigurationError(
            f"--revision {settings.revision} is of one model on the hub; here are {', '.join(from_hub) or 'none'}"
        )
    return references


def _own_hosts(references: Sequence[ModelReference], settings: Settings) -> list[ModelHost]:
    """On this machine."""
    measured = MeasuredMemory(measured_path(os.environ))
    return [_host(reference, settings, measured) for reference in references]


def _ray_hosts(references: Sequence[ModelReference], settings: Settings, cluster: Cluster) -> list[ModelHost]:
    """On the machines of a cluster.

    Raises:
        ConfigurationError: what is asked for makes no sense there.
    """
    from lithophone.hosts.ray_serve.cluster import ServeDeployment  # noqa: PLC0415 - an extra
    from lithophone.hosts.ray_serve.host import RayHost  # noqa: PLC0415 - as above

    scale = _scale(settings)
    return [
        RayHost(
            reference.model_id,
            reference.spec,
            ServeDeployment(
                cluster,
                Served(
                    model_id=reference.model_id,
                    spec=reference.spec,
                    description=_description(reference, settings),
                ),
                scale,
            ),
        )
        for reference in references
    ]


def _scale(settings: Settings) -> Scale:
    """How models are spread over a cluster.

    Raises:
        ConfigurationError: the settings contradict each other.
    """
    if settings.memory_budget_gb:
        raise ConfigurationError("--memory-budget-gb is of one machine; with --hosts ray use --ray-gpus")
    if settings.ray_max_replicas < settings.ray_min_replicas:
        raise ConfigurationError(
            f"--ray-max-replicas {settings.ray_max_replicas} is less than --ray-min-replicas {settings.ray_min_replicas}"
        )
    return Scale(
        min_replicas=settings.ray_min_replicas,
        max_replicas=settings.ray_max_replicas,
        queued_seconds=settings.ray_queued_seconds,
        gpus=settings.ray_gpus,
        cpus=settings.ray_cpus,
        idle_seconds=settings.unload_after_seconds,
    )


def _host(reference: ModelReference, settings: Settings, measured: MeasuredMemory) -> SupervisedHost:
    return SupervisedHost(
        reference.model_id,
        reference.spec,
        _launch(reference, settings),
        unload_after_seconds=settings.unload_after_seconds,
        memory_bytes=measured.expected_bytes(reference.model_id, settings.wishes),
        on_measured=lambda info, memory_bytes: measured.record(info, settings.wishes, memory_bytes),
    )


def _launch(reference: ModelReference, settings: Settings) -> Launch:
    """How the workers of a model are started."""
    if settings.hosts == "thread":
        from lithophone.backends.device.runtime import TorchRuntime  # noqa: PLC0415 - else torch stays outside
        from lithophone.backends.opening import open_backend  # noqa: PLC0415 - as above

        return in_thread(partial(open_backend, reference, settings.wishes), TorchRuntime(), fetches=True)
    return in_process(_description(reference, settings))


def _description(reference: ModelReference, settings: Settings) -> WorkerDescription:
    """What the process of a model's worker is told, on whichever machine."""
    return WorkerDescription(
        opener=OPENER,
        arguments=(reference, settings.wishes),
        fetches=True,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )


def _refuse_two_of_one_name(references: Sequence[ModelReference]) -> None:
    names = [reference.model_id for reference in references]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two models would be served as {name}; rename the folder of one")


def _refuse_native_times(settings: Settings, references: Sequence[ModelReference]) -> None:
    if settings.word_times == "native" and not any(reference.spec.word_times for reference in references):
        names = ", ".join(reference.model_id for reference in references)
        able = ", ".join(member.id for member in FAMILY.values() if member.word_times)
        raise ConfigurationError(
            f"{names} writes no word times of its own (--word-times native); {able} does"
        )
