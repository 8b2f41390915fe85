"""The whole way to a model that is a CTC head alone: `granite-speech-tiny-ctc` served as its user would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import start_server

MODEL = "granite-speech-tiny-ctc"
DEMO = Path(__file__).parents[2] / "examples" / "speech" / "demo.flac"
SPOKEN = DEMO.with_suffix(".txt").read_text().strip()
LIKENESS = 0.7  # of letters: how well it hears is measured elsewhere


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    process, url = start_server("--model", MODEL)
    yield url
    process.terminate()
    process.communicate(timeout=60)


def transcribe(url: str, **fields: Any) -> httpx.Response:
    with DEMO.open("rb") as audio:
        answer = httpx.post(
            f"{url}/v1/audio/transcriptions",
            files={"file": audio},
            data={"model": MODEL, **fields},
            timeout=60,
        )
    assert answer.status_code == 200, answer.text
    return answer


def test_it_hears_most_of_the_demo(url: str) -> None:
    text = transcribe(url).json()["text"]
    assert SequenceMatcher(None, text, SPOKEN).ratio() > LIKENESS, text


def test_it_says_what_it_is(url: str) -> None:
    model = httpx.get(f"{url}/v1/models/{MODEL}").json()
    assert "granite-speech-5.0-470m-turboctc" in model["lithophone"]["note"]


def test_words_are_its_text_in_order_and_within_the_clip(url: str) -> None:
    body = transcribe(
        url, **{"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    ).json()
    assert [word["word"] for word in body["words"]] == body["text"].split()
    bounds = [bound for word in body["words"] for bound in (word["start"], word["end"])]
    assert bounds == sorted(bounds)
    assert 0 <= bounds[0] < bounds[-1] <= body["duration"]
    assert body["segments"][-1]["end"] <= body["duration"]


def test_subtitles_and_the_stream_say_the_same(url: str) -> None:
    text = transcribe(url).json()["text"]
    cues = transcribe(url, response_format="srt").text
    assert " ".join(line for line in cues.splitlines() if line[:1].isalpha()).split() == text.split()
    lines = transcribe(url, stream="true").text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert events[-1]["type"] == "transcript.text.done"
    assert events[-1]["text"] == text
    assert "".join(event.get("delta", "") for event in events).strip() == text
