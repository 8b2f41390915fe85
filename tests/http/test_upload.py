"""Bodies: broken, wrong, too large, too slow. Each is a 4xx in the error shape and leaves no file behind."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Iterator
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lithophone.audio.decode import DecodeLimits
from lithophone.http.options import FORM_OVERHEAD_BYTES, HttpOptions
from tests.http.conftest import SHORT, Live, Sound, error_of, serving, tone

BOUNDARY = "stone"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
MODEL_PART = b'--stone\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
FILE_HEAD = b'--stone\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
END = b"\r\n--stone--\r\n"


pytestmark = pytest.mark.usefixtures("nothing_stays")


def any_sound(file: BinaryIO, _: DecodeLimits, __: int | None) -> Sound:
    """An audio source that takes whatever came."""

    async def blocks() -> AsyncGenerator[bytes, None]:
        yield tone(0.1, 0.5) if file.seek(0, 2) else b""

    return Sound(blocks())


@pytest.fixture(scope="module")
def small() -> Iterator[Live]:
    options = HttpOptions(max_upload_bytes=100_000, upload_idle_seconds=0.5)
    with serving(options=options, max_requests=2, audio_source=any_sound) as live:
        yield live


def post(live: Live, body: bytes | Iterator[bytes], content_type: str = MULTIPART) -> httpx.Response:
    return live.client.post("/v1/audio/transcriptions", content=body, headers={"content-type": content_type})


def test_a_body_written_by_hand_is_read(small: Live) -> None:
    assert post(small, MODEL_PART + FILE_HEAD + SHORT + END).status_code == 200


def test_a_chunked_upload_needs_no_length(small: Live) -> None:
    body = MODEL_PART + FILE_HEAD + SHORT + END
    response = post(small, iter([body[start : start + 1000] for start in range(0, len(body), 1000)]))
    assert response.status_code == 200


def test_bytes_after_the_end_do_not_matter(small: Live) -> None:
    body = MODEL_PART + FILE_HEAD + SHORT + END
    assert post(small, iter([body, b"epilogue" * 1000, b"more"])).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/x-www-form-urlencoded", "audio/wav", ""]
)
def test_anything_but_multipart_is_refused_by_name(small: Live, content_type: str) -> None:
    error = error_of(post(small, b'{"model": "whisper-1"}', content_type), 400)
    assert error["param"] == "file"
    assert "multipart/form-data" in error["message"]
    assert content_type in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"stone",
        MODEL_PART,
        MODEL_PART + FILE_HEAD,
        MODEL_PART + FILE_HEAD + SHORT,
        b"--stone\r\n\r\nno headers\r\n--stone--\r\n",
        b"--stone\r\nContent-Disposition: attachment\r\n\r\nx\r\n--stone--\r\n",
        b"--other" + MODEL_PART[7:],
    ],
)
def test_a_broken_body_is_a_400(small: Live, body: bytes) -> None:
    assert error_of(post(small, body), 400)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary=""'],
)
def test_a_boundary_is_needed(small: Live, content_type: str) -> None:
    assert "boundary" in error_of(post(small, MODEL_PART + END, content_type), 400)["message"]


def test_a_missing_file_and_a_missing_model_are_named(small: Live) -> None:
    assert error_of(post(small, MODEL_PART[:-2] + END), 400)["param"] == "file"
    assert error_of(post(small, FILE_HEAD + SHORT + END), 400)["param"] == "model"


def test_text_that_is_not_utf8_is_named(small: Live) -> None:
    body = b'--stone\r\nContent-Disposition: form-data; name="language"\r\n\r\n\xff\xfe' + END
    assert error_of(post(small, body), 400)["param"] == "language"


def test_a_file_part_without_a_name_is_told_how_to_come(small: Live) -> None:
    head = b'--stone\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    for content in (SHORT, b"speech.wav"):
        error = error_of(post(small, MODEL_PART + head + content + END), 400)
        assert error["param"] == "file"
        assert "file=@" in error["message"]


def test_two_files_are_one_too_many(small: Live) -> None:
    error = error_of(post(small, MODEL_PART + FILE_HEAD + SHORT + b"\r\n" + FILE_HEAD + SHORT + END), 400)
    assert error["param"] == "file"


def test_a_file_in_another_field_is_named(small: Live) -> None:
    error = error_of(post(small, MODEL_PART + FILE_HEAD.replace(b'"file"', b'"audio"') + SHORT + END), 400)
    assert error["param"] == "audio"


@pytest.mark.parametrize("name", ["cover", "file[]", ""])
@pytest.mark.parametrize("before", [True, False])
def test_a_file_beside_the_audio_is_passed_over_and_named(small: Live, name: str, before: bool) -> None:
    audio = FILE_HEAD + SHORT + b"\r\n"
    other = FILE_HEAD.replace(b'"file"', f'"{name}"'.encode()) + b"\0" * 2_000 + b"\r\n"
    parts = other + audio if before else audio + other
    answer = post(small, MODEL_PART + parts + END[2:])
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == post(small, MODEL_PART + audio + END[2:]).json()["text"]
    assert answer.headers["x-lithophone-warning"] == f"{name}: unknown, not used."


def test_a_field_that_comes_as_a_file_is_named(small: Live) -> None:
    language = FILE_HEAD.replace(b'"file"', b'"language"') + b"en\r\n"
    error = error_of(post(small, MODEL_PART + language + FILE_HEAD + SHORT + END), 400)
    assert error["param"] == "language"


def test_a_strict_server_refuses_a_file_beside_the_audio() -> None:
    other = FILE_HEAD.replace(b'"file"', b'"cover"') + b"x\r\n"
    with serving(options=HttpOptions(strict=True), audio_source=any_sound) as live:
        error = error_of(post(live, MODEL_PART + other + FILE_HEAD + SHORT + END), 400)
    assert error["param"] == "cover"


def test_a_name_in_another_charset_is_no_obstacle(small: Live) -> None:
    head = FILE_HEAD.replace(b"a.wav", "größe.wav".encode("latin-1"))
    assert post(small, MODEL_PART + head + SHORT + END).status_code == 200


def test_too_many_parts_are_refused(small: Live) -> None:
    part = b'--stone\r\nContent-Disposition: form-data; name="keywords[]"\r\n\r\nx\r\n'
    assert "too many parts" in error_of(post(small, part * 300 + END[2:]), 400)["message"]


def test_a_length_over_the_limit_is_refused_unread(small: Live) -> None:
    address = urlsplit(small.url)
    request = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: {MULTIPART}\r\n"
        "Content-Length: 999999999\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(request.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_upload_over_the_limit_is_a_413_though_no_length_was_announced(small: Live) -> None:
    chunks = [MODEL_PART, FILE_HEAD, *[b"\0" * 50_000] * 3, END]
    error = error_of(post(small, iter(chunks)), 413)
    assert error["param"] == "file"
    assert "100000 bytes" in error["message"]


def test_a_body_over_the_limit_is_a_413_wherever_its_bytes_are(small: Live) -> None:
    chunks = [FILE_HEAD, SHORT, END, *[b"\0" * 100_000] * 12]
    assert error_of(post(small, iter(chunks)), 413)["code"] == "payload_too_large"


def test_text_has_a_limit_of_its_own(small: Live) -> None:
    head = b'--stone\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
    error = error_of(post(small, MODEL_PART + head + b"x" * (FORM_OVERHEAD_BYTES + 1) + END), 413)
    assert error["param"] == "prompt"


def test_an_upload_that_stands_still_gives_its_place_back(small: Live) -> None:
    address = urlsplit(small.url)
    request = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: {MULTIPART}\r\n"
        "Content-Length: 5000\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(request.encode() + FILE_HEAD)
        answer = b""
        while b"}}" not in answer:
            answer += connection.recv(4000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"upload_stalled" in answer


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    cuts=st.lists(st.integers(0, 5000), max_size=3),
    flips=st.dictionaries(st.integers(0, 400), st.binary(min_size=1, max_size=1)),
)
def test_a_damaged_body_is_never_a_500(small: Live, cuts: list[int], flips: dict[int, bytes]) -> None:
    body = bytearray(MODEL_PART + FILE_HEAD + SHORT[:5000] + END)
    for position, byte in flips.items():
        body[position % len(body)] = byte[0]
    for cut in cuts:
        del body[cut : cut + 7]
    assert post(small, bytes(body)).status_code < 500


@pytest.mark.parametrize(
    ("disposition", "is_file"),
    [
        ("name=file; filename*=utf-8''a.wav", True),
        ("name=\"file\"; FileName* = UTF-8''a.wav", True),
        ('name="file"; filename="a.wav"; filename*=utf-8\'\'b.wav', True),
        ('name="file"; filename=""', False),
        ("name=file; filename*=", False),
    ],
)
def test_a_file_is_known_by_either_of_its_names(server: Live, disposition: str, is_file: bool) -> None:
    head = f"--stone\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
    body = (
        head + SHORT + b'\r\n--stone\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1' + END
    )
    response = server.client.post(
        "/v1/audio/transcriptions", content=body, headers={"content-type": MULTIPART}
    )
    assert (response.status_code == 200) is is_file, response.text
