"""Every method of both clients against a server that is a plain function."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from lithophone_client import (
    APIError,
    AsyncLithophone,
    AuthenticationError,
    CannotConnectError,
    DiarizedTranscription,
    Done,
    Lithophone,
    LithophoneError,
    Model,
    NotFoundError,
    SpeakerSegment,
    StreamFailedError,
    TextDelta,
    TimedOutError,
    TooManyRequestsError,
    Transcription,
    Translation,
    TransportError,
    UnavailableError,
    UnexpectedResponseError,
    VerboseTranscription,
)
from lithophone_client._retries import RetryPolicy

Ask = Callable[..., Any]

AUDIO = b"RIFF\r\n--not a boundary\r\n" + bytes(range(256))
JSON = b'{"text":"hi"}'
VERBOSE = b'{"task":"transcribe","language":"english","duration":1.5,"text":"hi","segments":[]}'
DIARIZED = b'{"task":"transcribe","duration":1.5,"text":"hi","segments":[]}'
MODEL = b'{"id":"tiny","object":"model","created":1,"owned_by":"ibm"}'
STREAM = (
    b'data: {"type":"transcript.text.delta","delta":"h"}\n\n'
    b'data: {"type":"transcript.text.delta","delta":"i"}\n\n'
    b'data: {"type":"transcript.text.done","text":"hi"}\n\n'
    b"data: [DONE]\n\n"
)
OVERLOADED = httpx.Response(
    429, headers={"Retry-After": "0"}, json={"error": {"message": "full", "type": "rate_limit_error"}}
)


class Recorder:
    """Answers with the responses given, in order, the last one again and again; keeps the requests."""

    def __init__(self, *answers: httpx.Response | bytes | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return httpx.Response(200, content=answer)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def form(self) -> dict[str, Any]:
        request = self.requests[-1]
        header = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        message = email.message_from_bytes(header + request.content, policy=email.policy.HTTP)
        return {
            str(part.get_param("name", header="Content-Disposition")): part.get_payload(decode=True)
            for part in message.iter_parts()
        }


@pytest.mark.parametrize(
    ("method", "answer", "expected", "sent"),
    [
        ("transcribe", JSON, Transcription(text="hi"), b"json"),
        (
            "transcribe_verbose",
            VERBOSE,
            VerboseTranscription(language="english", duration=1.5, text="hi", segments=()),
            b"verbose_json",
        ),
        (
            "transcribe_diarized",
            DIARIZED,
            DiarizedTranscription(duration=1.5, text="hi", segments=()),
            b"diarized_json",
        ),
        ("transcribe_text", b"gr\xc3\xbcn\n", "grün\n", b"text"),
        ("subtitles", b"1\n00:00", "1\n00:00", b"srt"),
        ("translate", JSON, Translation(text="hi"), b"json"),
        ("stream", STREAM, [TextDelta(delta="h"), TextDelta(delta="i"), Done(text="hi")], b"json"),
        (
            "stream_diarized",
            STREAM,
            [TextDelta(delta="h"), TextDelta(delta="i"), Done(text="hi")],
            b"diarized_json",
        ),
    ],
)
def test_a_method_sends_the_audio_and_types_the_answer(
    ask: Ask, method: str, answer: bytes, expected: object, sent: bytes
) -> None:
    server = Recorder(answer)
    assert ask(server, method, AUDIO, prompt="so it goes") == expected
    assert server.requests[-1].method == "POST"
    streamed = {"stream": b"true"} if method.startswith("stream") else {}
    assert server.form() == {
        "model": b"whisper-1",
        "response_format": sent,
        "prompt": b"so it goes",
        "file": AUDIO,
        **streamed,
    }


def test_subtitles_come_in_the_format_asked_for(ask: Ask) -> None:
    server = Recorder(b"WEBVTT\n")
    assert ask(server, "subtitles", AUDIO, "vtt") == "WEBVTT\n"
    assert server.form()["response_format"] == b"vtt"


def test_models_and_states(ask: Ask) -> None:
    model = Model(id="tiny", created=1, owned_by="ibm")
    assert ask(Recorder(b'{"object":"list","data":[' + MODEL + b"]}"), "models") == (model,)
    server = Recorder(MODEL)
    assert ask(server, "model", "ibm/tiny") == model
    assert server.requests[-1].url.raw_path == b"/v1/models/ibm%2Ftiny"


@pytest.mark.parametrize("method", ["health", "ready"])
def test_a_state_is_true_or_false_and_asked_once(ask: Ask, method: str) -> None:
    assert ask(Recorder(b"{}"), method) is True
    server = Recorder(httpx.Response(503, headers={"Retry-After": "0"}))
    assert ask(server, method) is False
    assert [request.url.path for request in server.requests] == [f"/{method}"]


@pytest.mark.parametrize("method", ["health", "ready"])
def test_a_state_nobody_can_tell_is_an_error(ask: Ask, method: str) -> None:
    with pytest.raises(NotFoundError):
        ask(Recorder(httpx.Response(404)), method)


@pytest.mark.parametrize(
    "base_url", ["http://host:1/v1", "http://host:1/v1/", "http://host:1/", "http://host:1"]
)
def test_the_address_may_end_as_openais_does(ask: Ask, base_url: str) -> None:
    server = Recorder(JSON)
    ask(server, "transcribe", AUDIO, client={"base_url": base_url})
    assert str(server.requests[-1].url) == "http://host:1/v1/audio/transcriptions"


def test_the_key_is_sent_only_if_there_is_one(ask: Ask) -> None:
    server = Recorder(JSON)
    ask(server, "transcribe", AUDIO)
    assert "Authorization" not in server.requests[-1].headers
    ask(server, "transcribe", AUDIO, client={"api_key": "k"})
    assert server.requests[-1].headers["Authorization"] == "Bearer k"


@pytest.mark.parametrize("method", ["transcribe", "stream"])
def test_a_refusal_is_raised_with_its_request_id(ask: Ask, method: str) -> None:
    body = {"error": {"message": "no key", "type": "authentication_error", "code": "invalid_api_key"}}
    server = Recorder(httpx.Response(401, headers={"x-request-id": "r1"}, json=body))
    with pytest.raises(AuthenticationError) as caught:
        ask(server, method, AUDIO)
    assert (caught.value.code, caught.value.request_id) == ("invalid_api_key", "r1")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (httpx.ConnectError("refused"), CannotConnectError),
        (httpx.ConnectTimeout("slow"), CannotConnectError),
        (httpx.ReadTimeout("silent"), TimedOutError),
        (httpx.RemoteProtocolError("gone"), TransportError),
    ],
)
def test_what_breaks_on_the_way_is_told_apart(
    ask: Ask, broken: Exception, expected: type[LithophoneError]
) -> None:
    with pytest.raises(expected) as caught:
        ask(Recorder(broken), "transcribe", AUDIO, client={"retries": 0})
    assert type(caught.value) is expected
    assert caught.value.__cause__ is broken


@pytest.mark.parametrize("method", ["transcribe", "stream"])
def test_a_full_queue_is_tried_again_with_the_same_audio(ask: Ask, method: str) -> None:
    server = Recorder(OVERLOADED, OVERLOADED, STREAM if method == "stream" else JSON)
    ask(server, method, AUDIO)
    assert len(server.requests) == 3
    assert server.form()["file"] == AUDIO


def test_a_missing_connection_is_tried_again_ever_later(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr("anyio.sleep", sleep)
    refused = httpx.ConnectError("refused")
    assert ask(Recorder(refused, refused, JSON), "transcribe", AUDIO) == Transcription(text="hi")
    assert waits == [0.5, 1.0]


def test_retries_end(ask: Ask) -> None:
    server = Recorder(OVERLOADED)
    with pytest.raises(TooManyRequestsError, match="full"):
        ask(server, "transcribe", AUDIO, client={"retries": 1})
    assert len(server.requests) == 2


def test_what_cannot_be_sent_twice_is_not(ask: Ask) -> None:
    server = Recorder(OVERLOADED)
    with pytest.raises(TooManyRequestsError):
        ask(server, "transcribe", Pipe(AUDIO))
    assert len(server.requests) == 1
    assert server.requests[-1].headers["Transfer-Encoding"] == "chunked"


class Pipe:
    """A reader that cannot go back."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def seekable(self) -> bool:
        return False

    def read(self, size: int) -> bytes:
        piece, self._content = self._content[:size], self._content[size:]
        return piece


@pytest.mark.parametrize(
    ("error", "failures", "delay_seconds"),
    [
        (CannotConnectError("x"), 1, 0.5),
        (CannotConnectError("x"), 2, 1.0),
        (CannotConnectError("x"), 3, None),
        (TooManyRequestsError("x", status=429, retry_after_seconds=7.0), 1, 7.0),
        (UnavailableError("x", status=503), 1, 0.5),
        (UnavailableError("x", status=503, retry_after_seconds=61.0), 1, None),
        (TimedOutError("x"), 1, None),
        (APIError("x", status=500), 1, None),
    ],
)
def test_the_policy_names_the_wait(
    error: LithophoneError, failures: int, delay_seconds: float | None
) -> None:
    assert RetryPolicy().delay_seconds(error, failures) == delay_seconds


def test_an_answer_of_another_server_is_an_error(ask: Ask) -> None:
    with pytest.raises(UnexpectedResponseError, match="<h1>"):
        ask(Recorder(b"<h1>Welcome</h1>"), "transcribe", AUDIO)


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def test_a_diarized_stream_has_segments_and_unknown_events_are_left_out(ask: Ask) -> None:
    segment = {"id": "s0", "start": 0, "end": 1, "speaker": "A", "text": "hi"}
    stream = event(type="transcript.text.segment", **segment) + event(type="transcript.mood", mood="good")
    assert ask(Recorder(stream + STREAM), "stream_diarized", AUDIO)[0] == SpeakerSegment(
        id="s0", start=0.0, end=1.0, speaker="A", text="hi"
    )
    assert len(ask(Recorder(stream + STREAM), "stream_diarized", AUDIO)) == 4


ERROR = {"message": "out of memory", "type": "server_error", "param": None, "code": "internal_error"}


@pytest.mark.parametrize(
    "failure",
    [
        event(error=ERROR),
        b"event: error\n" + event(error=ERROR),
        event(type="error", error=ERROR),
    ],
)
def test_an_error_in_a_stream_is_raised_after_the_events_before_it(failure: bytes) -> None:
    stream = event(type="transcript.text.delta", delta="h") + failure
    response = httpx.Response(200, headers={"x-request-id": "r1"}, content=stream)
    with Lithophone(transport=httpx.MockTransport(Recorder(response))) as client:
        events = client.stream(AUDIO)
        assert next(events) == TextDelta(delta="h")
        with pytest.raises(StreamFailedError, match="out of memory") as caught:
            next(events)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (200, "internal_error", "r1")


def test_an_error_in_a_stream_without_the_usual_shape_is_still_raised(ask: Ask) -> None:
    with pytest.raises(StreamFailedError, match="boom"):
        ask(Recorder(event(error="boom")), "stream", AUDIO)


@pytest.mark.parametrize("stream", [b"", b"data: [DONE]\n\n", STREAM[:60], b'{"text":"hi"}'])
def test_a_stream_that_ends_too_early_is_an_error(ask: Ask, stream: bytes) -> None:
    with pytest.raises(UnexpectedResponseError, match="ended before"):
        ask(Recorder(stream), "stream", AUDIO)


@pytest.mark.parametrize("data", ["{", '{"type":"transcript.text.delta"}', "[1]"])
def test_an_event_that_breaks_the_contract_is_an_error(ask: Ask, data: str) -> None:
    with pytest.raises(UnexpectedResponseError):
        ask(Recorder(f"data: {data}\n\n".encode()), "stream", AUDIO)


class WatchedStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that goes on after `[DONE]`, and remembers whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield STREAM
        pytest.fail("read on after [DONE]")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield STREAM
        pytest.fail("read on after [DONE]")

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def test_the_response_is_closed_after_the_last_event(ask: Ask) -> None:
    body = WatchedStream()
    assert len(ask(lambda _: httpx.Response(200, stream=body), "stream", AUDIO)) == 3
    assert body.closed


def test_leaving_a_stream_early_closes_the_response() -> None:
    body = WatchedStream()
    with Lithophone(transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=body))) as client:
        with client.stream(AUDIO) as events:
            next(events)
        assert body.closed


def test_leaving_an_async_stream_early_closes_the_response() -> None:
    body = WatchedStream()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))

    async def leave_early() -> None:
        async with AsyncLithophone(transport=transport) as client:
            async with client.stream(AUDIO) as events:
                await anext(events)
            assert body.closed

    asyncio.run(leave_early())


def test_the_response_is_closed_when_an_event_is_bad(ask: Ask) -> None:
    class Bad(WatchedStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"data: {\n\n"

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"data: {\n\n"

    body = Bad()
    with pytest.raises(UnexpectedResponseError):
        ask(lambda _: httpx.Response(200, stream=body), "stream", AUDIO)
    assert body.closed
