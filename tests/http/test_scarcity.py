"""What is scarce is held by those who use it: places, room for uploads, time."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from lithophone.engine.admission import Admission
from lithophone.http.options import HttpOptions
from tests.http.conftest import (
    SHORT,
    THREE_WINDOWS,
    Live,
    error_of,
    eventually,
    occupied,
    serving,
    stored_files,
)
from tests.http.test_upload import FILE_HEAD, MODEL_PART, MULTIPART, any_sound

pytestmark = pytest.mark.usefixtures("nothing_stays")


@contextmanager
def sending(live: Live, body: bytes, announced_bytes: int = 90_000) -> Iterator[socket.socket]:
    """A client that sends the beginning of an upload and then takes its time."""
    address = urlsplit(live.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(
            f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Content-Type: {MULTIPART}\r\nContent-Length: {announced_bytes}\r\n\r\n".encode()
            + body
        )
        yield connection


def answer_of(connection: socket.socket) -> bytes:
    answer = b""
    while b"}}" not in answer and (more := connection.recv(4000)):
        answer += more
    return answer


def test_slow_senders_hold_no_place() -> None:
    with serving(max_requests=1) as live, ExitStack() as trickle:
        for _ in range(20):
            trickle.enter_context(sending(live, MODEL_PART + FILE_HEAD))
        eventually(lambda: len(stored_files()) >= 20)
        assert [live.transcribe().status_code for _ in range(5)] == [200] * 5


def test_a_body_that_comes_byte_by_byte_is_given_up() -> None:
    options = HttpOptions(upload_idle_seconds=0.4, upload_bytes_per_second=10_000)
    with serving(options=options) as live, sending(live, MODEL_PART + FILE_HEAD) as connection:
        connection.settimeout(0.05)
        end, answer = time.monotonic() + 10, b""
        while not answer and time.monotonic() < end:
            connection.sendall(b"x")
            with suppress(TimeoutError):
                answer = connection.recv(1)
        connection.settimeout(10)
        assert b"upload_stalled" in answer_of(connection)


def test_a_body_has_a_last_moment() -> None:
    options = HttpOptions(upload_seconds=0.3, upload_bytes_per_second=0)
    with serving(options=options) as live, sending(live, MODEL_PART + FILE_HEAD) as connection:
        assert b"upload_stalled" in answer_of(connection)


def test_uploads_are_counted() -> None:
    with serving(options=HttpOptions(max_uploads=1)) as live:
        with sending(live, MODEL_PART + FILE_HEAD):
            eventually(lambda: bool(stored_files()))
            response = live.transcribe()
            assert error_of(response, 429)["code"] == "overloaded"
            assert int(response.headers["retry-after"]) >= 1
        eventually(lambda: live.transcribe().status_code == 200)


def test_what_uploads_take_together_is_bounded_and_given_back() -> None:
    options = HttpOptions(max_stored_bytes=80_000)
    with serving(options=options, audio_source=any_sound) as live:
        with sending(live, MODEL_PART + FILE_HEAD + SHORT):
            eventually(lambda: live.transcribe(bytes(60_000)).status_code == 429)
        eventually(lambda: live.transcribe(bytes(60_000)).status_code == 200)
        assert live.transcribe(bytes(60_000)).status_code == 200


def test_more_clients_than_places_are_all_served() -> None:
    with serving(delay_seconds=0.02, max_requests=2) as live:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: live.transcribe(), range(32)))
        assert {answer.status_code for answer in answers} == {200}


def test_one_that_waits_may_leave() -> None:
    with serving(max_requests=1) as live:
        with occupied(live):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(
                    f"{live.url}/v1/audio/transcriptions",
                    files={"file": ("a.wav", SHORT)},
                    data={"model": "whisper-1"},
                    timeout=0.3,
                )
            eventually(lambda: not live.admission.waiting)
        eventually(lambda: not live.admission.requests)


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_request_may_not_take_for_ever(stream: str) -> None:
    with serving(delay_seconds=20.0, admission=Admission(1, max_request_seconds=0.3)) as live:
        response = live.transcribe(stream=stream)
        assert error_of(response, 503)["code"] == "deadline_exceeded"
        eventually(lambda: not live.admission.requests)


def test_the_end_of_the_grace_is_told_in_the_error_shape() -> None:
    with (
        ThreadPoolExecutor(2) as pool,
        serving(delay_seconds=20.0, grace_seconds=1) as live,
        sending(live, MODEL_PART) as half,
    ):
        answers = [pool.submit(live.transcribe, stream=stream) for stream in ("true", "false")]
        eventually(lambda: live.admission.requests == 2)
        live.server.should_exit = True
        for answer in answers:
            assert error_of(answer.result(), 503)["code"] == "shutting_down"
        assert b"shutting_down" in answer_of(half)


def test_a_stream_that_is_cut_ends_with_an_error_event() -> None:
    with serving(delay_seconds=0.5) as live:
        heard: list[str] = []
        with live.client.stream(
            "POST",
            "/v1/audio/transcriptions",
            files={"file": ("a.wav", THREE_WINDOWS)},
            data={"model": "whisper-1", "stream": "true"},
        ) as response:
            for line in response.iter_lines():
                if not heard:
                    live.loop.call_soon_threadsafe(live.admission.deadlines.end)
                heard.append(line)
        assert "event: error" in heard
        assert "shutting_down" in heard[-2] + heard[-1] + heard[-3]
        eventually(lambda: not live.admission.requests)
