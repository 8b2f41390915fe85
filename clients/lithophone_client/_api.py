"""What each method of the clients asks for and how its answer is read, as exchanges, once for both of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lithophone_client._exchange import Exchange, fetch, listen, probe
from lithophone_client._requests import (
    HEALTH_PATH,
    MODELS_PATH,
    READY_PATH,
    Call,
    DiarizationOptions,
    JsonOptions,
    SubtitleFormat,
    TranscriptionOptions,
    TranslationOptions,
    VerboseOptions,
    model_call,
    transcription_call,
    translation_call,
)
from lithophone_client._responses import decode_json, decode_models, decode_text
from lithophone_client._retries import RetryPolicy
from lithophone_client._types import (
    DiarizedTranscription,
    Model,
    StreamEvent,
    Transcription,
    Translation,
    VerboseTranscription,
)
from lithophone_client._uploads import AudioFile

_T = TypeVar("_T")


class Api:
    """The methods of `Lithophone` and `AsyncLithophone` by the same names; there stands what they are for.

    Wrong options raise `TypeError` at once, before any step.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy

    def transcribe(self, file: AudioFile, options: JsonOptions) -> Exchange[Transcription]:
        """`json`."""
        call = transcription_call(file, options, JsonOptions, "json")
        return self._fetch_json(call, Transcription)

    def transcribe_verbose(self, file: AudioFile, options: VerboseOptions) -> Exchange[VerboseTranscription]:
        """`verbose_json`."""
        call = transcription_call(file, options, VerboseOptions, "verbose_json")
        return self._fetch_json(call, VerboseTranscription)

    def transcribe_diarized(
        self, file: AudioFile, options: DiarizationOptions
    ) -> Exchange[DiarizedTranscription]:
        """`diarized_json`."""
        call = transcription_call(file, options, DiarizationOptions, "diarized_json")
        return self._fetch_json(call, DiarizedTranscription)

    def transcribe_text(self, file: AudioFile, options: TranscriptionOptions) -> Exchange[str]:
        """`text`."""
        return self._fetch(transcription_call(file, options, TranscriptionOptions, "text"), decode_text)

    def subtitles(
        self, file: AudioFile, subtitle_format: SubtitleFormat, options: TranscriptionOptions
    ) -> Exchange[str]:
        """`srt` or `vtt`."""
        call = transcription_call(file, options, TranscriptionOptions, subtitle_format)
        return self._fetch(call, decode_text)

    def stream(self, file: AudioFile, options: JsonOptions) -> Exchange[StreamEvent]:
        """`json` as events."""
        return listen(transcription_call(file, options, JsonOptions, "json", stream=True), self._policy)

    def stream_diarized(self, file: AudioFile, options: DiarizationOptions) -> Exchange[StreamEvent]:
        """`diarized_json` as events."""
        call = transcription_call(file, options, DiarizationOptions, "diarized_json", stream=True)
        return listen(call, self._policy)

    def translate(self, file: AudioFile, options: TranslationOptions) -> Exchange[Translation]:
        """A translation as `json`."""
        return self._fetch_json(translation_call(file, options), Translation)

    def translate_verbose(
        self, file: AudioFile, options: TranslationOptions
    ) -> Exchange[VerboseTranscription]:
        """A translation as `verbose_json`."""
        return self._fetch_json(translation_call(file, options, "verbose_json"), VerboseTranscription)

    def models(self) -> Exchange[tuple[Model, ...]]:
        """`GET /v1/models`."""
        return self._fetch(Call(MODELS_PATH), decode_models)

    def model(self, model_id: str) -> Exchange[Model]:
        """`GET /v1/models/{id}`."""
        return self._fetch_json(model_call(model_id), Model)

    def health(self) -> Exchange[bool]:
        """`GET /health`."""
        return probe(Call(HEALTH_PATH))

    def ready(self) -> Exchange[bool]:
        """`GET /ready`."""
        return probe(Call(READY_PATH))

    def _fetch_json(self, call: Call, expected: type[_T]) -> Exchange[_T]:
        return self._fetch(call, lambda body: decode_json(body, expected))

    def _fetch(self, call: Call, decode: Callable[[bytes], _T]) -> Exchange[_T]:
        return fetch(call, self._policy, decode)
