"""The async client: as `_client.py`, line for line, with the waiting handed to the event loop.

Files are read in a thread, so the loop never waits for a disk. anyio comes with httpx.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from types import TracebackType
from typing import BinaryIO, Self, Unpack

import anyio
import anyio.to_thread
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


class AsyncTranscriptionStream(AsyncIterator[StreamEvent]):
    """The events of one stream, as they come. The request goes out with the first `anext`.

    The connection is given back at the last event, at an error, and at `aclose`; leave early inside an
    `async with` block.
    """

    def __init__(self, events: AsyncGenerator[StreamEvent, None]) -> None:
        self._events = events

    async def __anext__(self) -> StreamEvent:
        return await anext(self._events)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening; the server sees the client leave and drops the job."""
        await self._events.aclose()


class AsyncLithophone:
    """A connection to one server; use it as an async context manager, or `aclose` it.

    Every method that takes a `file` takes a path, bytes, or a file open in binary mode. What else it takes is in its
    `…Options`. All of them raise the errors listed in `_errors.py`.

    Args:
        base_url: root of the server, with or without `/v1`.
        api_key: one of the server's keys, if it has any.
        timeout_seconds: the longest silence to bear; a transcription without `stream` is silent until it is done.
        retries: further attempts where the server has certainly done nothing yet (see `_retries.py`).
        transport: an async httpx transport in place of the network, for tests and proxies.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        *,
        api_key: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        retries: int = DEFAULT_RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retry_policy = RetryPolicy(retries)
        self._http = httpx.AsyncClient(
            base_url=server_root(base_url),
            headers=session_headers(api_key),
            timeout=session_timeout(timeout_seconds),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def transcribe(self, file: AudioFile, **options: Unpack[JsonOptions]) -> Transcription:
        """The text of `file`."""
        call = transcription_call(file, options, JsonOptions, "json")
        return decode_json(await self._fetch(call), Transcription)

    async def transcribe_verbose(
        self, file: AudioFile, **options: Unpack[VerboseOptions]
    ) -> VerboseTranscription:
        """The text of `file` with its segments and, if asked for, its words."""
        call = transcription_call(file, options, VerboseOptions, "verbose_json")
        return decode_json(await self._fetch(call), VerboseTranscription)

    async def transcribe_diarized(
        self, file: AudioFile, **options: Unpack[DiarizationOptions]
    ) -> DiarizedTranscription:
        """Who said what in `file`."""
        call = transcription_call(file, options, DiarizationOptions, "diarized_json")
        return decode_json(await self._fetch(call), DiarizedTranscription)

    async def transcribe_text(self, file: AudioFile, **options: Unpack[TranscriptionOptions]) -> str:
        """The text of `file` as a text file would hold it: with a newline at its end."""
        return decode_text(await self._fetch(transcription_call(file, options, TranscriptionOptions, "text")))

    async def subtitles(
        self,
        file: AudioFile,
        format: SubtitleFormat = "srt",  # noqa: A002 - what the API calls it
        **options: Unpack[TranscriptionOptions],
    ) -> str:
        """An SRT or WebVTT file for `file`."""
        return decode_text(await self._fetch(transcription_call(file, options, TranscriptionOptions, format)))

    def stream(self, file: AudioFile, **options: Unpack[JsonOptions]) -> AsyncTranscriptionStream:
        """The text of `file` piece by piece, then `Done` with the whole.

        Iterating raises `StreamFailedError` if the server breaks off.
        """
        return AsyncTranscriptionStream(
            self._events(transcription_call(file, options, JsonOptions, "json", stream=True))
        )

    def stream_diarized(
        self, file: AudioFile, **options: Unpack[DiarizationOptions]
    ) -> AsyncTranscriptionStream:
        """As `stream`, with a `SpeakerSegment` for each stretch of one speaker."""
        return AsyncTranscriptionStream(
            self._events(transcription_call(file, options, DiarizationOptions, "diarized_json", stream=True))
        )

    async def translate(self, file: AudioFile, **options: Unpack[TranslationOptions]) -> Translation:
        """What is said in `file`, in English or in the language `to_language` names."""
        return decode_json(await self._fetch(translation_call(file, options)), Translation)

    async def models(self) -> tuple[Model, ...]:
        """The models on offer."""
        return decode_models(await self._fetch(Call(MODELS_PATH)))

    async def model(self, model_id: str) -> Model:
        """One model, by id or alias."""
        return decode_json(await self._fetch(model_call(model_id)), Model)

    async def health(self) -> bool:
        """Whether the server is alive; False if it answers 503. Asked once, without retries."""
        return await self._is_up(HEALTH_PATH)

    async def ready(self) -> bool:
        """Whether a model can answer; False while it loads. Asked once, without retries."""
        return await self._is_up(READY_PATH)

    async def _is_up(self, path: str) -> bool:
        try:
            response = await self._send_once(Call(path))
        except UnavailableError:
            return False
        await response.aclose()
        return True

    async def _fetch(self, call: Call) -> bytes:
        response = await self._send(call)
        with transport_errors():
            async with aclosing(response):
                return await response.aread()

    async def _events(self, call: Call) -> AsyncGenerator[StreamEvent, None]:
        response = await self._send(call)
        decoder = EventDecoder(response.headers.get("x-request-id"))
        with transport_errors():
            async with aclosing(response):
                async for chunk in response.aiter_bytes():
                    for event in decoder.feed(chunk):
                        yield event
                    if decoder.finished:
                        break
                decoder.close()

    async def _send(self, call: Call) -> httpx.Response:
        failures = 0
        while True:
            try:
                return await self._send_once(call)
            except LithophoneError as error:
                failures += 1
                delay_seconds = self._retry_policy.delay_seconds(error, failures)
                if delay_seconds is None or not call.can_be_resent:
                    raise
            await anyio.sleep(delay_seconds)

    async def _send_once(self, call: Call) -> httpx.Response:
        """An accepted request, its body not read yet."""
        with transport_errors():
            response = await self._open(call)
            if response.is_success:
                return response
            async with aclosing(response):
                body = await response.aread()
        raise api_error(response.status_code, response.headers, body)

    async def _open(self, call: Call) -> httpx.Response:
        form = form_of(call)
        if call.upload is None or form is None:
            return await self._http.send(self._http.build_request("GET", call.path), stream=True)
        with call.upload.open() as reader:
            headers = form_headers(form, remaining_bytes(reader))
            content = _form_pieces(form, reader)
            request = self._http.build_request("POST", call.path, headers=headers, content=content)
            return await self._http.send(request, stream=True)


async def _form_pieces(form: MultipartForm, reader: BinaryIO) -> AsyncIterator[bytes]:
    yield form.head
    while piece := await anyio.to_thread.run_sync(reader.read, PIECE_BYTES):
        yield piece
    yield form.tail
