"""Two windows that heard the same stretch: which words to take from which.

Owns the seam, and which windows are final. Pure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from lithophone.audio.waveform import seconds_from_samples
from lithophone.audio.windows import Window
from lithophone.backends.base import Recognition
from lithophone.engine.attempts import Attempt
from lithophone.engine.segmentation import share_tokens
from lithophone.granite.words import Word, moved

SAME_WORD_SECONDS: Final = 0.3  # how far apart two windows may place the middle of one word


class RecognisedWindow(NamedTuple):
    """A window and what was recognised in it."""

    window: Window
    attempt: Attempt


class Stitcher:
    """Takes windows in their order; one that shares its end with the next is final when that one is there."""

    def __init__(self) -> None:
        self._held: RecognisedWindow | None = None

    def push(self, recognised: RecognisedWindow) -> list[RecognisedWindow]:
        """The windows that are final now."""
        final: list[RecognisedWindow] = []
        if self._held is not None:
            first, recognised = _stitch(self._held, recognised)
            final.append(first)
        self._held = recognised if recognised.window.shared_after_samples else None
        return final if self._held is not None else [*final, recognised]

    @property
    def settled(self) -> RecognisedWindow | None:
        """The window that waits for the next one, without what that one will hear too."""
        if self._held is None:
            return None
        window, recognition = self._held.window, self._held.attempt.recognition
        alone_seconds = window.duration_seconds - seconds_from_samples(window.shared_after_samples)
        return _keep(self._held, 0, sum(word.middle_seconds < alone_seconds for word in recognition.words))

    def finish(self) -> list[RecognisedWindow]:
        """What still waited for a next window."""
        held, self._held = self._held, None
        return [] if held is None else [held]


def _stitch(first: RecognisedWindow, second: RecognisedWindow) -> tuple[RecognisedWindow, RecognisedWindow]:
    """Both without what the other tells better."""
    start = second.window.start_seconds
    seam = find_seam(
        [moved(word, first.window.start_seconds) for word in first.attempt.recognition.words],
        [moved(word, start) for word in second.attempt.recognition.words],
        start,
        start + seconds_from_samples(second.window.shared_before_samples),
    )
    return _keep(first, 0, seam.kept), _keep(second, seam.dropped, len(second.attempt.recognition.words))


def _keep(recognised: RecognisedWindow, start: int, stop: int) -> RecognisedWindow:
    attempt = recognised.attempt
    kept = keep_words(attempt.recognition, start, stop)
    return recognised._replace(attempt=attempt._replace(recognition=kept))


class Seam(NamedTuple):
    """The first window keeps its first `kept` words, the second loses its first `dropped`."""

    kept: int
    dropped: int


def find_seam(
    first: Sequence[Word], second: Sequence[Word], start_seconds: float, stop_seconds: float
) -> Seam:
    """Where to pass from one window to the next, in the stretch both heard.

    The seam lies behind a word that both heard at the same time, the one nearest to the middle of the stretch: there a
    little disagreement about times neither loses nor doubles a word. Where they agree on none, each word goes to
    the side of the middle its own middle is on. A window without words has nothing to say about the other's.
    """
    if not first or not second:
        return Seam(len(first), 0)
    centre = (start_seconds + stop_seconds) / 2
    agreed = [
        (abs(word.middle_seconds - centre), index, other)
        for index, word in enumerate(first)
        if start_seconds - SAME_WORD_SECONDS <= word.middle_seconds <= stop_seconds + SAME_WORD_SECONDS
        and (other := counterpart(word, second)) is not None
    ]
    if agreed:
        _, index, other = min(agreed)
        return Seam(index + 1, other + 1)
    return Seam(
        sum(word.middle_seconds < centre for word in first),
        sum(word.middle_seconds < centre for word in second),
    )


def counterpart(word: Word, others: Sequence[Word]) -> int | None:
    """The word of the other window at the same time, if it is the same word."""
    nearest = min(
        range(len(others)), key=lambda index: abs(others[index].middle_seconds - word.middle_seconds)
    )
    other = others[nearest]
    near = abs(other.middle_seconds - word.middle_seconds) <= SAME_WORD_SECONDS
    return nearest if near and _bare(other.text) == _bare(word.text) else None


def _bare(text: str) -> str:
    """A word without case, punctuation and spaces; just the marks where there is nothing else."""
    letters = "".join(c for c in text.casefold() if unicodedata.category(c)[0] in "LMNS")
    return letters or text.strip()


def keep_words(recognition: Recognition, start: int, stop: int) -> Recognition:
    """The recognition with the words from `start` up to `stop` alone, and their tokens."""
    words = recognition.words
    _, tokens, _ = share_tokens(recognition.tokens, [words[:start], words[start:stop], words[stop:]])
    text = "".join(word.text for word in words[start:stop])
    kept = tuple(words[start:stop])
    if kept:
        kept = (msgspec.structs.replace(kept[0], text=kept[0].text.lstrip()), *kept[1:])
    return msgspec.structs.replace(recognition, text=text.strip(), words=kept, tokens=tokens)
