"""Asking a server for transcripts with word times, as any client would.

Owns the requests. Files are sent piece by piece.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.figures.scoring import normalised

ROUTE = "/v1/audio/transcriptions"
PATIENCE = httpx.Timeout(30.0, read=None, write=None)


class HeardWord(msgspec.Struct, frozen=True):
    """A word of a transcript, in small letters without punctuation, and its time in seconds."""

    text: str
    start: float
    end: float

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


class Answer(msgspec.Struct, frozen=True):
    """A transcript: its words as they came and as they are compared, and how long the server took."""

    written: tuple[HeardWord, ...]
    words: tuple[HeardWord, ...]
    audio_seconds: float
    seconds: float


def transcribe(url: str, path: Path) -> Answer:
    """A whole file as `verbose_json` with word times.

    Raises:
        httpx.HTTPStatusError: the server refused.
    """
    fields = {
        "model": "whisper-1",
        "response_format": "verbose_json",
        "timestamp_granularities[]": "word",
    }
    began = time.perf_counter()
    with path.open("rb") as file:
        response = httpx.post(url + ROUTE, data=fields, files={"file": file}, timeout=PATIENCE)
    response.raise_for_status()
    seconds = time.perf_counter() - began
    document: dict[str, Any] = response.json()
    written = [HeardWord(word["word"], word["start"], word["end"]) for word in document["words"]]
    words = [HeardWord(part, word.start, word.end) for word in written for part in normalised(word.text)]
    return Answer(tuple(written), tuple(words), document["duration"], seconds)


def first_delta_seconds(url: str, path: Path) -> float:
    """From the first byte sent until the first words of an event stream; the rest is not waited for.

    Raises:
        RuntimeError: the stream ended without any.
    """
    began = time.perf_counter()
    with (
        path.open("rb") as file,
        httpx.stream(
            "POST",
            url + ROUTE,
            data={"model": "whisper-1", "stream": "true"},
            files={"file": file},
            timeout=PATIENCE,
        ) as response,
    ):
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["type"] == "transcript.text.delta":
                return time.perf_counter() - began
    raise RuntimeError("no words came")
