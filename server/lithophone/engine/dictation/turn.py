"""One turn of a live session: its audio, what of it is to be heard, and the words told so far. Pure.

Owns the windows of the turn. A window is closed as the file route would close it, and heard once more as that route would
hear it; the one that is open is heard again and again while it grows. Samples and seconds count from the epoch, which
is where the session's voice activity began anew.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from lithophone.audio.activity import PAUSE_PROBABILITY, VOICE_FRAME_SAMPLES, Probabilities
from lithophone.audio.voice import SpeechSplitter
from lithophone.audio.waveform import Waveform, samples_from_seconds, seconds_from_samples
from lithophone.audio.windows import Window, is_silent, is_too_short
from lithophone.backends.base import LiveWindow, Recognition, RecognitionRequest
from lithophone.engine.attempts import Attempt
from lithophone.engine.dictation.options import POLICIES, DictationOptions
from lithophone.engine.dictation.telling import Agreement, Caption, Heard, HeardWord, heard_words, spaced
from lithophone.engine.repetition import is_looping
from lithophone.engine.stitching import RecognisedWindow, Stitcher
from lithophone.engine.transcript import Usage, usage_of
from lithophone.errors import ServiceError

PAUSE_SAMPLES: Final = samples_from_seconds(0.2)  # so long nobody has spoken: all that was said can be heard
CONTEXT_STEP_SAMPLES: Final = 320  # a frame of the CTC head
SURE_END: Final = 0.5  # of the model's probability that nothing follows
SURE_WORD: Final = (
    0.5  # of the CTC head's probability of the last word's letters: a word that is cut off has less
)


_NO_FRAMES: Final = np.zeros(0, np.float32)


class Update(msgspec.Struct, frozen=True, eq=False):
    """The open window as it is now, to be heard.

    Attributes:
        turn: Whose it is.
        request: What the model is asked.
        heard_samples: Where its audio ends.
        shift_seconds: From the answer's times to the epoch's.
        version: Of what was told before.
    """

    turn: Turn
    request: RecognitionRequest
    heard_samples: int
    shift_seconds: float
    version: int


class Turn:
    """A turn under way.

    Args:
        item_id: Its name.
        splitter: Cuts its audio.
        options: As they are when it begins.
        first_sample: Where its audio begins in the epoch, with a frame of the voice activity.
        epoch_seconds: Where the epoch begins in the session.

    Attributes:
        item_id: Its name.
        options: What was asked for.
        epoch_seconds: From the times of its words to those of the session.
        caption: The words told.
        usage: What its windows cost.
        samples: Its length.
        announced: Its beginning was told.
        committed: Its audio is whole.
        failure: Why it cannot be transcribed.
    """

    def __init__(
        self,
        item_id: str,
        splitter: SpeechSplitter,
        options: DictationOptions,
        *,
        first_sample: int,
        epoch_seconds: float,
    ) -> None:
        self.item_id = item_id
        self.options = options
        self.epoch_seconds = epoch_seconds
        self.caption = Caption()
        self.usage = Usage()
        self.samples = 0
        self.announced = False
        self.committed = False
        self.failure: ServiceError | None = None
        self._unheard = 0
        self._splitter = splitter
        self._policy = POLICIES[options.delay]
        self._agreement = Agreement(self._policy)
        self._stitcher = Stitcher()
        self._first_sample = first_sample
        self._voiced_until = -1
        self._frames_until = first_sample
        self._heard_until = 0
        self._hypothesis: list[HeardWord] = []
        self._version = 0
        self._updating = False
        self._finished: bool | None = None

    @property
    def start_seconds(self) -> float:
        """Where it begins in the session."""
        return self.epoch_seconds + seconds_from_samples(self._first_sample)

    @property
    def stop_seconds(self) -> float:
        """Where it ends, so far."""
        return self.start_seconds + seconds_from_samples(self.samples)

    @property
    def is_done(self) -> bool:
        """There is nothing more to hear of it."""
        return self.committed and (self._unheard == 0 or self.failure is not None)

    @property
    def has_voice(self) -> bool:
        """Somebody has spoken in it."""
        return self._voiced_until >= 0

    @property
    def finished(self) -> bool | None:
        """Whether its words sound as if nothing followed; None before all of them were heard."""
        return self._finished if self._is_settled and not self._updating else None

    @property
    def _edge(self) -> int:
        return self._first_sample + self.samples

    @property
    def _is_settled(self) -> bool:
        """The last update has heard all there is to hear."""
        return self._heard_until >= self._voiced_until + PAUSE_SAMPLES

    def hear(self, samples: Waveform, probabilities: Probabilities) -> list[Window]:
        """More audio; returns the windows it closes."""
        self.samples += len(samples)
        voiced = np.flatnonzero(probabilities >= PAUSE_PROBABILITY)
        if len(voiced):
            self._voiced_until = self._frames_until + (int(voiced[-1]) + 1) * VOICE_FRAME_SAMPLES
        self._frames_until += len(probabilities) * VOICE_FRAME_SAMPLES
        return self._closed(self._splitter.push(samples, probabilities))

    def finish(self) -> list[Window]:
        """There is no more; returns the last windows."""
        self.committed = True
        return self._closed(self._splitter.finish(_NO_FRAMES))

    def fail(self, failure: ServiceError) -> None:
        """It cannot be transcribed."""
        self.failure = failure

    def _closed(self, windows: list[Window]) -> list[Window]:
        self._unheard += len(windows)
        return windows

    def next_update(self, least_step_seconds: float) -> Update | None:
        """What is to be heard now, if anything; an update must be answered or given up before the next.

        The open window has to wait for the closed ones: words are told in their order.

        Args:
            least_step_seconds: The machine is not fast enough for shorter steps.
        """
        over = self.committed or self.failure is not None
        if over or self._updating or self._unheard or not self._is_due(least_step_seconds):
            return None
        window = self._splitter.open_window()
        if window is None or not self._holds_speech(window):
            return None
        self._heard_until = self._edge
        update = self._update(window)
        self._updating = update is not None
        return update

    def _is_due(self, least_step_seconds: float) -> bool:
        if not self.has_voice or self._is_settled:
            return False
        if self._edge - self._voiced_until >= PAUSE_SAMPLES:
            return True
        step = max(self._policy.step_seconds, least_step_seconds)
        fresh = self._edge - max(self._heard_until, self._first_sample)
        return not self._policy.at_pauses and fresh >= samples_from_seconds(step)

    def _holds_speech(self, window: Window) -> bool:
        if is_too_short(window.audible) or is_silent(window.audible):
            return False
        return (window.speech_probability or 0.0) >= self.options.voice.threshold

    def _update(self, window: Window) -> Update | None:
        first = window.start_sample + window.audible_start
        said = self.caption.since(seconds_from_samples(first))
        known = _known_samples(said, first)
        samples = window.audible
        if is_too_short(samples[known:]):
            self._hypothesis = []
            return None
        live = LiveWindow(
            key=f"{self.item_id}@{first}",
            said=tuple(token.id for heard in said for token in heard.tokens),
            expected="".join(heard.word.text for heard in self._hypothesis).strip(),
        )
        return Update(
            self,
            RecognitionRequest(
                samples=samples, task=self.options.job.task, context_samples=known, live=live, urgent=True
            ),
            self._edge,
            seconds_from_samples(first + known),
            self._version,
        )

    def updated(self, update: Update, recognition: Recognition) -> list[HeardWord]:
        """An update was answered; returns the words that stand now."""
        self._updating = False
        if self.committed or update.version != self._version or is_looping(recognition.text):
            return []
        words = heard_words(recognition, update.shift_seconds)
        live = update.request.live
        if not self.caption.is_empty and not (live and live.said):
            words = spaced(words)
        self._finished = _sounds_finished(recognition)
        self._hypothesis = words
        standing = self._agreement.standing(words, self._audio_until(update.heard_samples))
        return self.grown_old() if self._is_settled else self._tell(standing)

    def update_failed(self) -> None:
        """An update has no answer; the next one may have."""
        self._updating = False

    def grown_old(self) -> list[HeardWord]:
        """The words of the last hypothesis that stand because nothing was said since."""
        if self.committed or self._updating or not self._is_settled or not self._hypothesis:
            return []
        return self._tell(self._agreement.old_enough(self._hypothesis, self._audio_until(self._edge)))

    def _audio_until(self, heard_samples: int) -> Heard:
        voiced_samples = min(heard_samples, self._voiced_until)
        return Heard(seconds_from_samples(heard_samples), seconds_from_samples(voiced_samples))

    def _tell(self, count: int) -> list[HeardWord]:
        if count == 0:
            return []
        told = self.caption.tell(self._hypothesis[:count])
        del self._hypothesis[:count]
        self._agreement.told(count)
        self._version += 1
        return told

    def window_done(self, window: Window, attempt: Attempt) -> list[HeardWord]:
        """A closed window was heard, in its turn; returns the words told by it."""
        self._unheard -= 1
        self.usage += usage_of(attempt.recognition)
        self._forget_hypothesis()
        final = self._stitcher.push(RecognisedWindow(window, attempt))
        if self.committed and not self._unheard:
            final += self._stitcher.finish()
        elif (settled := self._stitcher.settled) is not None:
            final.append(settled)
        return [heard for recognised in final for heard in self._final(recognised)]

    def _forget_hypothesis(self) -> None:
        """What was heard of a window that is heard as a whole now; an update of it that is under way comes too late."""
        self._hypothesis = []
        self._agreement.restart()
        self._version += 1

    def _final(self, recognised: RecognisedWindow) -> list[HeardWord]:
        words = heard_words(recognised.attempt.recognition, recognised.window.start_seconds)
        rest = self.caption.following(spaced(words) if words and not self.caption.is_empty else words)
        return self.caption.tell(rest)


def _known_samples(said: list[HeardWord], first_sample: int) -> int:
    """How much of a window the words that were told take."""
    if not said:
        return 0
    samples = samples_from_seconds(said[-1].word.end_seconds) - first_sample
    return max(0, samples // CONTEXT_STEP_SAMPLES * CONTEXT_STEP_SAMPLES)


def _sounds_finished(recognition: Recognition) -> bool:
    """Whether the model says that nothing follows, and the last word is whole."""
    if not recognition.words or recognition.end_logprob is None:
        return True
    probability = recognition.words[-1].probability
    whole = probability is None or probability >= SURE_WORD
    return whole and math.exp(recognition.end_logprob) >= SURE_END
