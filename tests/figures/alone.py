"""The utterances of a long recording, sent one by one.

Owns what "alone" means, in two ways: the clip as it is in its file, and the utterance as it lies in the recording, with half of
the pause on either side. The second differs from the long recording in nothing but its windows: the same model heard with
another tenth of a second of quiet before a clip gets other words wrong, so the clip files tell what the model can, and the
excerpts what windows cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import soundfile

from tests.figures.asking import HeardWord, transcribe
from tests.figures.recording import Utterance

Heard = Sequence[HeardWord]


def clips_alone(url: str, utterances: Sequence[Utterance]) -> list[Heard]:
    """What is heard in each utterance's clip, in seconds of the recording; every file is sent once."""
    heard: dict[Path, Heard] = {}
    for utterance in utterances:
        path = utterance.clip.path
        if path not in heard:
            heard[path] = transcribe(url, path).words
    return [_moved(heard[utterance.clip.path], utterance.origin) for utterance in utterances]


def excerpts_alone(
    url: str, recording: Path, utterances: Sequence[Utterance], folder: Path
) -> Iterator[Heard]:
    """What is heard in each utterance as it lies in the recording, in seconds of it."""
    path = folder / "excerpt.flac"
    with soundfile.SoundFile(recording) as file:
        length = file.frames / file.samplerate
        for start, stop in pairwise(_bounds(utterances, length)):
            first, last = int(start * file.samplerate), int(stop * file.samplerate)
            file.seek(first)
            soundfile.write(path, file.read(last - first, dtype="int16"), file.samplerate)
            yield _moved(transcribe(url, path).words, first / file.samplerate)


def _bounds(utterances: Sequence[Utterance], length: float) -> list[float]:
    """From the recording's start over the middles of the pauses to its end."""
    return [0.0, *((before.end + after.start) / 2 for before, after in pairwise(utterances)), length]


def _moved(words: Heard, seconds: float) -> Heard:
    return [HeardWord(word.text, word.start + seconds, word.end + seconds) for word in words]
