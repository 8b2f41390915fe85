"""`lithophone` in a process of its own, as it is typed."""

from __future__ import annotations

import subprocess
import sys


def typed(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """What the command does."""
    return subprocess.run(
        [sys.executable, "-m", "lithophone", *words],
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
    )
