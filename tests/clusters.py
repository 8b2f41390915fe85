# pyright: basic, reportMissingImports=false
"""A Ray cluster of several nodes on this machine: a head that runs no model, and two nodes that do. Needs Ray."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final
from unittest import mock

OBJECT_STORE_BYTES: Final = 200 * 1024 * 1024
ROOT: Final = Path(__file__).resolve().parent.parent


class Nodes:
    """The nodes, which come and go.

    Attributes:
        address: Where servers find the cluster.
        working: The nodes that run models.
    """

    def __init__(self, cluster: Any, cpus: int) -> None:
        self.address: str = cluster.address
        self.working: list[Any] = []
        self._cluster = cluster
        self._cpus = cpus

    def add(self) -> Any:
        """One more, from any thread that stays: its processes end with that."""
        with mock.patch("ray._private.utils.set_sigterm_handler"):  # which only the main thread could
            node = self._cluster.add_node(num_cpus=self._cpus, object_store_memory=OBJECT_STORE_BYTES)
        self.working.append(node)
        return node

    def drain(self, node: Any) -> None:
        """Say that a node will end soon, as a cloud does of a preemptible one."""
        told = (
            "--node-id",
            node.node_id,
            "--reason",
            "DRAIN_NODE_REASON_PREEMPTION",
            "--reason-message",
            "it ends",
        )
        command = ("drain-node", "--address", self.address, *told, "--deadline-remaining-seconds", "120")
        subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", *command], check=True, capture_output=True
        )

    def kill(self, node: Any) -> None:
        """End a node with all that runs on it, as a lost machine would."""
        self.working.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)


@contextlib.contextmanager
def two_nodes(cpus: int = 4) -> Generator[Nodes]:
    """Started, and ended whatever happens."""
    paths = os.pathsep.join([str(ROOT), *filter(None, (os.environ.get("PYTHONPATH"),))])
    with mock.patch.dict(os.environ, RAY_USAGE_STATS_ENABLED="0", PYTHONPATH=paths):
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - an extra

        head = {"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            nodes = Nodes(cluster, cpus)
            nodes.add()
            nodes.add()
            yield nodes
        finally:
            cluster.shutdown()
