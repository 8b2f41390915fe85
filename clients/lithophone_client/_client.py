"""The sync client: its methods, and the I/O that exchanges ask for (see `_exchange.py`)."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from lithophone_client._api import Api
from lithophone_client._exchange import (
    Answer,
    Exchange,
    Outcome,
    Read,
    Result,
    Send,
    Sleep,
    Step,
    advance,
)
from lithophone_client._http import (
    DEFAULT_BASE_URL,
    DEFAULT_TIMEOUT_SECONDS,
    FormBody,
    open_body,
    session_settings,
    transport_error,
)
from lithophone_client._requests import (
    Call,
    DiarizationOptions,
    JsonOptions,
    SubtitleFormat,
    TranscriptionOptions,
    TranslationOptions,
    VerboseOptions,
)
from lithophone_client._retries import DEFAULT_RETRIES, RetryPolicy
from lithophone_client._types import (
    DiarizedTranscription,
    Model,
    StreamEvent,
    Transcription,
    Translation,
    VerboseTranscription,
)
from lithophone_client._uploads import PIECE_BYTES, AudioFile

_T = TypeVar("_T")


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
        self._api = Api(RetryPolicy(retries))
        self._http = httpx.Client(**session_settings(base_url, api_key, timeout_seconds), transport=transport)

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
        return self._ask(self._api.transcribe(file, options))

    def transcribe_verbose(self, file: AudioFile, **options: Unpack[VerboseOptions]) -> VerboseTranscription:
        """The text of `file` with its segments and, if asked for, its words."""
        return self._ask(self._api.transcribe_verbose(file, options))

    def transcribe_diarized(
        self, file: AudioFile, **options: Unpack[DiarizationOptions]
    ) -> DiarizedTranscription:
        """Who said what in `file`."""
        return self._ask(self._api.transcribe_diarized(file, options))

    def transcribe_text(self, file: AudioFile, **options: Unpack[TranscriptionOptions]) -> str:
        """The text of `file` as a text file would hold it: with a newline at its end."""
        return self._ask(self._api.transcribe_text(file, options))

    def subtitles(
        self,
        file: AudioFile,
        format: SubtitleFormat = "srt",  # noqa: A002 - what the API calls it
        **options: Unpack[TranscriptionOptions],
    ) -> str:
        """An SRT or WebVTT file for `file`."""
        return self._ask(self._api.subtitles(file, format, options))

    def stream(self, file: AudioFile, **options: Unpack[JsonOptions]) -> TranscriptionStream:
        """The text of `file` piece by piece, then `Done` with the whole.

        Iterating raises `StreamFailedError` if the server breaks off.
        """
        return TranscriptionStream(self._results(self._api.stream(file, options)))

    def stream_diarized(self, file: AudioFile, **options: Unpack[DiarizationOptions]) -> TranscriptionStream:
        """As `stream`, with a `SpeakerSegment` for each stretch of one speaker."""
        return TranscriptionStream(self._results(self._api.stream_diarized(file, options)))

    def translate(self, file: AudioFile, **options: Unpack[TranslationOptions]) -> Translation:
        """What is said in `file`, in English or in the language `to_language` names."""
        return self._ask(self._api.translate(file, options))

    def translate_verbose(
        self, file: AudioFile, **options: Unpack[TranslationOptions]
    ) -> VerboseTranscription:
        """As `translate`, with segments; their times are those of the speech, shared out by length."""
        return self._ask(self._api.translate_verbose(file, options))

    def models(self) -> tuple[Model, ...]:
        """The models on offer."""
        return self._ask(self._api.models())

    def model(self, model_id: str) -> Model:
        """One model, by id or alias."""
        return self._ask(self._api.model(model_id))

    def health(self) -> bool:
        """Whether the server is alive; False if it answers 503. Asked once, without retries."""
        return self._ask(self._api.health())

    def ready(self) -> bool:
        """Whether a model can answer; False while it loads. Asked once, without retries."""
        return self._ask(self._api.ready())

    def _ask(self, exchange: Exchange[_T]) -> _T:
        with closing(self._results(exchange)) as results:
            return next(results)

    def _results(self, exchange: Exchange[_T]) -> Generator[_T, None, None]:
        outcome: Outcome = None
        with closing(_Connection(self._http)) as connection:
            while (step := advance(exchange, outcome)) is not None:
                if isinstance(step, Result):
                    outcome = None
                    yield step.value
                else:
                    outcome = connection.do(step)


class _Connection:
    """Does the steps of one exchange, and holds the answer they are about."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._take(httpx.Response(204))  # before the first `Send` there is nothing to read

    def do(self, step: Step) -> Outcome:
        """The reply to a step, or the error that came instead."""
        try:
            match step:
                case Send(call):
                    return self._send(call)
                case Read():
                    return next(self._chunks, None)
                case Sleep(seconds):
                    return time.sleep(seconds)
        except httpx.RequestError as error:
            return transport_error(error)

    def close(self) -> None:
        """Give the connection back, or up if its answer has not been read to the end."""
        self._response.close()

    def _send(self, call: Call) -> Answer:
        self.close()
        with open_body(call) as body:
            headers, content = (body.headers, _pieces(body)) if body else (None, None)
            request = self._http.build_request(call.method, call.path, headers=headers, content=content)
            self._take(self._http.send(request, stream=True))
        return Answer(self._response.status_code, self._response.headers)

    def _take(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.iter_bytes()


def _pieces(body: FormBody) -> Iterator[bytes]:
    yield body.head
    sent_bytes = 0
    body.sent(sent_bytes)
    while piece := body.reader.read(PIECE_BYTES):
        yield piece
        sent_bytes += len(piece)
        body.sent(sent_bytes)
    yield body.tail
