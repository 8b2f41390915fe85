"""A backend and a voice detector without models, for tests of everything above them.

Deterministic: what it hears is computed from the samples, so that a test can tell which window gave which text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import MappingProxyType

import msgspec
import numpy as np

from lithophone.audio.activity import VOICE_FRAME_SAMPLES, Probabilities
from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.backends.base import (
    Answer,
    BackendInfo,
    Batch,
    Fault,
    HeardAnswer,
    Hearing,
    Recognition,
    RecognitionRequest,
    Samples,
    Token,
)
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY, ModelSpec
from lithophone.granite.parsing import spoken_words
from lithophone.granite.prompts import Tags
from lithophone.granite.words import spread_words

STEP_SECONDS = 0.005
QUIET_POWER = 1e-4


def describe(request: RecognitionRequest) -> str:
    """The words the fake hears: the window's length and its peak, as numbers."""
    seconds = len(request.samples) / SAMPLE_RATE
    peak = float(abs(request.samples).max())
    return f"heard {seconds:.2f} seconds peak {peak:.2f}"


class LoudnessDetector:
    """Takes whatever is not quiet for voice."""

    def open_stream(self) -> LoudnessStream:
        """A stream at the start of a recording."""
        return LoudnessStream()


class LoudnessStream:
    """See `VoiceStream`."""

    def __init__(self) -> None:
        self._pending = np.zeros(0, np.float32)

    def push(self, samples: Samples) -> Probabilities:
        """1 for a frame louder than -40 dBFS, else 0."""
        pending = np.concatenate([self._pending, samples])
        frames = len(pending) // VOICE_FRAME_SAMPLES
        used = frames * VOICE_FRAME_SAMPLES
        self._pending = pending[used:]
        power = np.square(pending[:used]).reshape(frames, VOICE_FRAME_SAMPLES).mean(axis=1)
        return (power > QUIET_POWER).astype(np.float32)

    def finish(self) -> Probabilities:
        """The last frame, filled up with silence."""
        return self.push(np.zeros(-len(self._pending) % VOICE_FRAME_SAMPLES, np.float32))


class PlainRuntime:
    """A `Runtime` for backends with nothing beneath them; `faults` tells what some errors mean."""

    def __init__(self, faults: Mapping[type[Exception], Fault] = MappingProxyType({})) -> None:
        self.trims = 0
        self._faults = faults

    def thread(self) -> AbstractContextManager[None]:
        """Nothing to prepare."""
        return nullcontext()

    def judge(self, error: Exception) -> Fault:
        """By the error's type."""
        return self._faults.get(type(error), Fault.WINDOW)

    def trim(self) -> None:
        """Count the call."""
        self.trims += 1

    def memory_bytes(self) -> int:
        """Nothing worth counting."""
        return 0


class FakeBackend:
    """Answers `hear(request)` for every window, after `delay_seconds`, word by word. Records what it was asked.

    Where speakers are asked for, `[Speaker N]:` tags in the answer are read as the model's are.
    """

    def __init__(
        self,
        hear: Callable[[RecognitionRequest], str] = describe,
        *,
        spec: ModelSpec = FAMILY[DEMONSTRATION_ID],
        max_batch: int = 1,
        delay_seconds: float = 0.0,
    ) -> None:
        self.calls: list[tuple[RecognitionRequest, ...]] = []
        self.warm_ups = 0
        self.forgotten: list[str] = []
        self.closed = False
        self._hear = hear
        self._delay_seconds = delay_seconds
        self._info = BackendInfo(
            spec=spec, model_id=spec.id, device="cpu", dtype="float32", weight_bytes=0, max_batch=max_batch
        )

    @property
    def info(self) -> BackendInfo:
        """What is loaded."""
        return self._info

    def start_batch(self, interrupted: Callable[[], bool]) -> Batch:
        """A batch that does all that waits in one step."""
        return FakeBatch(self, interrupted)

    def forget(self, live_key: str) -> None:
        """Remember the key."""
        self.forgotten.append(live_key)

    def warm_up(self) -> None:
        """Count the call."""
        self.warm_ups += 1

    def close(self) -> None:
        """Remember that it happened."""
        self.closed = True

    def decode(self, requests: Sequence[RecognitionRequest], interrupted: Callable[[], bool]) -> list[str]:
        """What is heard in each window; takes the delay, unless it is interrupted."""
        self.calls.append(tuple(requests))
        end = time.monotonic() + self._delay_seconds
        while time.monotonic() < end and not interrupted():
            time.sleep(STEP_SECONDS)
        return [self._hear(request) for request in requests]

    def answer(self, request: RecognitionRequest, text: str) -> Recognition:
        """The result of a window from what was heard in it."""
        seconds = (len(request.samples) - request.context_samples) / SAMPLE_RATE
        words = spread_words(text, 0.0, seconds)
        if request.task.tags is Tags.SPEAKERS:
            spoken = spoken_words(text)
            text = spoken.text
            words = tuple(
                msgspec.structs.replace(word, speaker=speaker)
                for word, speaker in zip(spread_words(text, 0.0, seconds), spoken.speakers, strict=True)
            )
        pieces = [word if index == 0 else f" {word}" for index, word in enumerate(text.split())]
        return Recognition(
            text=text,
            tokens=tuple(Token(index + 1, piece, -0.25) for index, piece in enumerate(pieces)),
            prompt_tokens=8,
            audio_tokens=len(request.samples) // 1600,
            no_speech_probability=0.0 if text else 1.0,
            words=words,
        )


class FakeBatch:
    """See `Batch`."""

    def __init__(self, backend: FakeBackend, interrupted: Callable[[], bool]) -> None:
        self._backend = backend
        self._interrupted = interrupted
        self._waiting: dict[int, RecognitionRequest] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def admit(self, key: int, request: RecognitionRequest) -> None:
        """See `Batch`."""
        self._waiting[key] = request

    def drop(self, key: int) -> None:
        """See `Batch`."""
        self._waiting.pop(key, None)

    def step(self) -> list[tuple[int, Answer]]:
        """Everything that waits, and has not been dropped meanwhile."""
        heard = dict(self._waiting)
        began = time.monotonic()
        texts = self._backend.decode(list(heard.values()), self._interrupted)
        hearing = Hearing(began, time.monotonic())
        done: list[tuple[int, Answer]] = [
            (key, HeardAnswer(partial(self._backend.answer, request, text), hearing))
            for (key, request), text in zip(heard.items(), texts, strict=True)
            if key in self._waiting
        ]
        self._waiting.clear()
        return done
