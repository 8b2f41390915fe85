"""The sync client: its methods, and the I/O below them. What is asked and what an answer means is pure, elsewhere."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from types import TracebackType
from typing import BinaryIO, Self, Unpack

import httpx

from lithophone_client._errors import LithophoneError, UnavailableError
from lithophone_client._http import (
    DEFAULT_BASE_URL,
    DEFAULT_TIMEOUT_SECONDS,
    form_headers,
    form_of,
    server_root,
    session_headers,
    session_timeout,
    transport_errors,
)
from lithophone_client._multipart import MultipartForm
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
from lithophone_client._responses import EventDecoder, api_error, decode_json, decode_models, decode_text
from lithophone_client._retries import DEFAULT_RETRIES, RetryPolicy
from lithophone_client._types import (
    DiarizedTranscription,
    Model,
    StreamEvent,
    Transcription,
    Translation,
    VerboseTranscription,
)
from lithophone_client._uploads import PIECE_BYTES, AudioFile, remaining_bytes


class TranscriptionStream(Iterator[StreamEvent]):
    """The events of one stream, as they come. The request goes out with the first `next`.

    The connection is given back at the last event, at an error, and at `close`; leave early inside a `with` block.
    """

    def __init__(self, events: Generator[StreamEvent, None, None]) -> None:
        self._events = events

    def __next__(self) -> StreamEvent:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; the server sees the client leave and drops the job."""
        self._events.close()


class Lithophone:
    """A connection to one server; use it as a context manager, or `close` it.

    Every method that takes a `file` takes a path, bytes, or a file open in binary mode. What else it takes is in its
    `…Options`. All of them raise the errors listed in `_errors.py`.

    Args:
        base_url: root of the server, with or without `/v1`.
        api_key: one of the server's keys, if it has any.
        timeout_seconds: the longest silence to bear; a transcription without `stream` is silent until it is done.
        retries: further attempts where the server has certainly done nothing yet (see `_retries.py`).
        transport: an httpx transport in place of the network, for tests and proxies.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        *,
        api_key: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        retries: int = DEFAULT_RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._retry_policy = RetryPolicy(retries)
        self._http = httpx.Client(
            base_url=server_root(base_url),
            headers=session_headers(api_key),
            timeout=session_timeout(timeout_seconds),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def transcribe(self, file: AudioFile, **options: Unpack[JsonOptions]) -> Transcription:
        """The text of `file`."""
        call = transcription_call(file, options, JsonOptions, "json")
        return decode_json(self._fetch(call), Transcription)

    def transcribe_verbose(self, file: AudioFile, **options: Unpack[VerboseOptions]) -> VerboseTranscription:
        """The text of `file` with its segments and, if asked for, its words."""
        call = transcription_call(file, options, VerboseOptions, "verbose_json")
        return decode_json(self._fetch(call), VerboseTranscription)

    def transcribe_diarized(
        self, file: AudioFile, **options: Unpack[DiarizationOptions]
    ) -> DiarizedTranscription:
        """Who said what in `file`."""
        call = transcription_call(file, options, DiarizationOptions, "diarized_json")
        return decode_json(self._fetch(call), DiarizedTranscription)

    def transcribe_text(self, file: AudioFile, **options: Unpack[TranscriptionOptions]) -> str:
        """The text of `file` as a text file would hold it: with a newline at its end."""
        return decode_text(self._fetch(transcription_call(file, options, TranscriptionOptions, "text")))

    def subtitles(
        self,
        file: AudioFile,
        format: SubtitleFormat = "srt",  # noqa: A002 - what the API calls it
        **options: Unpack[TranscriptionOptions],
    ) -> str:
        """An SRT or WebVTT file for `file`."""
        return decode_text(self._fetch(transcription_call(file, options, TranscriptionOptions, format)))

    def stream(self, file: AudioFile, **options: Unpack[JsonOptions]) -> TranscriptionStream:
        """The text of `file` piece by piece, then `Done` with the whole.

        Iterating raises `StreamFailedError` if the server breaks off.
        """
        return TranscriptionStream(
            self._events(transcription_call(file, options, JsonOptions, "json", stream=True))
        )

    def stream_diarized(self, file: AudioFile, **options: Unpack[DiarizationOptions]) -> TranscriptionStream:
        """As `stream`, with a `SpeakerSegment` for each stretch of one speaker."""
        return TranscriptionStream(
            self._events(transcription_call(file, options, DiarizationOptions, "diarized_json", stream=True))
        )

    def translate(self, file: AudioFile, **options: Unpack[TranslationOptions]) -> Translation:
        """What is said in `file`, in English or in the language `to_language` names."""
        return decode_json(self._fetch(translation_call(file, options)), Translation)

    def models(self) -> tuple[Model, ...]:
        """The models on offer."""
        return decode_models(self._fetch(Call(MODELS_PATH)))

    def model(self, model_id: str) -> Model:
        """One model, by id or alias."""
        return decode_json(self._fetch(model_call(model_id)), Model)

    def health(self) -> bool:
        """Whether the server is alive; False if it answers 503. Asked once, without retries."""
        return self._is_up(HEALTH_PATH)

    def ready(self) -> bool:
        """Whether a model can answer; False while it loads. Asked once, without retries."""
        return self._is_up(READY_PATH)

    def _is_up(self, path: str) -> bool:
        try:
            self._send_once(Call(path)).close()
        except UnavailableError:
            return False
        return True

    def _fetch(self, call: Call) -> bytes:
        response = self._send(call)
        with transport_errors(), closing(response):
            return response.read()

    def _events(self, call: Call) -> Generator[StreamEvent, None, None]:
        response = self._send(call)
        decoder = EventDecoder(response.headers.get("x-request-id"))
        with closing(response), transport_errors():
            for chunk in response.iter_bytes():
                yield from decoder.feed(chunk)
                if decoder.finished:
                    break
            decoder.close()

    def _send(self, call: Call) -> httpx.Response:
        failures = 0
        while True:
            try:
                return self._send_once(call)
            except LithophoneError as error:
                failures += 1
                delay_seconds = self._retry_policy.delay_seconds(error, failures)
                if delay_seconds is None or not call.can_be_resent:
                    raise
            time.sleep(delay_seconds)

    def _send_once(self, call: Call) -> httpx.Response:
        """An accepted request, its body not read yet."""
        with transport_errors():
            response = self._open(call)
            if response.is_success:
                return response
            with closing(response):
                body = response.read()
        raise api_error(response.status_code, response.headers, body)

    def _open(self, call: Call) -> httpx.Response:
        form = form_of(call)
        if call.upload is None or form is None:
            return self._http.send(self._http.build_request("GET", call.path), stream=True)
        with call.upload.open() as reader:
            headers = form_headers(form, remaining_bytes(reader))
            content = _form_pieces(form, reader)
            request = self._http.build_request("POST", call.path, headers=headers, content=content)
            return self._http.send(request, stream=True)


def _form_pieces(form: MultipartForm, reader: BinaryIO) -> Iterator[bytes]:
    yield form.head
    while piece := reader.read(PIECE_BYTES):
        yield piece
    yield form.tail
