"""Who speaks in a recording of several windows.

Owns the numbers of the speakers. The model numbers the speakers of each audio it is given by their first appearance; what
was heard of late goes before each window, with its words as the beginning of the answer, so that a voice keeps its number.
Pure. Source of the mechanism: the card of granite-speech-4.1-2b-plus (incremental decoding).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from lithophone.audio.waveform import samples_from_seconds, seconds_from_samples
from lithophone.audio.windows import Window
from lithophone.backends.base import Recognition, Samples
from lithophone.granite.parsing import tag_speakers
from lithophone.granite.words import Word

CONTEXT_SECONDS: Final = 60.0
"""How much of what went before is heard again. A speaker who was silent for longer comes back as a new one."""


class Context(NamedTuple):
    """What was heard before a window, and its words as the model would write them."""

    samples: Samples
    text: str


class _Past(NamedTuple):
    samples: Samples
    words: tuple[Word, ...]


class Conversation:
    """Asked and told window by window, in their order."""

    def __init__(self, context_seconds: float = CONTEXT_SECONDS) -> None:
        self._limit = samples_from_seconds(context_seconds)
        self._past: deque[_Past] = deque()
        self._speakers = 0
        self._local: list[int] = []

    def before(self, window: Window) -> Context:
        """What to let the model hear again in front of the window; the two do not overlap."""
        self._forget(window.shared_before_samples)
        words = [word for part in self._past for word in part.words]
        self._local = list(dict.fromkeys(word.speaker for word in words if word.speaker is not None))
        numbered = [
            msgspec.structs.replace(word, speaker=self._local.index(word.speaker) + 1)
            for word in words
            if word.speaker is not None
        ]
        samples = [part.samples for part in self._past]
        return Context(
            np.concatenate(samples) if samples else np.zeros(0, np.float32), tag_speakers(numbered)
        )

    def add(self, window: Window, recognition: Recognition) -> Recognition:
        """The recognition of a window that came behind `before(window)`, its speakers numbered as in the recording."""
        words = self._renumbered(recognition.words)
        kept = (
            (msgspec.structs.replace(words[0], text=f" {words[0].text.lstrip()}"), *words[1:])
            if words
            else ()
        )
        self._past.append(_Past(window.audible, kept))
        return msgspec.structs.replace(recognition, words=words)

    def _forget(self, shared_samples: int) -> None:
        """Keep what fits, and of the last window only what the next does not hear itself."""
        if self._past and shared_samples:
            last = self._past.pop()
            kept = last.samples[: len(last.samples) - shared_samples]
            seconds = seconds_from_samples(len(kept))
            self._past.append(_Past(kept, tuple(w for w in last.words if w.middle_seconds < seconds)))
        total = sum(len(part.samples) for part in self._past)
        while self._past and total > self._limit:
            total -= len(self._past.popleft().samples)

    def _renumbered(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """From the model's numbers to the recording's; words before the first tag go on from the last speaker."""
        last = next((w.speaker for part in reversed(self._past) for w in reversed(part.words)), None)
        renumbered: list[Word] = []
        for word in words:
            if word.speaker is not None or last is None:
                last = self._number(1 if word.speaker is None else word.speaker)
            renumbered.append(msgspec.structs.replace(word, speaker=last))
        return tuple(renumbered)

    def _number(self, local: int) -> int:
        """The recording's number of the model's; the model counts on where somebody new speaks."""
        while len(self._local) < local:
            self._speakers += 1
            self._local.append(self._speakers)
        return self._local[local - 1]
