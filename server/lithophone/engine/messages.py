"""What the engine and its worker say to each other.

Frozen structs in, events out: the worker is a thread now and can become a process without a change here.
"""

from __future__ import annotations

import msgspec

from lithophone.backends.base import BackendInfo, Recognition, RecognitionRequest


class Load(msgspec.Struct, frozen=True):
    """Load the model and warm it up."""


class Unload(msgspec.Struct, frozen=True):
    """Give the model's memory back. The next `Recognise` loads it again."""


class Recognise(msgspec.Struct, frozen=True):
    """Transcribe one window of a job."""

    work_id: int
    job_id: int
    request: RecognitionRequest


class Cancel(msgspec.Struct, frozen=True):
    """Forget every window of a job; nothing more is reported about it."""

    job_id: int


class Stop(msgspec.Struct, frozen=True):
    """Unload and end; waiting work is dropped."""


Command = Load | Unload | Recognise | Cancel | Stop


class Loading(msgspec.Struct, frozen=True):
    """The model is being loaded."""


class Loaded(msgspec.Struct, frozen=True):
    """The model answers."""

    info: BackendInfo
    load_seconds: float
    warm_up_seconds: float


class LoadFailed(msgspec.Struct, frozen=True):
    """The model cannot be loaded; `message` is for the person who started the server."""

    message: str


class Unloaded(msgspec.Struct, frozen=True):
    """The memory is back: resident bytes of this process before and after."""

    before_bytes: int
    after_bytes: int


class Recognised(msgspec.Struct, frozen=True):
    """One window is done."""

    work_id: int
    recognition: Recognition
    seconds: float


class Failed(msgspec.Struct, frozen=True):
    """One window failed; the cause is in the worker's log. `load_failure`: the model could not be loaded for it."""

    work_id: int
    load_failure: str | None = None


class Stopped(msgspec.Struct, frozen=True):
    """The worker has ended."""


Event = Loading | Loaded | LoadFailed | Unloaded | Recognised | Failed | Stopped
