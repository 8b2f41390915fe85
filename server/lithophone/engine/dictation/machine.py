"""The machine of a live session: audio and commands in, events out, and the windows it wants heard. Pure.

Owns the session's clock, its turns and the order of its items: each committed item is completed or failed once, in the
order of the commits. Knows no socket, no model and no time but that of the audio.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from lithophone.audio.activity import VOICE_FRAME_SAMPLES, Probabilities
from lithophone.audio.voice import FramesBefore, SpeechSplitter, TurnDetector
from lithophone.audio.waveform import Waveform, seconds_from_samples
from lithophone.audio.windows import Window
from lithophone.backends.base import Recognition
from lithophone.engine.attempts import Attempt
from lithophone.engine.dictation.events import (
    Cleared,
    Committed,
    Completed,
    Delta,
    DictationEvent,
    Failed,
    NothingToCommit,
    SpeechStarted,
    SpeechStopped,
)
from lithophone.engine.dictation.options import DictationOptions
from lithophone.engine.dictation.telling import HeardWord
from lithophone.engine.dictation.turn import Turn, Update
from lithophone.errors import ServiceError
from lithophone.granite.words import moved

_NOTHING = np.zeros(0, np.float32)


class ClosedWindow(msgspec.Struct, frozen=True, eq=False):
    """A window of a turn that is to be heard as the file route would hear it."""

    turn: Turn
    window: Window


class Dictation:
    """A live session.

    Audio comes as samples together with the probabilities of voice of the frames they complete. Voice activity begins anew
    behind each `commit` and `clear`: the next samples are the first of an epoch.

    Args:
        options: What is asked for until `configure` says otherwise.
        new_id: Names items.

    Attributes:
        options: What is asked for.
    """

    def __init__(self, options: DictationOptions, new_id: Callable[[], str]) -> None:
        self.options = options
        self._new_id = new_id
        self._samples = 0
        self._epoch_samples = 0
        self._frames = 0
        self._pending: Waveform = _NOTHING
        self._detector = TurnDetector(options.voice.threshold)
        self._before = FramesBefore(options.voice.prefix_padding_seconds)
        self._turn: Turn | None = None
        self._committed: deque[Turn] = deque()
        self._closed: deque[ClosedWindow] = deque()
        self._last_item_id: str | None = None

    @property
    def seconds(self) -> float:
        """The audio heard so far."""
        return seconds_from_samples(self._samples)

    @property
    def unfinished(self) -> int:
        """Committed items that are neither completed nor failed."""
        return len(self._committed)

    @property
    def waiting_seconds(self) -> float:
        """Audio of closed windows that nobody has taken to be heard."""
        return sum(closed.window.duration_seconds for closed in self._closed)

    def configure(self, options: DictationOptions) -> list[DictationEvent]:
        """From now on; a turn that is under way goes on as it began, and ends as the new options say."""
        was, self.options = self.options, options
        if options.voice != was.voice:
            self._detector.threshold = options.voice.threshold
            self._before = self._before.of_length(options.voice.prefix_padding_seconds)
        if was.turns is None and options.turns is not None:
            return self._await_silence()
        return []

    def _await_silence(self) -> list[DictationEvent]:
        """A turn that would have ended with a commit alone becomes one that silence ends."""
        if self._turn is None:
            return []
        if not self._turn.has_voice:
            self._discard()
            return []
        self._detector.speaking = True
        return [self._announced(self._turn)]

    def hear(self, samples: Waveform, probabilities: Probabilities) -> list[DictationEvent]:
        """More audio."""
        self._samples += len(samples)
        pending = np.concatenate([self._pending, samples])
        used = len(probabilities) * VOICE_FRAME_SAMPLES
        frames, self._pending = pending[:used].reshape(-1, VOICE_FRAME_SAMPLES), pending[used:]
        events: list[DictationEvent] = []
        for frame, probability in zip(frames, probabilities.tolist(), strict=True):
            events += self._hear_frame(frame, probability)
        if self._turn is not None:
            events += _told(self._turn, self._turn.grown_old())
        return events

    def _hear_frame(self, frame: Waveform, probability: float) -> list[DictationEvent]:
        self._frames += 1
        begins = self._detector.take(probability)
        if self._turn is None:
            self._before.push(frame, probability)
            return self._begin() if begins or self.options.turns is None else []
        self._close(self._turn, self._turn.hear(frame, np.array([probability], np.float32)))
        silence = self.options.silence_seconds(finished=self._turn.finished)
        return self._end_by_silence(self._turn) if self._detector.quiet_seconds >= silence else []

    def _begin(self) -> list[DictationEvent]:
        """A turn of the frames that were kept; one that silence will end is told of."""
        turn = self._open_turn(self._frames - len(self._before))
        self._close(turn, turn.hear(*self._before.take()))
        return [] if self.options.turns is None else [self._announced(turn)]

    def _open_turn(self, first_frame: int) -> Turn:
        padding = (
            {} if self.options.turns is None else {"head_seconds": self.options.voice.prefix_padding_seconds}
        )
        splitter = SpeechSplitter(
            self.options.spec.max_window_seconds,
            search_share=self.options.spec.pause_search_share,
            first_frame=first_frame,
            **padding,
        )
        self._turn = Turn(
            self._new_id(),
            splitter,
            self.options,
            first_sample=first_frame * VOICE_FRAME_SAMPLES,
            epoch_seconds=seconds_from_samples(self._epoch_samples),
        )
        return self._turn

    def _announced(self, turn: Turn) -> SpeechStarted:
        turn.announced = True
        return SpeechStarted(turn.item_id, turn.start_seconds)

    def _close(self, turn: Turn, windows: Sequence[Window]) -> None:
        if turn.failure is None:
            self._closed += [ClosedWindow(turn, window) for window in windows]

    def _end_by_silence(self, turn: Turn) -> list[DictationEvent]:
        self._detector.end_turn()
        stopped = [SpeechStopped(turn.item_id, turn.stop_seconds)] if turn.announced else []
        return [*stopped, *self._commit(turn)]

    def _commit(self, turn: Turn) -> list[DictationEvent]:
        self._turn = None
        self._close(turn, turn.finish())
        self._committed.append(turn)
        previous, self._last_item_id = self._last_item_id, turn.item_id
        return [Committed(turn.item_id, previous), *self._settled()]

    def commit(self, last: Probabilities) -> list[DictationEvent]:
        """The client says that the audio is whole.

        Args:
            last: The probability of the last, unfinished frame, if there is one.
        """
        if self._turn is None and self.options.turns is None and len(self._pending):
            self._open_turn(self._frames)
        turn, pending = self._turn, self._pending
        self._restart()
        if turn is None:
            return [NothingToCommit()]
        self._close(turn, turn.hear(pending, last))
        return self._commit(turn)

    def clear(self) -> list[DictationEvent]:
        """The client does not want what was not committed."""
        self._restart()
        self._discard()
        return [Cleared()]

    def _restart(self) -> None:
        """The next sample is the first of an epoch."""
        self._epoch_samples = self._samples
        self._frames = 0
        self._pending = _NOTHING
        self._before.clear()
        self._detector.end_turn()

    def _discard(self) -> None:
        turn, self._turn = self._turn, None
        self._closed = deque(closed for closed in self._closed if closed.turn is not turn)

    def next_update(self, least_step_seconds: float = 0.0) -> Update | None:
        """What is to be heard now of the turn that is under way; see `Turn.next_update`."""
        return None if self._turn is None else self._turn.next_update(least_step_seconds)

    def updated(self, update: Update, recognition: Recognition) -> list[DictationEvent]:
        """The answer to an update."""
        words = update.turn.updated(update, recognition)
        return _told(update.turn, words) if update.turn is self._turn else []

    def next_window(self) -> ClosedWindow | None:
        """The next closed window, to be heard; each must be answered, in this order."""
        return self._closed.popleft() if self._closed else None

    def window_done(self, closed: ClosedWindow, outcome: Attempt | ServiceError) -> list[DictationEvent]:
        """What came of a closed window."""
        turn = closed.turn
        if turn is not self._turn and turn not in self._committed:
            return []
        if isinstance(outcome, ServiceError):
            self._closed = deque(other for other in self._closed if other.turn is not turn)
            turn.fail(outcome)
            return self._settled()
        return [*_told(turn, turn.window_done(closed.window, outcome)), *self._settled()]

    def _settled(self) -> list[DictationEvent]:
        """The ends of the items whose time has come."""
        events: list[DictationEvent] = []
        while self._committed and self._committed[0].is_done:
            events.append(_end(self._committed.popleft()))
        return events


def _told(turn: Turn, words: Sequence[HeardWord]) -> list[DictationEvent]:
    if not words or turn.failure is not None:
        return []
    return [
        Delta(
            turn.item_id,
            "".join(heard.word.text for heard in words),
            tuple(moved(heard.word, turn.epoch_seconds) for heard in words),
            tuple(token for heard in words for token in heard.tokens),
        )
    ]


def _end(turn: Turn) -> Completed | Failed:
    if turn.failure is not None:
        return Failed(turn.item_id, turn.failure)
    return Completed(
        item_id=turn.item_id,
        text=turn.caption.text,
        tokens=tuple(turn.caption.tokens),
        usage=turn.usage,
        duration_seconds=seconds_from_samples(turn.samples),
    )
