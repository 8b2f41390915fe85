"""A live session at work: the machine of `lithophone.engine.dictation.machine`, a model, and a detector of voice.

Owns the tasks that hear what the machine wants heard: one live update at a time, and the closed windows in their order. A
model that is slow makes the steps longer; where even the closed windows wait, `append` does, and with it the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import msgspec
import structlog

from lithophone.audio.activity import Probabilities
from lithophone.audio.waveform import Waveform, samples_from_seconds
from lithophone.backends.base import Recognition, VoiceDetector
from lithophone.engine.attempts import Attempt
from lithophone.engine.dictation.events import Completed, DictationEvent
from lithophone.engine.dictation.machine import ClosedWindow, Dictation
from lithophone.engine.dictation.options import POLICIES, DictationOptions
from lithophone.engine.dictation.pace import Pace
from lithophone.engine.dictation.turn import Update
from lithophone.engine.language import tell_language
from lithophone.engine.recognition import WindowRecogniser
from lithophone.errors import InternalError, ServiceError
from lithophone.hosts.base import Recogniser
from lithophone.hosts.models import Models

log = structlog.get_logger(__name__)

PIECE_SAMPLES: Final = samples_from_seconds(
    1.0
)  # taken in at once: a longer piece would hold up the event loop
WINDOWS_AHEAD: Final = 2
MOST_WAITING_SECONDS: Final = 60.0  # of audio in closed windows that wait for the model
GROWN_STEP: Final = 1.5  # times as long as asked for: worth saying


class _Recognisers(NamedTuple):
    """Of one model: those of live updates are forgotten without those of closed windows."""

    updates: Recogniser
    windows: Recogniser


class LiveSession:
    """Give it audio while `run` runs in a task of its own.

    Args:
        models: Where the models are.
        voice: Tells voice from silence.
        options: What is asked for until `configure` says otherwise.
        tell: Takes the events; called in the event loop, never blocks.
        new_id: Names items.
        lagged: Takes, each time that the model has heard what there is, how many seconds of newer audio there are by then.
    """

    def __init__(
        self,
        models: Models,
        voice: VoiceDetector,
        options: DictationOptions,
        *,
        tell: Callable[[DictationEvent], None],
        new_id: Callable[[], str],
        lagged: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._models = models
        self._tell = tell
        self._lagged = lagged
        self._detector = voice
        self._voice = voice.open_stream()
        self._machine = Dictation(options, new_id)
        self._pace = Pace()
        self._recognisers: dict[str, _Recognisers] = {}
        self._under_way: asyncio.Queue[tuple[ClosedWindow, asyncio.Task[Attempt | ServiceError]]] = (
            asyncio.Queue(WINDOWS_AHEAD)
        )
        self._waiting_seconds = 0.0
        self._audio_came = asyncio.Event()
        self._window_closed = asyncio.Event()
        self._window_heard = asyncio.Event()
        self._told_slow = False

    @property
    def seconds(self) -> float:
        """The audio heard so far."""
        return self._machine.seconds

    @property
    def options(self) -> DictationOptions:
        """What is asked for."""
        return self._machine.options

    async def run(self) -> None:
        """Hear what there is to hear, until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hear_updates())
                tasks.create_task(self._begin_windows(tasks))
                tasks.create_task(self._end_windows())
        finally:
            for recognisers in self._recognisers.values():
                recognisers.updates.cancel()
                recognisers.windows.cancel()

    def configure(self, options: DictationOptions) -> None:
        """From now on."""
        self._emit(self._machine.configure(options))

    async def append(self, samples: Waveform) -> None:
        """More audio: float32 [samples], 16 kHz. Waits while the model is far behind."""
        for piece in _pieces(samples):
            self._emit(self._machine.hear(piece, await asyncio.to_thread(self._voice.push, piece)))
            while self._machine.waiting_seconds + self._waiting_seconds > MOST_WAITING_SECONDS:
                self._window_heard.clear()
                await self._window_heard.wait()

    async def commit(self) -> None:
        """The audio is whole."""
        self._emit(self._machine.commit(await self._last_probability()))

    async def clear(self) -> None:
        """Forget what was not committed."""
        await self._last_probability()
        self._emit(self._machine.clear())

    async def finish(self) -> None:
        """Wait until everything is told that was committed."""
        while self._machine.unfinished:
            self._window_heard.clear()
            await self._window_heard.wait()

    async def with_language(self, event: Completed) -> Completed:
        """The event, with the language its words are in."""
        options = self._machine.options
        known = options.job.language
        language = known or await tell_language(event.text, options.spec.speech_languages)
        return msgspec.structs.replace(event, language=language)

    async def _last_probability(self) -> Probabilities:
        """End the voice activity of this epoch; the next begins with a stream of its own."""
        voice, self._voice = self._voice, self._detector.open_stream()
        return await asyncio.to_thread(voice.finish)

    def _emit(self, events: Sequence[DictationEvent]) -> None:
        for event in events:
            self._tell(event)
        self._audio_came.set()
        self._window_closed.set()

    async def _hear_updates(self) -> None:
        while True:
            self._audio_came.clear()
            update = self._machine.next_update(self._pace.step_seconds)
            if update is None:
                await self._audio_came.wait()
                continue
            began, heard_seconds = asyncio.get_running_loop().time(), self._machine.seconds
            recognition = await self._heard(update)
            self._lagged(self._machine.seconds - heard_seconds)
            self._pace.took(asyncio.get_running_loop().time() - began)
            self._say_if_slow()
            if recognition is None:
                update.turn.update_failed()
            else:
                self._emit(self._machine.updated(update, recognition))

    async def _heard(self, update: Update) -> Recognition | None:
        """What the model heard; None if it failed, which the end of the turn will tell."""
        try:
            async with self._recogniser(update.turn.options) as recognisers:
                return await recognisers.updates.recognise(update.request)
        except ServiceError as error:
            log.warning("live_update_failed", reason=error.message)
            return None

    def _say_if_slow(self) -> None:
        wanted = POLICIES[self._machine.options.delay].step_seconds
        if self._pace.step_seconds > GROWN_STEP * wanted and not self._told_slow:
            self._told_slow = True
            log.warning("live_step_grew", wanted_seconds=wanted, seconds=round(self._pace.step_seconds, 2))

    async def _begin_windows(self, tasks: asyncio.TaskGroup) -> None:
        """Closed windows on their way to the model, as many as may be ahead."""
        while True:
            self._window_closed.clear()
            closed = self._machine.next_window()
            if closed is None:
                await self._window_closed.wait()
                continue
            self._waiting_seconds += closed.window.duration_seconds
            await self._under_way.put((closed, tasks.create_task(self._hear_window(closed))))

    async def _hear_window(self, closed: ClosedWindow) -> Attempt | ServiceError:
        options = closed.turn.options
        try:
            async with self._recogniser(options) as recognisers:
                return await WindowRecogniser(recognisers.windows, options.window_job).recognise(
                    closed.window
                )
        except ServiceError as error:
            return error
        except Exception:
            log.exception("live_window_failed")
            return InternalError("The server failed on this audio; its log says why.")

    async def _end_windows(self) -> None:
        """What was heard in them, in their order."""
        while True:
            closed, task = await self._under_way.get()
            outcome = await task
            self._waiting_seconds -= closed.window.duration_seconds
            self._emit(self._machine.window_done(closed, outcome))
            self._window_heard.set()

    @asynccontextmanager
    async def _recogniser(self, options: DictationOptions) -> AsyncGenerator[_Recognisers]:
        """The model, loaded if it is not, and kept while this needs it."""
        async with self._models.use(options.model_id) as host:
            if options.model_id not in self._recognisers:
                self._recognisers[options.model_id] = _Recognisers(
                    host.open_recogniser(), host.open_recogniser()
                )
            yield self._recognisers[options.model_id]


def _pieces(samples: Waveform) -> Iterator[Waveform]:
    return (samples[start : start + PIECE_SAMPLES] for start in range(0, len(samples), PIECE_SAMPLES))
