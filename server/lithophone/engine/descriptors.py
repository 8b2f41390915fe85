"""How many requests and connections the descriptors of this process allow.

Owns that arithmetic, and raising the soft limit to what the system grants.
"""

from __future__ import annotations

import os
import resource
from typing import Final, NamedTuple

KEPT: Final = 20  # models' sockets, log files, what libraries open
OF_A_DECODER: Final = 4  # two pipes, its process, and one in the making
OF_A_CONNECTION: Final = 2  # its socket and its upload
MOST: Final = 65_536


class Allowed(NamedTuple):
    """What there may be at once."""

    requests: int
    connections: int


def raise_limit() -> int:
    """Raise the soft limit of descriptors as far as that is free; returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MOST if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def open_descriptors() -> int:
    """Those of this process."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else KEPT  # noqa: PTH112, PTH208 - two calls


def allowed_by(descriptors: int, *, max_requests: int, max_connections: int) -> Allowed:
    """What is asked for, or as much of it as so many descriptors allow; requests come first, half of the rest at most."""
    of_a_request = OF_A_DECODER + 2 * OF_A_CONNECTION
    requests = max(1, min(max_requests, descriptors // of_a_request))
    connections = (descriptors - requests * OF_A_DECODER) // OF_A_CONNECTION
    return Allowed(requests, max(2, min(max_connections, connections)))
