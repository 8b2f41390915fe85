"""Windows by voice activity: cut where nobody speaks, and know which hold no speech at all.

Owns where the cuts fall, in pauses and between turns. Pure numpy; who computes the probabilities is none of its business.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from lithophone.audio.activity import (
    PAUSE_PROBABILITY,
    SPEECH_PROBABILITY,
    VOICE_FRAME_SAMPLES,
    Probabilities,
    find_pauses,
    speech_probability,
)
from lithophone.audio.audible import HEAD_SECONDS, audible_span
from lithophone.audio.waveform import SAMPLE_RATE, Waveform, samples_from_seconds, seconds_from_samples
from lithophone.audio.windows import Cut, Window, WindowSplitter, quietest_cut

SENTENCE_PAUSE_SECONDS: Final = 0.5  # the first this long ends a window; within a sentence few rest so long
LEAD_IN_SECONDS: Final = 0.5  # of a pause the cut falls into this last part: more only fills up windows
OVERLAP_SECONDS: Final = 2.0  # long enough to hold a whole word on either side of its middle


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """How speech is told apart from pauses where each turn shall be a window of its own; OpenAI's `server_vad`."""

    threshold: float = SPEECH_PROBABILITY
    prefix_padding_seconds: float = 0.3
    silence_seconds: float = 0.2


class VoiceTrack:
    """Probabilities of a recording as far as they are still needed, by sample."""

    def __init__(self, first_frame: int = 0) -> None:
        self._probabilities: Probabilities = np.zeros(0, np.float32)
        self._first_frame = first_frame

    def push(self, probabilities: Probabilities) -> None:
        """The next frames."""
        self._probabilities = np.concatenate([self._probabilities, probabilities])

    def between(self, start_sample: int, stop_sample: int) -> Probabilities:
        """The frames that touch a stretch."""
        start = start_sample // VOICE_FRAME_SAMPLES - self._first_frame
        stop = -(-stop_sample // VOICE_FRAME_SAMPLES) - self._first_frame
        return self._probabilities[max(start, 0) : max(stop, 0)]

    def forget(self, before_sample: int) -> None:
        """Drop the frames that end before a sample."""
        frames = before_sample // VOICE_FRAME_SAMPLES - self._first_frame
        if frames > 0:
            self._probabilities = self._probabilities[frames:]
            self._first_frame += frames


class SpeechSplitter:
    """Windows of up to `max_window_seconds`, cut in pauses; where nobody pauses, two windows share the cut's stretch.

    A full window ends in the first pause within its last `search_share` that may lie between sentences, or else in the
    longest there is: most windows then hold whole sentences, and few of them.

    Takes samples with the probabilities of the frames they complete. `first_frame` is where it starts in the recording,
    `head_seconds` how much is heard before the first voice of a window.
    """

    def __init__(
        self,
        max_window_seconds: float,
        *,
        search_share: float,
        first_frame: int = 0,
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        self._head_seconds = head_seconds
        self._track = VoiceTrack(first_frame)
        self._splitter = WindowSplitter(
            max_window_seconds,
            choose_cut=self._choose_cut,
            search_share=search_share,
            start_sample=first_frame * VOICE_FRAME_SAMPLES,
        )

    def push(self, samples: Waveform, probabilities: Probabilities) -> list[Window]:
        """The next block; returns the windows it completes."""
        self._track.push(probabilities)
        return self._told(self._splitter.push(samples))

    def finish(self, probabilities: Probabilities) -> list[Window]:
        """What is left, with the probability of the last, unfinished frame."""
        self._track.push(probabilities)
        return self._told(self._splitter.finish())

    def open_window(self) -> Window | None:
        """What no window has yet, as the window it would be if this were the end; None where there is nothing."""
        window = self._splitter.open_window()
        return None if window is None else self._with_voice(window)

    def _told(self, windows: list[Window]) -> list[Window]:
        told = [self._with_voice(window) for window in windows]
        self._track.forget(self._splitter.start_sample)
        return told

    def _with_voice(self, window: Window) -> Window:
        probabilities = self._track.between(window.start_sample, window.stop_sample)
        first = window.start_sample // VOICE_FRAME_SAMPLES * VOICE_FRAME_SAMPLES - window.start_sample
        start, stop = audible_span(probabilities, first, window.samples, self._head_seconds)
        return replace(
            window,
            speech_probability=speech_probability(probabilities),
            audible_start=start,
            audible_stop=stop,
        )

    def _choose_cut(self, samples: Waveform, earliest: int, latest: int) -> Cut:
        start = self._splitter.start_sample
        probabilities = self._track.between(start + earliest, start + latest)
        pauses = find_pauses(probabilities)
        if not pauses:
            return _cut_through_speech(samples, earliest, latest)
        first = (start + earliest) // VOICE_FRAME_SAMPLES * VOICE_FRAME_SAMPLES - start
        bounds = [
            (
                max(first + begin * VOICE_FRAME_SAMPLES, earliest),
                min(first + end * VOICE_FRAME_SAMPLES, latest),
            )
            for begin, end in pauses
        ]
        return _cut_in_pause(samples, *_best_pause(bounds))


def _best_pause(pauses: list[tuple[int, int]]) -> tuple[int, int]:
    """The first that may lie between sentences, else the longest."""
    sentence_pause = samples_from_seconds(SENTENCE_PAUSE_SECONDS)
    longest = max(pauses, key=_length)
    return next((pause for pause in pauses if _length(pause) >= sentence_pause), longest)


def _length(pause: tuple[int, int]) -> int:
    begin, end = pause
    return end - begin


def _cut_in_pause(samples: Waveform, begin: int, end: int) -> Cut:
    return Cut(quietest_cut(samples, max(begin, end - samples_from_seconds(LEAD_IN_SECONDS)), end))


def _cut_through_speech(samples: Waveform, earliest: int, latest: int) -> Cut:
    """Late in the window, and with a stretch that the next one hears again."""
    cut = quietest_cut(samples, max(earliest, latest - (latest - earliest) // 2), latest)
    return Cut(cut, min(samples_from_seconds(OVERLAP_SECONDS), cut // 2))


class TurnDetector:
    """Frame by frame: whether somebody has begun to speak, and for how long nobody has spoken since.

    Attributes:
        speaking: A turn of speech is under way.
        quiet_frames: Frames without voice in a row, up to now.
    """

    def __init__(self, threshold: float) -> None:
        self.speaking = False
        self.quiet_frames = 0
        self.threshold = threshold

    @property
    def quiet_seconds(self) -> float:
        """For how long nobody has spoken."""
        return seconds_from_samples(self.quiet_frames * VOICE_FRAME_SAMPLES)

    def take(self, probability: float) -> bool:
        """The next frame; whether a turn begins with it."""
        release = max(self.threshold - (SPEECH_PROBABILITY - PAUSE_PROBABILITY), 0.01)
        begins = not self.speaking and probability >= self.threshold
        self.speaking = self.speaking or begins
        self.quiet_frames = self.quiet_frames + 1 if probability < release else 0
        return begins

    def end_turn(self) -> None:
        """The turn is over."""
        self.speaking = False


class FramesBefore:
    """The last frames of a recording, as far as a turn that begins now takes them in.

    Args:
        padding_seconds: Of audio before the frame in which a voice is heard first.
    """

    def __init__(self, padding_seconds: float) -> None:
        self._frames: deque[tuple[Waveform, float]] = deque(maxlen=_frames(padding_seconds) + 1)

    def __len__(self) -> int:
        return len(self._frames)

    def push(self, frame: Waveform, probability: float) -> None:
        """The next frame and its probability of voice."""
        self._frames.append((frame, probability))

    def clear(self) -> None:
        """Forget them."""
        self._frames.clear()

    def of_length(self, padding_seconds: float) -> FramesBefore:
        """The same frames, as far as another padding keeps them."""
        other = FramesBefore(padding_seconds)
        other._frames.extend(self._frames)
        return other

    def take(self) -> tuple[Waveform, Probabilities]:
        """All of them, in one piece; there must be one."""
        frames, probabilities = zip(*self._frames, strict=True)
        self._frames.clear()
        return np.concatenate(frames), np.array(probabilities, np.float32)


class TurnSplitter:
    """A window for each turn of speech, from a little before it to the silence that ends it; the rest is left out.

    A turn longer than `max_window_seconds` is cut like any other long speech.
    """

    def __init__(self, max_window_seconds: float, options: TurnOptions, *, search_share: float) -> None:
        self._max_window_seconds = max_window_seconds
        self._search_share = search_share
        self._detector = TurnDetector(options.threshold)
        self._padding_seconds = options.prefix_padding_seconds
        self._silence_frames = max(1, _frames(options.silence_seconds))
        self._before = FramesBefore(options.prefix_padding_seconds)
        self._pending: Waveform = np.zeros(0, np.float32)
        self._turn: SpeechSplitter | None = None
        self._frames_seen = 0

    def push(self, samples: Waveform, probabilities: Probabilities) -> list[Window]:
        """The next block; returns the windows it completes."""
        pending = np.concatenate([self._pending, samples])
        windows: list[Window] = []
        for index, probability in enumerate(probabilities.tolist()):
            start = index * VOICE_FRAME_SAMPLES
            windows += self._take(pending[start : start + VOICE_FRAME_SAMPLES], probability)
        self._pending = pending[len(probabilities) * VOICE_FRAME_SAMPLES :]
        return windows

    def finish(self, probabilities: Probabilities) -> list[Window]:
        """What is left, with the probability of the last, unfinished frame."""
        windows = self.push(np.zeros(0, np.float32), probabilities)
        return windows if self._turn is None else [*windows, *self._end(self._turn)]

    def _take(self, frame: Waveform, probability: float) -> list[Window]:
        self._frames_seen += 1
        begins = self._detector.take(probability)
        if self._turn is None:
            self._before.push(frame, probability)
            return self._begin() if begins else []
        windows = self._turn.push(frame, np.array([probability], np.float32))
        if self._detector.quiet_frames >= self._silence_frames:
            windows += self._end(self._turn)
        return windows

    def _begin(self) -> list[Window]:
        self._turn = SpeechSplitter(
            self._max_window_seconds,
            search_share=self._search_share,
            first_frame=self._frames_seen - len(self._before),
            head_seconds=self._padding_seconds,
        )
        return self._turn.push(*self._before.take())

    def _end(self, turn: SpeechSplitter) -> list[Window]:
        self._turn = None
        self._detector.end_turn()
        return turn.finish(np.zeros(0, np.float32))


def _frames(seconds: float) -> int:
    return math.ceil(seconds * SAMPLE_RATE / VOICE_FRAME_SAMPLES)
