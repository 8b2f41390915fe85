"""What a process is told so that it becomes a worker, and the signs of life between the two.

Frozen and picklable: names and settings, never a function that was made here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

import msgspec


class WorkerDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A worker to be.

    Attributes:
        opener: `module:function` that loads the backend.
        arguments: What it is called with.
        room_bytes: The memory it may take, given to the opener by name; None for whatever is free, and not given.
        fetches: Whether the opener may have to download a model, and takes `tell` by name to say how far that is.
        runtime: `module:class` of the backend's `Runtime`.
        log_level: As the server's.
        log_format: As the server's.
    """

    opener: str
    arguments: tuple[Any, ...] = ()
    room_bytes: int | None = None
    fetches: bool = False
    runtime: str = "lithophone.backends.device.runtime:TorchRuntime"
    log_level: str = "info"
    log_format: Literal["console", "json"] = "console"


class Ping(msgspec.Struct, frozen=True):
    """Are you there?"""


class Pong(msgspec.Struct, frozen=True):
    """Yes."""


def find(name: str) -> Any:
    """What `module:attribute` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
