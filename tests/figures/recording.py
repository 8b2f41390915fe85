"""Long recordings made of known utterances.

Owns which utterances there are, in what order they come, what lies between them and what is known about each: its text,
where it lies and, where the synthesiser told, its words. Everything streams: a recording of any length is never whole in memory.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import soundfile

from examples.train_tiny.corpus import held_out_speakers, human_table
from lithophone.audio.decode import bundled_ffmpeg
from lithophone.audio.waveform import (
    SAMPLE_RATE,
    Waveform,
    pcm16_from_waveform,
    samples_from_seconds,
    seconds_from_samples,
)

SPEECH: Final = Path(__file__).resolve().parents[2] / "examples" / "speech"
PAUSE_SECONDS: Final = (0.2, 1.5)
RUN_ON_SHARE: Final = 0.02  # of the utterances that begin a stretch without pauses
RUN_ON_CLIPS: Final = (5, 9)
EDGE_FRAME: Final = 160  # 10 ms
SPEECH_BELOW_PEAK: Final = 0.03  # -30 dB: what is quieter at a clip's ends is no speech
ROOM_SECONDS: Final = 0.1
ENCODERS: Final = {
    ".ogg": ("-c:a", "libopus", "-b:a", "32k"),
    ".flac": ("-c:a", "flac"),
    ".wav": ("-c:a", "pcm_s16le"),
}


class KnownWord(msgspec.Struct, frozen=True):
    """A word and when it is said, in seconds. `exact`: the synthesiser said so; else shared out over the utterance."""

    text: str
    start: float
    end: float
    exact: bool = True

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording of one utterance; `words` count from its start and are empty where nobody knows their times."""

    path: Path
    text: str
    words: tuple[KnownWord, ...] = ()


@dataclass(frozen=True, slots=True)
class Utterance:
    """A clip's place in a long recording, in seconds of it; `origin` is where the clip's first sample is or would be.

    `followed_closely`: there is no pause behind it.
    """

    clip: Clip
    origin: float
    start: float
    end: float
    words: tuple[KnownWord, ...]
    followed_closely: bool = False


class _ManifestWord(msgspec.Struct):
    word: str
    start: float
    end: float


class _ManifestRow(msgspec.Struct):
    file: str
    text: str
    kind: str
    words: list[_ManifestWord]


def manifest_clips(folder: Path, kinds: Iterable[str]) -> list[Clip]:
    """The clips of some kinds (`short`, `noisy`, `long`) of the spoken test set."""
    lines = (folder / "manifest.jsonl").read_bytes().splitlines()
    rows = [msgspec.json.decode(line, type=_ManifestRow) for line in lines]
    return [
        Clip(
            folder / row.file,
            row.text,
            tuple(KnownWord(word.word, word.start, word.end) for word in row.words),
        )
        for row in rows
        if row.kind in set(kinds)
    ]


def human_clips(table: Path) -> list[Clip]:
    """The recordings of the people the embedded model was not trained on, of a table of human speech."""
    clips = human_table(table)
    held_out = held_out_speakers(clips)
    return [Clip(clip.path, clip.text) for clip in clips if clip.speaker in held_out]


@lru_cache(maxsize=128)
def samples_of(path: Path) -> Waveform:
    """A sound file, float32 [samples], 16 kHz mono.

    Raises:
        ValueError: it has another rate or more channels.
    """
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise ValueError(f"{path.name} is not 16 kHz mono")
    return np.asarray(samples, np.float32)


def spoken_part(samples: Waveform) -> tuple[int, int]:
    """Where speech begins and ends, by its level, as samples."""
    frames = len(samples) // EDGE_FRAME
    level = np.abs(samples[: frames * EDGE_FRAME]).reshape(frames, EDGE_FRAME).max(axis=1)
    loud = np.flatnonzero(level > SPEECH_BELOW_PEAK * level.max())
    return int(loud[0]) * EDGE_FRAME, min((int(loud[-1]) + 1) * EDGE_FRAME, len(samples))


def room_tone(samples: Waveform, length: int) -> Waveform:
    """So much of what is heard in a clip when nobody speaks: its quietest tenth of a second, forth and back again."""
    size = samples_from_seconds(ROOM_SECONDS)
    power = np.convolve(samples**2, np.full(size, 1 / size, np.float32), mode="valid")
    start = int(power.argmin())
    quiet = samples[start : start + size]
    both = np.concatenate([quiet, quiet[::-1]])
    return np.resize(both, length)


class Composer:
    """Utterances in a shuffled order that repeats, with pauses, and now and then a stretch without any.

    The first and the last utterance have words of known times, if any clip has.
    """

    def __init__(
        self, clips: Sequence[Clip], seconds: float, seed: int, *, run_on_share: float = RUN_ON_SHARE
    ) -> None:
        self._clips = clips
        self._run_on_share = run_on_share
        self._limit = samples_from_seconds(seconds)
        self._rng = random.Random(seed)  # noqa: S311 - shuffles recordings
        self._length = 0
        self.utterances: list[Utterance] = []

    def blocks(self) -> Iterator[Waveform]:
        """The recording, piece by piece; `utterances` tells what was in the pieces so far."""
        timed = [clip for clip in self._clips if clip.words] or list(self._clips)
        last = self._rng.choice(timed)
        room_for_last = len(samples_of(last.path)) + samples_from_seconds(PAUSE_SECONDS[1])
        run_on = 0
        for clip in self._order(timed):
            samples = samples_of(clip.path)
            if self._length + len(samples) + room_for_last > self._limit:
                break
            run_on = max(run_on - 1, 0) or self._begin_run_on()
            yield from self._say(clip, pause=run_on == 0)
        yield from self._say(last, pause=True)

    def _order(self, timed: Sequence[Clip]) -> Iterator[Clip]:
        yield self._rng.choice(timed)
        while True:
            yield from self._rng.sample(self._clips, len(self._clips))

    def _begin_run_on(self) -> int:
        return self._rng.randint(*RUN_ON_CLIPS) if self._rng.random() < self._run_on_share else 0

    def _say(self, clip: Clip, *, pause: bool) -> Iterator[Waveform]:
        samples = samples_of(clip.path)
        begin, end = spoken_part(samples) if not pause else (0, len(samples))
        moved = seconds_from_samples(self._length - begin)
        self.utterances.append(_placed(clip, samples, moved, closely=not pause))
        yield self._counted(samples[begin:end])
        if pause:
            yield self._counted(room_tone(samples, samples_from_seconds(self._rng.uniform(*PAUSE_SECONDS))))

    def _counted(self, samples: Waveform) -> Waveform:
        self._length += len(samples)
        return samples


def _placed(clip: Clip, samples: Waveform, moved: float, *, closely: bool) -> Utterance:
    begin, end = (seconds_from_samples(edge) + moved for edge in spoken_part(samples))
    words = tuple(moved_word(word, moved) for word in clip.words) or spread(clip.text, begin, end)
    return Utterance(clip, moved, begin, end, words, closely)


def moved_word(word: KnownWord, moved: float) -> KnownWord:
    """The word, that much later."""
    return msgspec.structs.replace(word, start=word.start + moved, end=word.end + moved)


def spread(text: str, start: float, end: float) -> tuple[KnownWord, ...]:
    """The words of a text shared out over a stretch by their lengths."""
    words = text.split()
    bounds = start + (end - start) * np.cumsum([0, *(len(word) + 1 for word in words)]) / (len(text) + 1)
    return tuple(
        KnownWord(word, float(bounds[i]), float(bounds[i + 1]), exact=False) for i, word in enumerate(words)
    )


def write(path: Path, blocks: Iterable[Waveform]) -> None:
    """Encode a recording as what the file's suffix says (`.ogg` is Opus), piece by piece.

    Raises:
        RuntimeError: the encoder failed.
    """
    command = [
        *(bundled_ffmpeg(), "-hide_banner", "-loglevel", "error", "-y"),
        *("-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-i", "pipe:0"),
        *(*ENCODERS[path.suffix], str(path)),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        if encoder.stdin is None:
            raise RuntimeError("the encoder has no input")
        for block in blocks:
            encoder.stdin.write(pcm16_from_waveform(block))
        encoder.stdin.close()
    if encoder.returncode:
        raise RuntimeError(f"ffmpeg ended with {encoder.returncode}")
