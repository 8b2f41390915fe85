"""The contract between a worker and whatever runs a Granite model.

Owns the request and result structs and the `Backend` protocol. Knows no torch, no queue and no wire format.
A backend is used by one thread, the one that opened it; everything it is given and gives back is frozen and can be pickled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from lithophone.audio.activity import Probabilities
from lithophone.audio.waveform import seconds_from_samples
from lithophone.granite.family import ModelSpec
from lithophone.granite.prompts import Task
from lithophone.granite.words import Word

Samples = NDArray[np.float32]
"""Mono waveform, float32 [samples] in [-1, 1], 16 kHz."""


class LiveWindow(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a window that is heard again and again while its audio grows.

    Attributes:
        key: The same for every request whose samples begin as this one's do, and for no other.
        said: Tokens of the words that stand already: the model goes on behind them.
        expected: What was heard behind them the last time: a guess at what will be heard now.
    """

    key: str
    said: tuple[int, ...] = ()
    expected: str = ""


class RecognitionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One window of audio and what to do with it.

    `temperature` 0 is greedy decoding; above, tokens are sampled from the distribution at that temperature. The first
    `context_samples` were heard before, and their words are the task's `prefix_text`, or the tokens that a `live` window
    has said: the result is what follows, its times counted from there. An `urgent` window is heard before others: somebody
    is speaking.
    """

    samples: Samples
    task: Task = Task()
    temperature: float = 0.0
    context_samples: int = 0
    live: LiveWindow | None = None
    urgent: bool = False

    @property
    def seconds(self) -> float:
        """How long the audio lasts, context included."""
        return seconds_from_samples(len(self.samples))


class Token(msgspec.Struct, frozen=True):
    """An emitted token: its id, the bytes it stands for, and its natural-log probability."""

    id: int
    text: str
    logprob: float


class Recognition(msgspec.Struct, frozen=True, kw_only=True):
    """What the model heard in one window.

    Attributes:
        text: The transcript, control tokens removed, without white space at its ends; one that goes on behind words
            keeps the space in front.
        tokens: The emitted tokens without control tokens.
        prompt_tokens: Text tokens of the prompt (audio placeholders not counted).
        audio_tokens: Positions the audio took.
        no_speech_probability: Probability, by the CTC head, that the window holds no label at all:
            the product of the blank's probability over all frames.
        truncated: The token limit ended the transcript, not the model.
        words: The words of `text` with their times from the window's start; joined they are `text`.
        token_stops: For each word of a live window how many of `tokens` make the text up to its end; words that share a
            token have the same.
        end_logprob: Natural-log probability of the end, where the model said it; None where it has no word for it.
        passes: Passes of the language model this window took part in.
        drafted_tokens: Guessed tokens the language model was asked to confirm.
        accepted_tokens: Guessed tokens it confirmed.
    """

    text: str
    tokens: tuple[Token, ...]
    prompt_tokens: int
    audio_tokens: int
    no_speech_probability: float
    truncated: bool = False
    words: tuple[Word, ...] = ()
    token_stops: tuple[int, ...] = ()
    end_logprob: float | None = None
    passes: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0


Answer = Callable[[], Recognition]
"""Makes the result of a window that was decoded: plain work of the processor, which needs no model, once and on any thread.

Raises `NotFiniteError` where the model's numbers were none.
"""


class Hearing(msgspec.Struct, frozen=True):
    """When the encoder had a window before it, in seconds of this process' `time.monotonic`."""

    began: float
    ended: float


class HeardAnswer(msgspec.Struct, frozen=True):
    """An `Answer` of a backend that knows when the window was heard, whatever was done before and behind that."""

    make: Answer
    hearing: Hearing

    def __call__(self) -> Recognition:
        """See `Answer`."""
        return self.make()


class NotFiniteError(Exception):
    """A window's probabilities are not numbers: an overflow of the dtype, or damaged weights."""


def not_finite(model_id: str, dtype: str) -> NotFiniteError:
    """The error for a model that computes in `dtype`; says what to do."""
    return NotFiniteError(f"{model_id} computed numbers that are not finite in {dtype}: {remedy(dtype)}")


def remedy(dtype: str) -> str:
    """What to do about numbers that are not finite."""
    if dtype == "float32":
        return "the checkpoint is damaged"
    return f"{dtype} may not suffice for it (try --dtype float32), or the checkpoint is damaged"


class Fault(Enum):
    """What an error of a backend means for what comes next."""

    WINDOW = "window"
    """This window or this batch: the next may do well."""

    OUT_OF_MEMORY = "out of memory"
    """So many windows at a time do not fit."""

    DEVICE_LOST = "device lost"
    """Nothing will run in this process any more."""


class BackendInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is loaded, for logs, `/ready` and `/v1/models`. `revision` is the commit on the hub, where it is from there."""

    spec: ModelSpec
    model_id: str
    device: str
    dtype: str
    weight_bytes: int
    max_batch: int
    revision: str | None = None


class Batch(Protocol):
    """Windows that are being transcribed together; they join and leave between any two steps."""

    def __len__(self) -> int:
        """Windows that are not done."""
        ...

    def admit(self, key: int, request: RecognitionRequest) -> None:
        """Let a window join under a name of the caller's; it begins with one of the next steps."""
        ...

    def drop(self, key: int) -> None:
        """Forget a window, if it is there; nothing is reported about it."""
        ...

    def step(self) -> list[tuple[int, Answer]]:
        """Move every window on a little; returns those that are decoded."""
        ...


class Backend(Protocol):
    """A loaded model."""

    @property
    def info(self) -> BackendInfo:
        """What is loaded."""
        ...

    def start_batch(self, interrupted: Callable[[], bool]) -> Batch:
        """A new, empty batch; one at a time is in use.

        `interrupted` is asked inside of a step that takes long; it may drop windows, and once it says yes the step ends
        soon.
        """
        ...

    def forget(self, live_key: str) -> None:
        """Give back what is kept of a live window, if anything is: it has grown for the last time."""
        ...

    def warm_up(self) -> None:
        """Run once through every path, so that the first real request is as fast as the next.

        Raises:
            NotFiniteModelError: what comes out are no numbers.
        """
        ...

    def close(self) -> None:
        """Give the memory back. The backend is unusable afterwards."""
        ...


class Runtime(Protocol):
    """What the library beneath a backend asks of the thread that runs it, and what its errors mean."""

    def thread(self) -> AbstractContextManager[None]:
        """Around everything that the thread does."""
        ...

    def judge(self, error: Exception) -> Fault:
        """What an error of a backend means."""
        ...

    def trim(self) -> None:
        """Give back what is kept for speed alone, after memory ran out."""
        ...

    def memory_bytes(self) -> int:
        """The most memory that was in use until now: on the device, or of this process where the model runs on the CPU."""
        ...


class VoiceStream(Protocol):
    """Voice activity of one recording; used by one thread at a time."""

    def push(self, samples: Samples) -> Probabilities:
        """Probability of voice in each frame of 512 samples that `samples` completes, float32 [frames]."""
        ...

    def finish(self) -> Probabilities:
        """Probability of the last, unfinished frame, if there is one."""
        ...


class VoiceDetector(Protocol):
    """A loaded model of voice activity. It is small: it stays while the speech model comes and goes."""

    def open_stream(self) -> VoiceStream:
        """A stream at the start of a recording; streams do not disturb each other."""
        ...
