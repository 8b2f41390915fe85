"""The tests that start a real server, unchanged, on a Ray cluster of two nodes: `python -m tests.on_ray [pytest's arguments]`.

Every `lithophone serve` they start has its models on the cluster, as `--hosts ray` would have it. Not among them are the tests
of `tests/http` that script a fake model in their own process: what they are about lies above the hosts. Needs Ray.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

from tests.clusters import two_nodes

SUITES: Final = (
    "tests/http/test_openai_sdk.py",
    "tests/http/test_embedded_ctc.py",
    "tests/http/test_security_headers.py",
    "tests/http/realtime",
    "tests/client/test_client_readme.py",
    "tests/client/test_client_live.py",
    "tests/examples/test_examples.py",
    "tests/test_any_audio.py",
    "tests/test_no_speech.py",
    "tests/test_leavers.py",
)
NOT_HERE: Final = (
    # Looks for the worker among the server's own processes, to kill it; tests/hosts/test_ray_cluster.py kills replicas.
    "tests/http/realtime/test_ends.py::test_a_worker_that_is_killed_costs_a_session_nothing_but_time",
)


def main() -> int:
    """Run them; returns pytest's exit code."""
    with two_nodes() as nodes:
        on_ray = {
            "LITHOPHONE_HOSTS": "ray",
            "LITHOPHONE_RAY_ADDRESS": nodes.address,
            "LITHOPHONE_RAY_MIN_REPLICAS": "2",
            "LITHOPHONE_RAY_MAX_REPLICAS": "2",
            "LITHOPHONE_LOAD_WAIT_SECONDS": "120",
        }
        left_out = [f"--deselect={name}" for name in NOT_HERE]
        command = [sys.executable, "-m", "pytest", "-q", *left_out, *(sys.argv[1:] or SUITES)]
        return subprocess.run(command, env={**os.environ, **on_ray}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
