"""Speech whose words can be read off its samples, and a model that reads them: for tests of live sessions.

A word is a stretch of ±level, its level names it. The model hears a word that the audio cuts off as another one, as real
models do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from lithophone.audio.activity import Probabilities
from lithophone.audio.waveform import SAMPLE_RATE, Waveform, samples_from_seconds
from lithophone.backends.base import Recognition, RecognitionRequest, Token
from lithophone.backends.fake import FakeBackend, LoudnessDetector
from lithophone.engine.attempts import Attempt
from lithophone.engine.dictation.events import Committed, Completed, Delta, DictationEvent, Failed
from lithophone.engine.dictation.machine import Dictation
from lithophone.engine.dictation.options import Delay, DictationOptions, TurnDetection
from lithophone.engine.options import JobOptions
from lithophone.errors import ServiceError
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.granite.words import Word

SPEC = msgspec.structs.replace(FAMILY[DEMONSTRATION_ID], max_window_seconds=8.0)
VOCABULARY = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORD_SECONDS = 0.32
GAP_SECONDS = 0.08
LEVEL_STEP = 0.05
FRAME_SAMPLES = 800
LEAST_SAMPLES = 160  # of what sounds like anything: noise is no thousand words


def spoken(*words: int, pause_seconds: float = 0.0) -> Waveform:
    """Words one behind the other, and a pause."""
    parts: list[Waveform] = []
    for word in words:
        length = samples_from_seconds(WORD_SECONDS)
        sign = np.where(np.arange(length) % 2, 1.0, -1.0)
        parts += [(sign * LEVEL_STEP * (word + 1)).astype(np.float32), silence(GAP_SECONDS)]
    return np.concatenate([*parts, silence(pause_seconds)])


def silence(seconds: float) -> Waveform:
    """Nothing."""
    return np.zeros(samples_from_seconds(seconds), np.float32)


def read_words(samples: Waveform) -> list[tuple[int, int, int]]:
    """(word, first sample, last + 1) of each stretch of one level."""
    levels = np.rint(np.abs(samples) / LEVEL_STEP).clip(max=len(VOCABULARY)).astype(int)
    edges = np.flatnonzero(np.diff(levels, prepend=0, append=0))
    return [
        (int(levels[start]) - 1, int(start), int(stop))
        for start, stop in itertools.pairwise(edges)
        if levels[start] and stop - start >= LEAST_SAMPLES
    ]


def hear(request: RecognitionRequest) -> Recognition:
    """What the model hears: all words behind the context; one that is cut off sounds like another."""
    whole = samples_from_seconds(WORD_SECONDS)
    words: list[Word] = []
    for number, start, stop in read_words(request.samples):
        if (start + stop) / 2 < request.context_samples:
            continue
        cut_off = stop - start < whole and stop == len(request.samples)
        name = (
            VOCABULARY[number] if not cut_off else f"{VOCABULARY[number][: 1 + 4 * (stop - start) // whole]}-"
        )
        goes_on = bool(words) or bool(request.live and request.live.said)
        words.append(
            Word(
                text=f" {name}" if goes_on else name,
                start_seconds=(start - request.context_samples) / SAMPLE_RATE,
                end_seconds=(stop - request.context_samples) / SAMPLE_RATE,
            )
        )
    return Recognition(
        text="".join(word.text for word in words),
        tokens=tuple(Token(hash(word.text) % 1000, word.text, -0.1) for word in words),
        token_stops=tuple(range(1, len(words) + 1)),
        words=tuple(words),
        prompt_tokens=1,
        audio_tokens=1,
        no_speech_probability=0.0,
        end_logprob=-0.1,
    )


class SpokenBackend(FakeBackend):
    """A backend around this model."""

    def answer(self, request: RecognitionRequest, text: str) -> Recognition:
        del text
        return hear(request)


def options(turns: TurnDetection = None, delay: Delay = Delay.MEDIUM) -> DictationOptions:
    """What a session is asked for."""
    return DictationOptions(model_id=SPEC.id, spec=SPEC, turns=turns, delay=delay, job=JobOptions())


Hear = Callable[[RecognitionRequest], Recognition]


class Session:
    """A machine, a detector of voice and a model that answers at once, or when it is told to.

    Attributes:
        events: All that was told, with the second of the audio it was told at.
    """

    def __init__(self, wanted: DictationOptions, model: Hear = hear) -> None:
        ids = itertools.count(1)
        self.machine = Dictation(wanted, lambda: f"item_{next(ids)}")
        self.model = model
        self.events: list[tuple[float, DictationEvent]] = []
        self.updates = 0
        self._voice = LoudnessDetector().open_stream()

    def say(self, samples: Waveform, frame_samples: int = FRAME_SAMPLES) -> None:
        """Audio as it comes, everything heard as soon as it is wanted."""
        for start in range(0, len(samples), frame_samples):
            self.hear_only(samples[start : start + frame_samples])
            self.settle()

    def hear_only(self, samples: Waveform) -> None:
        """Audio, and a model that is busy."""
        self.take(self.machine.hear(samples, self._voice.push(samples)))

    def settle(self) -> None:
        """The model hears everything that is wanted."""
        self.hear_windows()
        while (update := self.machine.next_update()) is not None:
            self.updates += 1
            self.take(self.machine.updated(update, self.model(update.request)))
        self.hear_windows()

    def hear_windows(self, failure: ServiceError | None = None) -> None:
        """The closed windows."""
        while self.hear_window(failure):
            pass

    def hear_window(self, failure: ServiceError | None = None) -> bool:
        """The closed window that waits longest, if there is one."""
        closed = self.machine.next_window()
        if closed is not None:
            attempt = Attempt(self.model(RecognitionRequest(samples=closed.window.samples)), 0.0)
            self.take(self.machine.window_done(closed, failure or attempt))
        return closed is not None

    def commit(self) -> None:
        """The client's commit, and everything heard."""
        self.commit_only()
        self.settle()

    def commit_only(self) -> None:
        """The client's commit, and a model that is busy."""
        self.take(self.machine.commit(self._last()))

    def clear(self) -> None:
        """The client's clear."""
        self._last()
        self.take(self.machine.clear())

    def _last(self) -> Probabilities:
        voice, self._voice = self._voice, LoudnessDetector().open_stream()
        return voice.finish()

    def take(self, events: Sequence[DictationEvent]) -> None:
        self.events += [(self.machine.seconds, event) for event in events]

    def kinds(self) -> list[str]:
        """The names of the events but for the deltas."""
        return [type(event).__name__ for _, event in self.events if not isinstance(event, Delta)]

    def text(self, item_id: str = "item_1") -> str:
        """What was told of an item so far."""
        return "".join(e.text for _, e in self.events if isinstance(e, Delta) and e.item_id == item_id)

    def completed(self) -> list[Completed]:
        """The items that are done."""
        return [event for _, event in self.events if isinstance(event, Completed)]

    def told_at(self) -> list[tuple[str, float, float]]:
        """Each word told: the word, where it ends and when it was told, in seconds."""
        return [
            (word.text.strip(), word.end_seconds, at)
            for at, event in self.events
            if isinstance(event, Delta)
            for word in event.words
        ]


def check_order(session: Session) -> None:
    """Each committed item has one end, in the order of the commits, and its text is what was told of it."""
    told = [event for _, event in session.events]
    committed = [event.item_id for event in told if isinstance(event, Committed)]
    ends = [event for event in told if isinstance(event, Completed | Failed)]
    assert [event.item_id for event in ends] == committed
    for end in ends:
        places = [place for place, event in enumerate(told) if event is end]
        deltas = [
            (place, event)
            for place, event in enumerate(told)
            if isinstance(event, Delta) and event.item_id == end.item_id
        ]
        assert all(place < places[0] for place, _ in deltas)
        if isinstance(end, Completed):
            assert "".join(event.text for _, event in deltas) == end.text
    previous = [event.previous_item_id for event in told if isinstance(event, Committed)]
    assert previous == [None, *committed][: len(previous)]
