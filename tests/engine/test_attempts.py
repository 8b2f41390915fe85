from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.base import Recognition, RecognitionRequest
from lithophone.engine.attempts import RETRY_TEMPERATURE, Attempt, recognise_soundly
from lithophone.engine.repetition import is_looping
from lithophone.granite.words import spread_words

LOOP = "and then he said " * 20
PLAIN = "the quick brown fox jumps over the lazy dog near the river bank"


@pytest.mark.parametrize("text", [LOOP, "no " * 15, "you know " * 7, "ha" * 100])
def test_loops_are_seen(text: str) -> None:
    assert is_looping(text)


@pytest.mark.parametrize(
    "text", ["", PLAIN, "no no no no", "bye bye", "one two three " * 3, f"{PLAIN} {PLAIN}"]
)
def test_what_people_say_is_no_loop(text: str) -> None:
    assert not is_looping(text)


@given(st.lists(st.integers(0, 10**9).map(str), max_size=60))
def test_different_words_are_no_loop(words: list[str]) -> None:
    assert not is_looping(" ".join(dict.fromkeys(words)))


class Model:
    """Loops while a window is longer than `longest_seconds`, unless it may draw."""

    def __init__(self, longest_seconds: float) -> None:
        self.longest_seconds = longest_seconds
        self.asked: list[tuple[float, float]] = []

    async def recognise(self, request: RecognitionRequest) -> Recognition:
        seconds = len(request.samples) / 16_000
        self.asked.append((round(seconds, 1), request.temperature))
        loops = seconds > self.longest_seconds and request.temperature == 0
        text = (LOOP if loops else PLAIN).strip()
        return Recognition(
            text=text,
            tokens=(),
            prompt_tokens=8,
            audio_tokens=round(seconds * 10),
            no_speech_probability=0.0,
            words=spread_words(text, 0, seconds),
        )


def attempt(model: Model, seconds: float) -> Attempt:
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)
    return asyncio.run(recognise_soundly(model.recognise, RecognitionRequest(samples=samples)))


def test_what_does_not_loop_is_asked_once() -> None:
    model = Model(longest_seconds=30)
    assert attempt(model, 20) == Attempt(attempt(model, 20).recognition, 0.0, retried=False)
    assert len(model.asked) == 2


def test_a_loop_is_tried_again_in_two_halves() -> None:
    model = Model(longest_seconds=15)
    kept = attempt(model, 20)
    assert kept.retried
    assert kept.temperature == 0
    assert kept.recognition.text == f"{PLAIN} {PLAIN}"
    assert "".join(word.text for word in kept.recognition.words) == kept.recognition.text
    bounds = [bound for word in kept.recognition.words for bound in (word.start_seconds, word.end_seconds)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(20)
    assert len(model.asked) == 3
    assert kept.recognition.audio_tokens == 200


def test_a_half_that_still_loops_is_drawn() -> None:
    model = Model(longest_seconds=1)
    kept = attempt(model, 20)
    assert (kept.temperature, kept.retried) == (RETRY_TEMPERATURE, True)
    assert not is_looping(kept.recognition.text)


def test_a_short_window_is_drawn_at_once() -> None:
    model = Model(longest_seconds=1)
    assert attempt(model, 3).temperature == RETRY_TEMPERATURE
    assert model.asked == [(3.0, 0.0), (3.0, RETRY_TEMPERATURE)]
