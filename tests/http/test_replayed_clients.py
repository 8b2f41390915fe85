"""Requests of programs that cannot be installed here, replayed as they send them, and their answers read as they do.

Each was written down from the program's public source; what is special about it is in its test's name or comment. Those
whose library installs from an index are in `tests/clients`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import httpx
import openai
import pytest
from openai.types.audio import TranscriptionVerbose

from lithophone.http.options import HttpOptions
from tests.http.conftest import SHORT, THREE_WINDOWS, Live, serving

PATH = "/v1/audio/transcriptions"
CRLF = "\r\n"


class Part(NamedTuple):
    """A part of a multipart body: its headers as they are written, and its content."""

    headers: tuple[str, ...]
    content: bytes


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


def field(name: str, value: str, *headers: str) -> Part:
    return Part((*headers, f"Content-Disposition: form-data; {name}"), value.encode())


def sent(live: Live, headers: Iterable[str], boundary: str, parts: Iterable[Part]) -> Answer:
    """Send a request to the byte as it is given, and read the answer."""
    body = b"".join(
        f"--{boundary}{CRLF}{CRLF.join(part.headers)}{CRLF}{CRLF}".encode() + part.content + CRLF.encode()
        for part in parts
    )
    body += f"--{boundary}--{CRLF}".encode()
    address = httpx.URL(live.url)
    lines = (
        f"POST {PATH} HTTP/1.1",
        f"Host: {address.host}:{address.port}",
        *headers,
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    with socket.create_connection((address.host, address.port or 80), timeout=20) as connection:
        connection.sendall(f"{CRLF.join(lines)}{CRLF}{CRLF}".encode() + body)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    status, *rest = head.decode().split(CRLF)
    answered = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return Answer(int(status.split()[1]), answered, _dechunked(body) if _is_chunked(answered) else body)


def _is_chunked(headers: dict[str, str]) -> bool:
    return headers.get("transfer-encoding") == "chunked"


def _dechunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole


class SubtitleEdit:
    """Subtitle Edit 5 with an OpenAI-compatible service: .NET's form, json with both granularities, a stream."""

    BOUNDARY = "5f1c7c1e-8e5e-4e0f-9c0b-0d5a0a6b1c11"

    def request(self, live: Live, recording: bytes) -> Answer:
        text = "Content-Type: text/plain; charset=utf-8"
        file = (
            "Content-Type: audio/wav",
            "Content-Disposition: form-data; name=file; filename=audio.wav; filename*=utf-8''audio.wav",
        )
        parts = (
            Part(file, recording),
            field("name=model", "whisper-1", text),
            field("name=language", "en", text),
            field("name=response_format", "json", text),
            field('name="timestamp_granularities[]"', "segment", text),
            field('name="timestamp_granularities[]"', "word", text),
            field("name=stream", "true", text),
        )
        headers = (f'Content-Type: multipart/form-data; boundary="{self.BOUNDARY}"',)
        return sent(live, headers, self.BOUNDARY, parts)

    def text_of(self, stream: str) -> str:
        """As its reader does: an event without a name is dropped."""
        text, name, data = "", "", ""
        for line in stream.splitlines():
            if not line.strip():
                if data and name == "transcript.text.delta":
                    text += json.loads(data)["delta"]
                name, data = "", ""
            elif line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                data += line[5:].strip()
        return text.strip()


def test_subtitle_edit_reads_the_stream(server: Live) -> None:
    program = SubtitleEdit()
    answer = program.request(server, THREE_WINDOWS)
    assert answer.status == 200
    assert program.text_of(answer.body.decode()) == server.transcribe(THREE_WINDOWS).json()["text"]


def test_a_file_whose_name_is_extended_alone_is_a_file(server: Live) -> None:
    file = ("Content-Disposition: form-data; name=file; filename*=utf-8''gr%C3%BC%C3%9Fe.wav",)
    answer = sent(
        server,
        ("Content-Type: multipart/form-data; boundary=b",),
        "b",
        (Part(file, SHORT), field("name=model", "whisper-1")),
    )
    assert (answer.status, json.loads(answer.body)["text"]) == (200, "heard 1.00 seconds peak 0.50")


class Buzz:
    """Buzz with its OpenAI service: the Python SDK, verbose_json, and for word times `word` alone."""

    def __init__(self, live: Live) -> None:
        self._client = openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0)

    def cues(self, recording: bytes, *, words: bool) -> list[tuple[int, int, str]]:
        """Milliseconds and text; with segments beside the words it would look for the words inside of them."""
        options: dict[str, Any] = {"timestamp_granularities": ["word"]} if words else {}
        with self._client as client:
            transcript = client.audio.transcriptions.create(
                model="whisper-1",
                file=("talk.mp3", recording),
                response_format="verbose_json",
                prompt="",
                language="en",
                **options,
            )
        assert isinstance(transcript, TranscriptionVerbose)
        if not words:
            return [self._cue(one, one.text) for one in transcript.segments or ()]
        assert transcript.segments is None
        return [self._cue(one, one.word) for one in transcript.words or ()]

    @staticmethod
    def _cue(part: Any, text: str) -> tuple[int, int, str]:
        return int(part.start * 1000), int(part.end * 1000), text


@pytest.mark.parametrize("words", [False, True])
def test_buzz_gets_cues_and_none_is_blank(server: Live, words: bool) -> None:
    cues = Buzz(server).cues(THREE_WINDOWS, words=words)
    assert cues
    assert all(text.strip() for *_, text in cues)
    assert " ".join(text for *_, text in cues) == server.transcribe(THREE_WINDOWS).json()["text"]


class ObsidianWhisper:
    """The Whisper plugin of Obsidian: axios in an Electron page, so the browser asks first and keeps what it may not read."""

    ORIGIN = "app://obsidian.md"
    BOUNDARY = "----WebKitFormBoundaryq2Zb1V0cG7jL3y5N"

    def text(self, live: Live, recording: bytes) -> str:
        self._ask(live)
        parts = (
            Part(
                (
                    'Content-Disposition: form-data; name="file"; filename="2026-11-26T18-00-00.webm"',
                    "Content-Type: audio/webm",
                ),
                recording,
            ),
            field('name="model"', "whisper-1"),
            field('name="language"', "en"),
        )
        headers = (
            "Accept: application/json, text/plain, */*",
            "Authorization: Bearer none",
            f"Content-Type: multipart/form-data; boundary={self.BOUNDARY}",
            f"Origin: {self.ORIGIN}",
            "Sec-Fetch-Mode: cors",
            "Sec-Fetch-Site: cross-site",
        )
        answer = sent(live, headers, self.BOUNDARY, parts)
        self._require_readable(answer.headers)
        return json.loads(answer.body)["text"]

    def _ask(self, live: Live) -> None:
        asked = live.client.options(
            PATH,
            headers={
                "access-control-request-headers": "authorization",
                "access-control-request-method": "POST",
                "origin": self.ORIGIN,
            },
        )
        assert asked.is_success
        self._require_readable(asked.headers)
        assert "authorization" in asked.headers["access-control-allow-headers"]

    def _require_readable(self, headers: Any) -> None:
        assert headers.get("access-control-allow-origin") == self.ORIGIN


@pytest.fixture(scope="module")
def notes() -> Iterator[Live]:
    with serving(options=HttpOptions(cors_origins=(ObsidianWhisper.ORIGIN,))) as live:
        yield live


def test_obsidians_plugin_may_ask_and_read(notes: Live) -> None:
    assert ObsidianWhisper().text(notes, SHORT) == "heard 1.00 seconds peak 0.50"


def test_open_webui_gets_its_text(server: Live) -> None:
    """Python's requests: the file first in the body, the fields behind; the text is taken from the json."""
    boundary = "b3f0c1d2e4a5968778695a4b3c2d1e0f"
    file = 'Content-Disposition: form-data; name="file"; filename="5f1c7c1e-8e5e-4e0f.wav"'
    parts = (field('name="model"', "whisper-1"), field('name="language"', "en"), Part((file,), SHORT))
    headers = (
        "User-Agent: python-requests/2.32.3",
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Authorization: Bearer none",
        f"Content-Type: multipart/form-data; boundary={boundary}",
    )
    answer = sent(server, headers, boundary, parts)
    assert (answer.status, json.loads(answer.body)["text"]) == (200, "heard 1.00 seconds peak 0.50")


def test_home_assistant_gets_its_text(server: Live) -> None:
    """Its own prompt and the language of the user's voice assistant, always."""

    async def text() -> str:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            response = await client.audio.transcriptions.create(
                model="gpt-4o-mini-transcribe",
                file=("a.wav", SHORT),
                response_format="json",
                language="en",
                prompt="The following conversation is a smart home user talking to Home Assistant.",
            )
            return response.text

    assert asyncio.run(text()) == "heard 1.00 seconds peak 0.50"
