"""What a host and its worker say to each other.

Frozen structs in, events out; all of them can be pickled.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from lithophone.backends.base import BackendInfo, Recognition, RecognitionRequest
from lithophone.hub.progress import Fetched


class Recognise(msgspec.Struct, frozen=True):
    """Transcribe one window of a job; `alone`, without company, if it may have broken a worker before."""

    work_id: int
    job_id: int
    request: RecognitionRequest
    alone: bool = False


class Cancel(msgspec.Struct, frozen=True):
    """Forget every window of a job; nothing more is reported about it."""

    job_id: int


class Stop(msgspec.Struct, frozen=True):
    """Give the memory back and end; waiting work is dropped."""


Command = Recognise | Cancel | Stop


class Fetching(msgspec.Struct, frozen=True):
    """The model's files are on their way to this machine, so far."""

    fetched: Fetched


class Loaded(msgspec.Struct, frozen=True):
    """The model answers. `memory_bytes` is the most it has taken until now: loading, and the windows it was tried with."""

    info: BackendInfo
    load_seconds: float
    warm_up_seconds: float
    memory_bytes: int = 0


class Grown(msgspec.Struct, frozen=True):
    """The most memory that the model has taken became more."""

    memory_bytes: int


class LoadFailed(msgspec.Struct, frozen=True):
    """The model cannot be loaded, and the worker ends; `message` is for the person who started the server.

    `lacking_bytes` is what more would have to be free, where that is the reason.
    """

    message: str
    lacking_bytes: int = 0


class Started(msgspec.Struct, frozen=True):
    """Windows have joined the batch."""

    work_ids: tuple[int, ...]


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How a window went through a worker: its stages, in seconds since it joined the batch.

    Attributes:
        process_id: Of the worker.
        joined_at: When it joined, in seconds since 1970 by the clock of the worker's machine.
        hearing: When the encoder began with it.
        decoding: When that had ended, and the language model began.
        answering: When its tokens were there, and were made words with times.
        answered: When that was done.
    """

    process_id: int
    joined_at: float
    hearing: float
    decoding: float
    answering: float
    answered: float


class Recognised(msgspec.Struct, frozen=True):
    """One window is done, so many seconds after it joined the batch. `course` where its backend tells hearing from decoding."""

    work_id: int
    recognition: Recognition
    seconds: float
    course: Course | None = None


class Cause(Enum):
    """Why a window failed."""

    MODEL = "model"
    """The model broke on it."""

    NOT_FINITE = "not finite"
    """What the model computed are no numbers."""

    OUT_OF_MEMORY = "out of memory"
    """It does not fit beside the model, even alone."""


class Failed(msgspec.Struct, frozen=True):
    """One window failed; the worker's log has what happened, `message` what a user may know of it."""

    work_id: int
    cause: Cause
    message: str = ""


class Lost(msgspec.Struct, frozen=True):
    """The device is lost to this process: the worker ends, and its windows have to be done elsewhere."""

    message: str


Event = Fetching | Loaded | Grown | LoadFailed | Started | Recognised | Failed | Lost
