"""What of a window a model hears: all of it, but for silence long before the first voice or behind the last.

The same words shall be heard alike wherever in a recording they stand: with another hundredth of a second in front of
them a model may get another word wrong. A voice detector notices a voice now earlier, now later, by what it heard before;
so what is heard is counted from the very samples at which sound begins and ends.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lithophone.audio.activity import SPEECH_FRAMES, VOICE_FRAME_SAMPLES, Probabilities, voiced_stretches
from lithophone.audio.waveform import Waveform, samples_from_seconds

HEAD_SECONDS: Final = 0.12  # of the silence before the first sound so much is heard: more of it costs words
TAIL_SECONDS: Final = 0.12  # of the silence behind the last: models make words of more
SOUND_SAMPLES: Final = 80  # 5 ms
SOUND_POWER_SHARE: Final = 4e-4  # of the loudest sample's power, -34 dB: from here on 5 ms are sound
NOTICED_LATE_SECONDS: Final = 0.5  # a voice that begins softly, with an s: so long it may be taken for none
LATEST_START_SECONDS: Final = 0.1  # behind where it is noticed; below `HEAD_SECONDS`, or some went unheard
LINGERING_SECONDS: Final = 0.25  # and it is still told after its end: by a tenth of a second, mostly
UNTOLD_SECONDS: Final = 0.2  # where sound does not tell, in noise: so much of what came before is heard
CLOSURE_SAMPLES: Final = 2400  # 0.15 s: a longer gap in a sound is none within a word
SURE_PROBABILITY: Final = 0.95  # even a short word comes this far, a breath or a click seldom
FAINT_POWER_SHARE: Final = 1e-2  # -20 dB: of the power of the window's loudest frame


def audible_span(
    probabilities: Probabilities, first_sample: int, samples: Waveform, head_seconds: float = HEAD_SECONDS
) -> tuple[int, int]:
    """Which samples of a window to hear.

    Args:
        probabilities: Of the frames that touch the window.
        first_sample: Where the first of them begins, counted from the window's start.
        samples: The window.
        head_seconds: How much of the silence before the first sound to hear.
    """
    voiced = _without_breaths(probabilities, first_sample, samples)
    if voiced is None:
        return 0, len(samples)
    voice_start = max(0, first_sample + voiced[0] * VOICE_FRAME_SAMPLES)
    voice_stop = min(first_sample + voiced[1] * VOICE_FRAME_SAMPLES, len(samples))
    sound_power = float(np.abs(samples).max()) ** 2 * SOUND_POWER_SHARE
    begin = _sound_begins(samples, voice_start, LATEST_START_SECONDS, sound_power)
    end = len(samples) - _sound_begins(
        samples[::-1], len(samples) - voice_stop, LINGERING_SECONDS, sound_power
    )
    return (
        max(0, begin - samples_from_seconds(head_seconds)),
        min(len(samples), end + samples_from_seconds(TAIL_SECONDS)),
    )


def _without_breaths(
    probabilities: Probabilities, first_sample: int, samples: Waveform
) -> tuple[int, int] | None:
    """The frames from the first voice to behind the last; a breath or a click that stands apart at either end is none.

    The detector takes such a thing for voice or not by what it heard before: it is brief, faint, and never surely one.
    """
    stretches = voiced_stretches(probabilities)
    doubtful = [
        (start, stop)
        for start, stop in stretches
        if stop - start < SPEECH_FRAMES and probabilities[start:stop].max() < SURE_PROBABILITY
    ]
    if doubtful:
        powers = _frame_powers(samples, first_sample, len(probabilities))
        faint = FAINT_POWER_SHARE * powers.max()
        breaths = [(start, stop) for start, stop in doubtful if powers[start:stop].max() < faint]
        stretches = [stretch for stretch in stretches if stretch not in breaths] or stretches
    return (stretches[0][0], stretches[-1][1]) if stretches else None


def _frame_powers(samples: Waveform, first_sample: int, frames: int) -> Waveform:
    """Mean power of each frame; what lies outside of the window counts as silence."""
    whole = np.zeros(frames * VOICE_FRAME_SAMPLES, np.float32)
    inside = samples[max(0, first_sample) : first_sample + len(whole)]
    begin = max(0, -first_sample)
    whole[begin : begin + len(inside)] = inside
    return np.square(whole.reshape(frames, -1)).mean(axis=1)


def _sound_begins(samples: Waveform, voice_start: int, latest_seconds: float, power: float) -> int:
    """The first sample of the sound that a voice was noticed in: of its first `SOUND_SAMPLES` with more than that mean power.

    Where sound goes further back than is looked for, or there is none, a little before the voice was noticed.
    """
    low = max(0, voice_start - samples_from_seconds(NOTICED_LATE_SECONDS))
    high = voice_start + samples_from_seconds(latest_seconds)
    sums = np.cumsum(np.square(samples[low:high], dtype=np.float64))
    sounding = np.flatnonzero(sums[SOUND_SAMPLES:] - sums[:-SOUND_SAMPLES] > power * SOUND_SAMPLES)
    first = int(sounding[_behind_last(np.diff(sounding) > CLOSURE_SAMPLES)]) if len(sounding) else 0
    if not len(sounding) or (first == 0 and low > 0):
        return max(0, voice_start - samples_from_seconds(UNTOLD_SECONDS))
    return low + first + 1


def _behind_last(marks: NDArray[np.bool_]) -> int:
    """The place behind the last mark, 0 if there is none."""
    marked = np.flatnonzero(marks)
    return int(marked[-1]) + 1 if len(marked) else 0
