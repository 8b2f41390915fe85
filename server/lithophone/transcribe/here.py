"""Transcribing in this process, with the server's own models and the server's own jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import BinaryIO, Final

from lithophone.audio.decode import decode_audio
from lithophone.audio.stream import DecodeLimits, PcmStream
from lithophone.backends.base import VoiceDetector
from lithophone.engine.job import Job
from lithophone.engine.language import prepare_detection
from lithophone.engine.options import JobOptions
from lithophone.engine.transcript import Transcript
from lithophone.engine.understanding import doubts_about
from lithophone.errors import CheckpointError, ModelFailedError
from lithophone.granite.family import ModelSpec
from lithophone.hosts.base import ModelHost
from lithophone.hosts.models import Models
from lithophone.http.forms import TranslationForm
from lithophone.http.support import (
    job_options,
    require_supported,
    require_translatable,
    translation_options,
    warnings_for,
)
from lithophone.transcribe.clips import Clips, muted
from lithophone.transcribe.transcriber import Heard, Maker, Wanted

LEAST_AT_ONCE: Final = 4
"""Recordings that are decoded and listened to while the model is at work on others."""

MOST_AT_ONCE: Final = 32
"""For each model: by then its batch is full of windows of other recordings."""

MOST_DECODED: Final = 256
"""For all replicas together: this machine decodes each of them in a process of its own."""


def asked_of(wanted: Wanted, spec: ModelSpec, *, native_word_times: bool = False) -> JobOptions:
    """What is asked of a job.

    Raises:
        InvalidRequestError: the model cannot do it.
    """
    if isinstance(wanted.form, TranslationForm):
        require_translatable(wanted.form, spec)
        return translation_options(wanted.form, spec)
    require_supported(wanted.form, spec)
    return job_options(wanted.form, spec, native_word_times=native_word_times)


def unused(wanted: Wanted, spec: ModelSpec) -> tuple[str, ...]:
    """What is asked for in vain, for a person to read."""
    return warnings_for(wanted.form, spec)


def load_voice_detector(spec: ModelSpec) -> VoiceDetector:
    """Voice activity, and with it what telling the model's languages apart takes; a second or two of imports."""
    from lithophone.backends.silero import SileroDetector  # noqa: PLC0415 - torch, while the model loads

    prepare_detection(spec.speech_languages)
    return SileroDetector()


class TranscriberHere:
    """See `Transcriber`; the model is loaded."""

    def __init__(
        self,
        host: ModelHost,
        voice: VoiceDetector | None,
        options: JobOptions,
        *,
        clips: Clips = (),
        audio_track: int | None = None,
        limits: DecodeLimits | None = None,
        revision: str | None = None,
        replicas: int = 1,
    ) -> None:
        self._host = host
        self._voice = voice
        self._options = options
        self._clips = clips
        self._audio_track = audio_track
        self._limits = limits or DecodeLimits()
        self._revision = revision
        self._replicas = replicas

    @property
    def maker(self) -> Maker:
        """See `Transcriber`."""
        return Maker(self._host.model_id, self._revision)

    @property
    def at_once(self) -> int:
        """Two for each place in the batch of each replica: one is heard, one is made ready."""
        batch = self._host.info.max_batch if self._host.info is not None else 1
        return min(self._replicas * min(max(2 * batch, LEAST_AT_ONCE), MOST_AT_ONCE), MOST_DECODED)

    async def transcribe(self, file: BinaryIO, heard: Callable[[Heard], None]) -> Transcript:
        """See `Transcriber`."""
        async with decode_audio(file, limits=self._limits, audio_track=self._audio_track) as stream:
            return await self._transcribe(stream, heard)

    async def _transcribe(self, stream: PcmStream, heard: Callable[[Heard], None]) -> Transcript:
        job = Job(
            self._host.open_recogniser(),
            self._blocks(stream),
            self._options,
            voice=None if self._voice is None else self._voice.open_stream(),
        )
        try:
            async with aclosing(aiter(job)) as segments:
                async for segment in segments:
                    heard(Heard(segment.end_seconds, stream.stated_seconds))
        except ModelFailedError as error:
            raise CheckpointError(error.message) from error
        transcript = await job.transcript()
        doubts = doubts_about(self._host.spec, transcript.segments)
        heard(Heard(job.duration_seconds, stream.stated_seconds, (*stream.warnings, *doubts)))
        return transcript

    def _blocks(self, stream: PcmStream) -> AsyncGenerator[bytes]:
        return muted(stream, self._clips) if self._clips else _all(stream)


async def _all(stream: PcmStream) -> AsyncGenerator[bytes]:
    async for block in stream:
        yield block


@asynccontextmanager
async def started(models: Models) -> AsyncGenerator[ModelHost]:
    """The default model, which is being loaded, and is given back at the end."""
    models.start()
    try:
        with models.default.in_use():
            yield models.default
    finally:
        await models.stop()


async def wait_until_loaded(host: ModelHost) -> None:
    """However long it takes.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    try:
        await host.loaded()
    except ModelFailedError as error:
        raise CheckpointError(host.failure or error.message) from None
