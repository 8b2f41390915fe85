"""Cutting a stream of audio into windows a model can take, at quiet points.

Owns where the cuts fall and what is too short or too silent to decode. Pure numpy: no torch, no asyncio, no files.

The splitter asks a `CutChooser` for each cut. `quietest_cut` looks at energy alone; one that knows about voice activity
takes its place without a change here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from lithophone.audio.waveform import (
    SAMPLE_RATE,
    Waveform,
    samples_from_seconds,
    seconds_from_samples,
    waveform_from_pcm16,
)

MAX_WINDOW_SECONDS: Final = 30.0
MIN_MAX_WINDOW_SECONDS: Final = 3.0  # below this the smallest rest would be too short to decode
SEARCH_SHARE: Final = 1 / 3  # the cut falls within this last part of a full window: 10 s of 30
MIN_REST_SHARE: Final = 1 / 30  # and leaves at least this part behind it: 1 s of 30
MIN_SPEECH_SECONDS: Final = 0.1  # models invent words on less, and their features need 1,279 samples at most
SILENCE_PEAK_TO_PEAK: Final = 16 / 32_768  # 16 steps of 16-bit audio: a sine of -72 dBFS
SILENCE_STRIDE: Final = 61  # a prime, so that no tone hides between the samples looked at first

FRAME_SAMPLES: Final = 320  # 20 ms
PAUSE_FRAMES: Final = 12  # 240 ms: longer than the closure of a stop consonant
FLOOR_DB: Final = -80.0  # below this, quiet is quiet
PAUSE_TOLERANCE_DB: Final = 3.0
MAX_PAUSE_FRAMES: Final = 50  # of a longer pause the last second counts
EARLINESS_DB_PER_SECOND: Final = 0.5  # how much quieter an earlier point must be to be preferred


class Cut(NamedTuple):
    """Where a window ends, counted from its first sample, and how much of its end the next one hears again.

    `overlap_samples` is for a cut through speech: what lies about it can then be told from both sides.
    """

    sample: int
    overlap_samples: int = 0


CutChooser = Callable[[Waveform, int, int], Cut]
"""`(samples, earliest, latest) -> cut`, with `earliest <= cut.sample <= latest`."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A stretch of the recording.

    `samples` is float32 [samples], 16 kHz mono, read-only; `start_sample` counts from the start of the recording.
    The first `shared_before_samples` are the end of the window before, too, and the last `shared_after_samples` the
    start of the next. `speech_probability` is told by voice activity, where that was listened to; before `audible_start` and
    from `audible_stop` on there is nothing worth hearing.
    """

    start_sample: int
    samples: Waveform
    shared_before_samples: int = 0
    shared_after_samples: int = 0
    speech_probability: float | None = None
    audible_start: int = 0
    audible_stop: int | None = None

    @property
    def audible(self) -> Waveform:
        """The samples without a long silence at either end."""
        return self.samples[self.audible_start : self.audible_stop]

    @property
    def inaudible_seconds(self) -> float:
        """How far into the window that begins."""
        return seconds_from_samples(self.audible_start)

    @property
    def stop_sample(self) -> int:
        """The first sample behind the window."""
        return self.start_sample + len(self.samples)

    @property
    def start_seconds(self) -> float:
        """Where the window starts in the recording."""
        return seconds_from_samples(self.start_sample)

    @property
    def stop_seconds(self) -> float:
        """Where the window ends in the recording."""
        return seconds_from_samples(self.stop_sample)

    @property
    def duration_seconds(self) -> float:
        """How long the window lasts."""
        return seconds_from_samples(len(self.samples))


class WindowSplitter:
    """Splits audio that arrives in blocks into windows that tile it: nothing lost, and twice only what a cut shares.

    Audio up to `max_window_seconds` stays one window. Longer audio is cut within the last `search_share` of each full
    window, and every window, the last one too, lasts at least a thirtieth of it. Holds one full window, that thirtieth
    and one block at most, and each window keeps as much while it is in use: nothing is copied.

    Raises:
        ValueError: `max_window_seconds` is under 3.
    """

    def __init__(
        self,
        max_window_seconds: float = MAX_WINDOW_SECONDS,
        *,
        choose_cut: CutChooser | None = None,
        search_share: float = SEARCH_SHARE,
        start_sample: int = 0,
    ) -> None:
        if max_window_seconds < MIN_MAX_WINDOW_SECONDS:
            raise ValueError(f"windows of {max_window_seconds} s are too short")
        self._max_samples = samples_from_seconds(max_window_seconds)
        self._search_samples = samples_from_seconds(max_window_seconds * search_share)
        self._rest_samples = samples_from_seconds(max_window_seconds * MIN_REST_SHARE)
        self._choose_cut = choose_cut or _quiet_cut
        self._pending: list[Waveform] = []
        self._pending_samples = 0
        self._start_sample = start_sample
        self._shared_samples = 0

    @property
    def start_sample(self) -> int:
        """Where the next window will start in the recording."""
        return self._start_sample

    def push(self, block: bytes | Waveform) -> list[Window]:
        """Takes the next block, PCM16 bytes or float32 [samples] that stay as they are, and returns the windows it completes.

        Raises:
            ValueError: the bytes end within a sample.
        """
        samples = waveform_from_pcm16(block) if isinstance(block, bytes) else block
        self._pending.append(samples)
        self._pending_samples += len(samples)
        return list(self._cut_while_longer_than(self._max_samples + self._rest_samples))

    def finish(self) -> list[Window]:
        """The windows of what is left; the splitter is empty after it."""
        windows = list(self._cut_while_longer_than(self._max_samples))
        if self._pending_samples:
            windows.append(self._take(Cut(self._pending_samples)))
        return windows

    def open_window(self) -> Window | None:
        """What is left so far, as the window it would be if this were the end; None where there is nothing."""
        if not self._pending_samples:
            return None
        return Window(self._start_sample, self._joined(), self._shared_samples)

    def _cut_while_longer_than(self, limit_samples: int) -> Iterator[Window]:
        while self._pending_samples > limit_samples:
            latest = min(self._max_samples, self._pending_samples - self._rest_samples)
            earliest = self._max_samples - self._search_samples
            cut = self._choose_cut(self._joined()[: self._max_samples], earliest, latest)
            if not earliest <= cut.sample <= latest or not 0 <= cut.overlap_samples < cut.sample:
                raise ValueError(f"a cut at {cut} is outside of {earliest} to {latest}")
            yield self._take(cut)

    def _joined(self) -> Waveform:
        if len(self._pending) > 1:
            self._pending = [np.concatenate(self._pending)]
        return self._pending[0]

    def _take(self, cut: Cut) -> Window:
        pending = self._joined()
        samples = pending[: cut.sample]
        samples.flags.writeable = False
        window = Window(self._start_sample, samples, self._shared_samples, cut.overlap_samples)
        self._shared_samples = cut.overlap_samples
        step = cut.sample - cut.overlap_samples
        self._pending = [pending[step:]]
        self._pending_samples -= step
        self._start_sample += step
        return window


def _quiet_cut(samples: Waveform, earliest: int, latest: int) -> Cut:
    return Cut(quietest_cut(samples, earliest, latest))


def quietest_cut(samples: Waveform, earliest: int, latest: int) -> int:
    """The middle of the quietest pause between two samples, a later one before an equally quiet earlier one.

    Energy is measured in frames of 20 ms and averaged over 240 ms, so one quiet frame within a word is no pause.

    Args:
        samples: float32 [samples].
        earliest: first sample the cut may fall on.
        latest: last sample the cut may fall on, at most `len(samples)`.

    Returns:
        The cut: the window ends before this sample. The middle of a stretch too short to choose in.
    """
    frames = (latest - earliest) // FRAME_SAMPLES
    if frames < PAUSE_FRAMES:
        return (earliest + latest) // 2
    first = latest - frames * FRAME_SAMPLES
    level_db = _pause_level_db(samples[first:latest].reshape(frames, FRAME_SAMPLES))
    age_seconds = np.arange(len(level_db) - 1, -1, -1) * (FRAME_SAMPLES / SAMPLE_RATE)
    best = int(np.argmin(level_db + EARLINESS_DB_PER_SECOND * age_seconds))
    middle = _pause_middle(level_db, best) + PAUSE_FRAMES / 2
    return first + round(middle * FRAME_SAMPLES)


def _pause_level_db(frames: Waveform) -> Waveform:
    """Mean power of each run of `PAUSE_FRAMES` frames, in dB below full scale."""
    power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / FRAME_SAMPLES
    smoothed = np.convolve(power, np.full(PAUSE_FRAMES, 1 / PAUSE_FRAMES), mode="valid")
    return (10 * np.log10(np.maximum(smoothed, 10 ** (FLOOR_DB / 10)))).astype(np.float32)


def _pause_middle(level_db: Waveform, best: int) -> float:
    """The middle of the run of equally quiet positions around `best`."""
    quiet = level_db <= level_db[best] + PAUSE_TOLERANCE_DB
    left = right = best
    while right + 1 < len(quiet) and right - best < MAX_PAUSE_FRAMES // 2 and quiet[right + 1]:
        right += 1
    while left > 0 and right - left < MAX_PAUSE_FRAMES and quiet[left - 1]:
        left -= 1
    return (left + right) / 2


def is_silent(samples: Waveform) -> bool:
    """Whether there is nothing to hear: no two samples are 16 steps of 16-bit audio apart.

    That is a sine of -72 dBFS, some 10 dB over the dither of a 16-bit file and far below any usable speech. A constant
    offset counts as silence: like digital silence it gives constant features, which must not reach a model.
    """
    if len(samples) == 0:
        return True
    spread = float(np.ptp(samples[::SILENCE_STRIDE]))  # tells of nearly all sound at once
    return spread < SILENCE_PEAK_TO_PEAK and float(np.ptp(samples)) < SILENCE_PEAK_TO_PEAK


def is_too_short(samples: Waveform) -> bool:
    """Whether it is under 0.1 s, too little for any word and for the feature extractors."""
    return len(samples) < samples_from_seconds(MIN_SPEECH_SECONDS)
