"""Both clients against a live server: what it answers today is what they decode. Skipped where there is none to start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from lithophone_client import (
    APIError,
    BadRequestError,
    Done,
    NotFoundError,
    TextDelta,
    TokenUsage,
)

pytest.importorskip("lithophone")

Ask = Callable[..., Any]

DEMO = Path(__file__).parents[2] / "examples" / "speech" / "demo.flac"


class LiveServer(Protocol):
    url: str


def test_every_format_tells_the_same_text(ask: Ask, live_server: LiveServer) -> None:
    answer = ask(live_server.url, "transcribe", DEMO)
    assert isinstance(answer.usage, TokenUsage)
    assert ask(live_server.url, "transcribe_text", DEMO) == f"{answer.text}\n"
    verbose = ask(live_server.url, "transcribe_verbose", DEMO, timestamp_granularities=["segment"])
    assert (verbose.text, verbose.language, verbose.words) == (answer.text, "english", None)
    assert 0 <= verbose.segments[0].start < verbose.segments[-1].end <= verbose.duration
    for subtitle_format in ("srt", "vtt"):
        subtitles = ask(live_server.url, "subtitles", DEMO, subtitle_format)
        assert verbose.segments[0].text.strip() in " ".join(subtitles.split())


def test_a_stream_tells_it_piece_by_piece(ask: Ask, live_server: LiveServer) -> None:
    *deltas, done = ask(live_server.url, "stream", DEMO, include=["logprobs"])
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert isinstance(done, Done)
    assert "".join(delta.delta for delta in deltas) == done.text != ""
    assert done.logprobs


def test_models_and_states(ask: Ask, live_server: LiveServer) -> None:
    assert ask(live_server.url, "health") is True
    assert ask(live_server.url, "ready") is True
    models = ask(live_server.url, "models")
    assert ask(live_server.url, "model", models[0].id) == models[0]


@pytest.mark.parametrize(
    ("method", "file", "options", "error", "param"),
    [
        ("transcribe", DEMO, {"model": "none/such"}, NotFoundError, "model"),
        ("transcribe", DEMO, {"temperature": 2}, BadRequestError, "temperature"),
        ("stream", DEMO, {"language": "xx"}, BadRequestError, "language"),
        ("stream", b"no sound", {}, BadRequestError, "file"),
    ],
)
def test_a_refusal_names_the_field(
    ask: Ask,
    live_server: LiveServer,
    *,
    method: str,
    file: Path | bytes,
    options: dict[str, Any],
    error: type[APIError],
    param: str,
) -> None:
    with pytest.raises(error) as caught:
        ask(live_server.url, method, file, **options)
    assert caught.value.request_id
    assert caught.value.param == param
