"""Many recordings: several at once, each on its own feet.

Owns the order of things for a recording, and what a failure means: of one recording, that it is reported and the others go
on; of the model, that there is no sense in going on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Protocol

import structlog

from lithophone.errors import LithophoneError, StartupError
from lithophone.transcribe.recordings import Recording
from lithophone.transcribe.shelf import Shelf
from lithophone.transcribe.transcriber import Heard, Transcriber

log = structlog.get_logger(__name__)


class Watcher(Protocol):
    """Is told what happens."""

    def begun(self, recording: Recording) -> Callable[[Heard], None]:
        """A recording is opened; returns what is to be told how far it has been heard."""
        ...

    def done(self, recording: Recording, audio_seconds: float) -> None:
        """Its documents are in place."""
        ...

    def skipped(self, recording: Recording) -> None:
        """They were already."""
        ...

    def failed(self, recording: Recording, reason: str) -> None:
        """There will be none."""
        ...


class Run:
    """Transcribes recordings and counts what came of them.

    Args:
        transcriber: Who does it.
        shelf: Where the documents go.
        watcher: Who is told.
        at_once: How many recordings are under way.
    """

    def __init__(self, transcriber: Transcriber, shelf: Shelf, watcher: Watcher, at_once: int) -> None:
        self._transcriber = transcriber
        self._shelf = shelf
        self._watcher = watcher
        self._places = asyncio.Semaphore(at_once)
        self.failures = 0

    async def all(self, recordings: AsyncIterable[Recording]) -> None:
        """Every recording, as they come.

        Raises:
            StartupError: the model is gone for good.
        """
        try:
            async with asyncio.TaskGroup() as underway:
                async for recording in recordings:
                    await self._places.acquire()
                    underway.create_task(self._one(recording))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _one(self, recording: Recording) -> None:
        try:
            if await asyncio.to_thread(self._shelf.has, recording):
                self._watcher.skipped(recording)
            else:
                await self._transcribe(recording)
        except StartupError:
            raise
        except Exception as failure:  # noqa: BLE001 - one recording never ends the run
            self._fail(recording, failure)
        finally:
            self._places.release()

    async def _transcribe(self, recording: Recording) -> None:
        heard = self._watcher.begun(recording)
        state = recording.source.state()
        with await asyncio.to_thread(recording.source.open) as file:
            transcript = await self._transcriber.transcribe(file, heard)
        await asyncio.to_thread(self._shelf.put, recording, state, transcript)
        self._watcher.done(recording, transcript.duration_seconds)

    def _fail(self, recording: Recording, failure: Exception) -> None:
        self.failures += 1
        log.debug("recording_failed", exc_info=failure)
        self._watcher.failed(recording, _reason(failure))
        self._shelf.pass_over(recording)


def _reason(failure: Exception) -> str:
    if isinstance(failure, LithophoneError):
        return failure.message
    if isinstance(failure, OSError):
        return failure.strerror or str(failure)
    return f"{type(failure).__name__}: {failure}"
