"""A backend and a voice detector without models, for tests of everything above them.

Deterministic: what it hears is computed from the samples, so that a test can tell which window gave which text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from lithophone.audio.activity import VOICE_FRAME_SAMPLES, Probabilities
from lithophone.backends.base import BackendInfo, Recognition, RecognitionRequest, Samples, Token
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY, ModelSpec
from lithophone.granite.parsing import spoken_words
from lithophone.granite.prompts import Tags
from lithophone.granite.words import spread_words

SAMPLE_RATE = 16_000
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

    def recognise(
        self, requests: Sequence[RecognitionRequest], interrupted: Callable[[], bool]
    ) -> list[Recognition]:
        """One result a request; see the class."""
        self.calls.append(tuple(requests))
        stopped = self._wait(interrupted)
        return [self._result(request, stopped) for request in requests]

    def warm_up(self) -> None:
        """Count the call."""
        self.warm_ups += 1

    def close(self) -> None:
        """Remember that it happened."""
        self.closed = True

    def _wait(self, interrupted: Callable[[], bool]) -> bool:
        end = time.monotonic() + self._delay_seconds
        while time.monotonic() < end:
            if interrupted():
                return True
            time.sleep(STEP_SECONDS)
        return False

    def _result(self, request: RecognitionRequest, stopped: bool) -> Recognition:
        text = self._hear(request)
        seconds = (len(request.samples) - request.context_samples) / SAMPLE_RATE
        words = spread_words(text, 0.0, seconds)
        if request.task.tags is Tags.SPEAKERS:
            answer = spoken_words(text)
            text = answer.text
            words = tuple(
                msgspec.structs.replace(word, speaker=speaker)
                for word, speaker in zip(spread_words(text, 0.0, seconds), answer.speakers, strict=True)
            )
        pieces = [word if index == 0 else f" {word}" for index, word in enumerate(text.split())]
        tokens = tuple(Token(index + 1, piece, -0.25) for index, piece in enumerate(pieces))
        return Recognition(
            text=text,
            tokens=tokens,
            prompt_tokens=8,
            audio_tokens=len(request.samples) // 1600,
            no_speech_probability=0.0 if text else 1.0,
            words=words,
            interrupted=stopped,
        )
