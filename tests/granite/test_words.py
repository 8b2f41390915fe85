from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.granite.alignment import FrameSpan, LogProbs
from lithophone.granite.words import (
    TAIL_SECONDS,
    Word,
    align_words,
    group_tokens,
    spell,
    split_words,
    spread_words,
)

TEXTS = st.text(st.one_of(st.sampled_from("ab é'.,-?7%日本ゴー。 \u3000\n"), st.characters()), max_size=40)


def heard(letters: str, frames_each: int = 2, labels: int = 348) -> LogProbs:
    """A head that hears `letters`, one every `frames_each` frames; `_` is a blank."""
    path = [0 if letter == "_" else ord(letter) for letter in letters for _ in range(frames_each)]
    for frame in range(1, len(path)):
        if frame % frames_each and path[frame]:
            path[frame] = 0  # CTC fires once
    rows = np.full((len(path), labels), 1e-4)
    rows[np.arange(len(path)), path] = 1 - 1e-4 * (labels - 1)
    return np.log(rows).astype(np.float32)


def aligned(text: str, letters: str) -> list[Word]:
    log_probs = heard(letters)
    return list(align_words(text, log_probs, duration_seconds=len(log_probs) * 0.02, bias_seconds=0.0))


def check_order(words: tuple[Word, ...] | list[Word], duration_seconds: float) -> None:
    bounds = [bound for word in words for bound in (word.start_seconds, word.end_seconds)]
    assert bounds == sorted(bounds)
    assert all(0 <= bound <= duration_seconds for bound in bounds)
    assert all(word.probability is not None and 0 <= word.probability <= 1 for word in words)


@given(TEXTS)
def test_words_joined_are_the_text(text: str) -> None:
    words = split_words(text)
    assert "".join(words) == (text if text.strip() else "")
    assert all(word.strip() for word in words)
    assert [word.strip() for word in words] == text.split() or any(ord(letter) > 0x3000 for letter in text)


def test_a_script_without_spaces_is_split_into_its_characters() -> None:
    assert split_words("東京です。OK ラーメン") == ["東", "京", "で", "す。", "OK", " ラー", "メ", "ン"]


@given(TEXTS, st.integers(0, 300), st.integers(0, 99), st.floats(0, 0.3), st.sampled_from([256, 348]))
def test_words_never_overlap_and_never_leave_the_audio(
    text: str, frames: int, seed: int, bias: float, labels: int
) -> None:
    rows = np.random.default_rng(seed).dirichlet(np.full(labels, 0.05), frames) + 1e-9
    log_probs = np.log(rows).astype(np.float32)
    duration = frames * 0.02
    words = align_words(text, log_probs, duration_seconds=duration, bias_seconds=bias)
    assert "".join(word.text for word in words) == (text if text.strip() else "")
    check_order(words, duration)


def test_a_word_lasts_until_the_next_or_until_shortly_behind_its_letters() -> None:
    two, words = aligned("Two words.", "_two_words____________")
    assert two.start_seconds == pytest.approx(0.04)
    assert two.end_seconds == words.start_seconds == pytest.approx(0.20)
    assert words.end_seconds == pytest.approx(0.38 + TAIL_SECONDS)
    assert two.probability is not None
    assert two.probability > 0.9


def test_a_word_before_a_pause_lasts_until_its_sound_has_faded() -> None:
    log_probs = heard("_two_words____________")
    levels = np.full(2 * len(log_probs), -60.0, np.float32)
    levels[4:45] = -20.0
    two, words = align_words(
        "Two words.", log_probs, duration_seconds=0.44, bias_seconds=0.0, levels=levels[:44]
    )
    assert two.end_seconds == words.start_seconds
    assert words.end_seconds == 0.44  # the levels do not tell: a usual length, and the recording's end
    levels[40:] = -60.0
    fading = align_words("Two words.", log_probs, duration_seconds=0.44, bias_seconds=0.0, levels=levels[:44])
    assert fading[-1].end_seconds == pytest.approx(0.40)


def test_the_bias_is_taken_off_the_starts() -> None:
    word = align_words("yes", heard("____yes____"), duration_seconds=1, bias_seconds=0.05)[0]
    assert word.start_seconds == pytest.approx(0.16 - 0.05)


def test_a_number_gets_the_sound_between_its_neighbours() -> None:
    words = aligned("in 1969 we", "in__nineteen__we____")
    assert [word.text for word in words] == ["in", " 1969", " we"]
    number = words[1]
    assert number.start_seconds == pytest.approx(0.16)
    assert number.end_seconds == words[2].start_seconds == pytest.approx(0.56)


def test_neighbours_nobody_can_spell_share_the_sound_by_length() -> None:
    words = aligned("on 12 1234 it", "on_abcdefghi_it_____")
    assert words[1].end_seconds == words[2].start_seconds
    short, long = (word.end_seconds - word.start_seconds for word in words[1:3])
    assert 1.4 < long / short < 2.2


def test_a_word_without_sound_gets_the_gap() -> None:
    words = aligned("go \u2014 now", "go" + "_" * 30 + "now___")
    assert [word.text for word in words] == ["go", " \u2014", " now"]
    assert words[1].start_seconds == words[0].end_seconds
    assert words[1].end_seconds == words[2].start_seconds


def test_text_that_does_not_fit_is_shared_out_and_says_so() -> None:
    words = align_words("far too much text", heard("ab"), duration_seconds=0.08, bias_seconds=0.05)
    assert {word.probability for word in words} == {0.0}
    assert words[-1].end_seconds == pytest.approx(0.08)


@given(TEXTS, st.floats(0, 1000), st.floats(0, 100))
def test_spread_words_tile_the_stretch(text: str, start: float, length: float) -> None:
    words = spread_words(text, start, start + length)
    for word, following in pairwise(words):
        assert word.end_seconds == following.start_seconds
    if words:
        assert words[0].start_seconds == start
        assert math.isclose(words[-1].end_seconds, start + length)


@pytest.mark.parametrize(
    ("word", "letters"),
    [
        ("O\u2019Clock,", "o'clock"),
        ("ÉTÉ", "été"),
        ("Dvořák", "dvorák"),
        ("\uff46\uff55\uff4c\uff4c", "full"),
        ("\u2014", ""),
        ("«»", ""),
    ],
)
def test_words_are_spelled_as_the_head_writes_them(word: str, letters: str) -> None:
    assert spell(word, katakana=False) == tuple(map(ord, letters))


@pytest.mark.parametrize("word", ["1969", "3rd", "50%", "привет", "日", "$", "R&B"])
def test_what_the_head_cannot_spell_is_said_so(word: str) -> None:
    assert spell(word, katakana=True) is None


def test_kana_is_spelled_where_the_head_has_katakana() -> None:
    assert spell("ゴー", katakana=True) == spell("ごー", katakana=True) == (256 + 0x13, 256 + 0x5B)
    assert spell("ゴー", katakana=False) is None


def test_words_of_a_head_with_its_own_tokens_span_their_tokens() -> None:
    spans = [FrameSpan(2, 3, -0.1), FrameSpan(4, 6, -0.3), FrameSpan(9, 10, 0.0)]
    grouped = group_tokens("turbo mode", [3, 5, 10], spans, 0.08)
    assert [word for word, _ in grouped] == ["turbo", " mode"]
    first, second = (sound for _, sound in grouped)
    assert first is not None
    assert second is not None
    assert (first.start_seconds, first.stop_seconds) == pytest.approx((0.16, 0.48))
    assert first.probability == pytest.approx(math.exp(-0.2))
    assert second.start_seconds == pytest.approx(0.72)
