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
        command = [sys.executable, "-m", "pytest", "-q", *(sys.argv[1:] or SUITES)]
        return subprocess.run(command, env={**os.environ, **on_ray}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
