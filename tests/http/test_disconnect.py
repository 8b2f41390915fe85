"""The client leaves: the work ends, the place is free, no file stays, nothing is logged as an error."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from lithophone.backends.base import RecognitionRequest
from lithophone.errors import RequestCancelledError
from lithophone.http.disconnect import unless_disconnected
from tests.http.conftest import SHORT, THREE_WINDOWS, Live, eventually, serving, stored_files
from tests.http.test_upload import FILE_HEAD, MODEL_PART, MULTIPART

pytestmark = pytest.mark.usefixtures("nothing_stays")


@pytest.fixture(scope="module")
def slow() -> Iterator[Live]:
    """Half a minute a window, and one place."""
    with serving(delay_seconds=30.0, max_requests=1) as live:
        yield live


def free(live: Live) -> bool:
    return not live.admission.requests


def leave_after(live: Live, audio: bytes, seconds: float, **fields: str) -> None:
    with pytest.raises(httpx.ReadTimeout), httpx.Client(base_url=live.url, timeout=seconds) as client:
        client.post(
            "/v1/audio/transcriptions",
            files={"file": ("a.wav", audio)},
            data={"model": "whisper-1"} | fields,
        )


@pytest.mark.parametrize("stream", ["false", "true"])
def test_leaving_before_the_answer_ends_the_work(slow: Live, stream: str) -> None:
    with capture_logs() as logs:
        leave_after(slow, THREE_WINDOWS, 0.5, stream=stream)
        eventually(lambda: free(slow))
        eventually(lambda: any(entry["event"] == "request" for entry in logs))
    assert slow.script.decoding == 0
    assert [entry for entry in logs if entry["log_level"] not in {"info", "debug"}] == []
    (access,) = [entry for entry in logs if entry["event"] == "request"]
    assert access["client_left"] is True
    assert access["status"] == RequestCancelledError.status


def test_leaving_a_running_stream_ends_the_work() -> None:
    first = threading.Semaphore(1)

    def hear_once_then_slowly(_: RecognitionRequest) -> str:
        if not first.acquire(blocking=False):
            time.sleep(0.5)
        return "words"

    with serving(max_requests=1) as live, capture_logs() as logs:
        live.script.hear = hear_once_then_slowly
        with live.client.stream(
            "POST",
            "/v1/audio/transcriptions",
            files={"file": ("a.wav", THREE_WINDOWS)},
            data={"model": "whisper-1", "stream": "true"},
        ) as response:
            assert "delta" in next(response.iter_lines())
        eventually(lambda: free(live))
        eventually(lambda: any(entry["event"] == "request" for entry in logs))
        assert live.script.decoding == 0
        (access,) = [entry for entry in logs if entry["event"] == "request"]
        assert access["client_left"] is True
        assert access["status"] == 200


def test_leaving_during_the_upload_leaves_nothing(slow: Live) -> None:
    address, before = urlsplit(slow.url), stored_files()
    with capture_logs() as logs:
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            connection.sendall(
                f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: {address.netloc}\r\n"
                f"Content-Type: {MULTIPART}\r\nContent-Length: 500000\r\n\r\n".encode()
                + MODEL_PART
                + FILE_HEAD
                + SHORT
            )
            eventually(lambda: not stored_files() <= before)
            assert free(slow)
        eventually(lambda: stored_files() <= before)
        eventually(lambda: any(entry["event"] == "request" for entry in logs))
    assert {entry["log_level"] for entry in logs} == {"info"}


def test_work_that_ends_first_gives_its_result() -> None:
    async def scenario() -> None:
        async def stays() -> Any:
            await asyncio.sleep(60)

        async def work() -> int:
            return 7

        assert await unless_disconnected(stays, work()) == 7

    asyncio.run(scenario())


def test_work_is_cancelled_and_awaited_when_the_client_goes() -> None:
    async def scenario() -> None:
        ended = False

        async def goes() -> Any:
            return {"type": "http.disconnect"}

        async def work() -> None:
            nonlocal ended
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0)
                ended = True

        with pytest.raises(RequestCancelledError):
            await unless_disconnected(goes, work())
        assert ended

    asyncio.run(scenario())
