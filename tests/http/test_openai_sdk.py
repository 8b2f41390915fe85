"""OpenAI's Python SDK, sync and async, against a live server: changed only in `base_url`."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import openai
import pytest
import uvicorn
from openai import AsyncOpenAI, OpenAI
from openai.types import Model
from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
)
from pydantic import BaseModel

from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.engine.admission import Admission
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.hosts.models import Models
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from lithophone.http.app import create_app
from lithophone.http.options import HttpOptions

DEMO = Path(__file__).parents[2] / "examples" / "speech" / "demo.flac"
DEMO_SECONDS = (3.0, 15.0)

Use = Callable[..., Any]
SdkModel = TypeVar("SdkModel", bound=BaseModel)


class LiveServer(Protocol):
    url: str


class Sdk:
    """One SDK client. `use` calls a method of a resource; a stream and a list come back as a list."""

    def __init__(self, url: str, api_key: str = "none") -> None:
        self._settings: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": api_key, "max_retries": 0}


class SyncSdk(Sdk):
    def __enter__(self) -> Self:
        self._client = OpenAI(**self._settings)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def use(self, method: str, *args: Any, **options: Any) -> Any:
        result = attrgetter(method)(self._client)(*args, **options)
        return list(result) if options.get("stream") or method == "models.list" else result


class AsyncSdk(Sdk):
    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self._client = AsyncOpenAI(**self._settings)
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def use(self, method: str, *args: Any, **options: Any) -> Any:
        return self._runner.run(self._use(method, *args, **options))

    async def _use(self, method: str, *args: Any, **options: Any) -> Any:
        result = attrgetter(method)(self._client)(*args, **options)
        if method == "models.list":
            return [item async for item in result]
        result = await result
        return [event async for event in result] if options.get("stream") else result


@pytest.fixture(scope="module", params=[SyncSdk, AsyncSdk], ids=["sync", "async"])
def use(request: pytest.FixtureRequest, live_server: LiveServer) -> Iterator[Use]:
    with request.param(live_server.url) as sdk:
        yield sdk.use


@pytest.fixture(scope="module")
def transcribe(use: Use) -> Use:
    """`transcribe(**options)` of the demo file."""
    defaults = {"file": DEMO, "model": "whisper-1"}
    return lambda **options: use("audio.transcriptions.create", **(defaults | options))


@pytest.fixture(scope="module")
def spoken(transcribe: Use) -> str:
    """The text of the demo file, as the plainest request has it."""
    return transcribe().text


def complete(value: Any, expected: type[SdkModel]) -> SdkModel:
    """The value, found to be what its type says: the SDK itself builds its models without any check."""
    assert type(value) is expected
    expected.model_validate(value.model_dump(exclude_unset=True), strict=True)
    return value


def test_json_is_a_transcription(transcribe: Use) -> None:
    answer = complete(transcribe(), Transcription)
    assert answer.text.strip()
    assert answer.usage is not None
    assert answer.usage.type == "tokens"
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.usage.input_token_details is not None
    assert answer.logprobs is None


def test_logprobs_are_told_when_asked_for(transcribe: Use) -> None:
    answer = complete(transcribe(include=["logprobs"]), Transcription)
    assert answer.logprobs
    assert all(token.logprob is not None and token.logprob <= 0 for token in answer.logprobs)
    spelled = b"".join(bytes(int(byte) for byte in token.bytes or []) for token in answer.logprobs)
    assert spelled.decode().split() == answer.text.split()


def test_verbose_json_is_a_verbose_transcription(transcribe: Use) -> None:
    answer = complete(transcribe(response_format="verbose_json"), TranscriptionVerbose)
    shortest, longest = DEMO_SECONDS
    assert shortest < answer.duration < longest
    assert answer.usage is not None
    assert answer.usage.seconds == pytest.approx(answer.duration, abs=1)
    assert answer.model_extra is not None
    assert answer.model_extra["task"] == "transcribe"
    assert answer.language == "english"


def test_segments_follow_each_other_inside_the_audio(transcribe: Use) -> None:
    answer = transcribe(response_format="verbose_json", timestamp_granularities=["segment"])
    times = [time for segment in answer.segments for time in (segment.start, segment.end)]
    assert times
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= answer.duration
    assert "".join(segment.text for segment in answer.segments).split() == answer.text.split()


def test_text_is_the_text_and_a_newline(transcribe: Use, spoken: str) -> None:
    assert transcribe(response_format="text") == f"{spoken}\n"


@pytest.mark.parametrize(
    ("response_format", "header", "time"),
    [("srt", "1\n", r"\d\d:\d\d:\d\d,\d{3}"), ("vtt", "WEBVTT\n\n", r"(?:\d\d:)?\d\d:\d\d\.\d{3}")],
)
def test_subtitles_are_text(transcribe: Use, response_format: str, header: str, time: str) -> None:
    subtitles = transcribe(response_format=response_format)
    assert isinstance(subtitles, str)
    assert re.match(rf"{header}{time} --> {time}\n\S", subtitles)


def test_a_stream_ends_with_the_deltas_joined(transcribe: Use, spoken: str) -> None:
    *deltas, done = transcribe(stream=True)
    assert deltas
    text = "".join(complete(delta, TranscriptionTextDeltaEvent).delta for delta in deltas)
    assert complete(done, TranscriptionTextDoneEvent).text == text == spoken
    assert done.usage is not None
    assert done.usage.type == "tokens"


def test_a_stream_tells_logprobs_when_asked_to(transcribe: Use) -> None:
    *deltas, done = transcribe(stream=True, include=["logprobs"])
    in_deltas = [token.model_dump() for delta in deltas for token in delta.logprobs or []]
    in_done = [token.model_dump() for token in complete(done, TranscriptionTextDoneEvent).logprobs or []]
    assert in_done == in_deltas != []


def test_options_the_sdk_writes_in_its_own_way_are_understood(transcribe: Use) -> None:
    answer = transcribe(chunking_strategy="auto", language="en", languages=["en"], temperature=0)
    assert complete(answer, Transcription).text


def test_a_file_without_a_name_is_told_by_its_bytes(transcribe: Use, spoken: str) -> None:
    assert transcribe(file=DEMO.read_bytes()).text == spoken


def test_every_model_listed_can_be_retrieved(use: Use) -> None:
    models = use("models.list")
    assert "whisper-1" in {complete(model, Model).id for model in models}
    assert [use("models.retrieve", model.id).id for model in models] == [model.id for model in models]


def test_an_unknown_model_is_not_found(use: Use, transcribe: Use) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        transcribe(model="no-such-model")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id
    with pytest.raises(openai.NotFoundError) as caught:
        use("models.retrieve", "no-such-model")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("response_format", "xml"),
        ("temperature", 2),
        ("language", "xx"),
    ],
)
def test_a_bad_request_names_its_field(transcribe: Use, param: str, value: object) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        transcribe(**{param: value})
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_audio_is_refused_before_the_stream(transcribe: Use, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        transcribe(file=("talk.wav", b"this is no sound"), stream=stream)
    assert (caught.value.type, caught.value.code) == ("invalid_request_error", "unsupported_media")


def test_the_request_id_of_the_caller_comes_back(transcribe: Use) -> None:
    answer = transcribe(extra_headers={"x-request-id": "mine-1"})
    assert answer._request_id == "mine-1"


@pytest.fixture(scope="module")
def keyed_url() -> Iterator[str]:
    """A server that asks for the key `right`; nobody gets as far as its fake backend."""
    host = SupervisedHost(DEMONSTRATION_ID, FAMILY[DEMONSTRATION_ID], in_thread(FakeBackend, PlainRuntime()))
    app = create_app(Models([host]), Admission(32), options=HttpOptions(api_keys=("right",)))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("sdk_class", [SyncSdk, AsyncSdk])
def test_a_wrong_key_is_an_authentication_error(sdk_class: type[SyncSdk | AsyncSdk], keyed_url: str) -> None:
    with sdk_class(keyed_url, "wrong") as sdk:
        with pytest.raises(openai.AuthenticationError) as caught:
            sdk.use("models.list")
        assert (caught.value.code, caught.value.type) == ("invalid_api_key", "authentication_error")
        with pytest.raises(openai.AuthenticationError):
            sdk.use("audio.transcriptions.create", file=DEMO, model="whisper-1")
    with sdk_class(keyed_url, "right") as sdk:
        assert sdk.use("models.list")
