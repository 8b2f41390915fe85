from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.base import Recognition, Token
from lithophone.engine.stitching import find_seam, keep_words
from lithophone.granite.words import Word, spread_words

SAID = st.sampled_from(["no", "yes", "one", "hundred", "It,", "and", "the"])


@st.composite
def spoken(draw: st.DrawFn) -> list[Word]:
    """About ten seconds of words as they are in the air; repeated words are likely."""
    clock, words = 0.0, list[Word]()
    for text in draw(st.lists(SAID, min_size=4, max_size=40)):
        start = clock + draw(st.floats(0, 0.4))
        clock = start + draw(st.floats(0.16, 0.6))
        words.append(Word(text=f" {text}", start_seconds=start, end_seconds=clock, probability=1.0))
    return words


def heard(words: list[Word], jitter: list[float]) -> list[Word]:
    return [
        msgspec.structs.replace(
            word, start_seconds=word.start_seconds + by, end_seconds=word.end_seconds + by
        )
        for word, by in zip(words, jitter, strict=False)
    ]


@given(spoken(), st.data())
def test_no_word_is_lost_or_doubled_at_a_seam(words: list[Word], data: st.DataObject) -> None:
    end = words[-1].end_seconds
    start = data.draw(st.floats(0, max(end - 2.0, 0.0)))
    stop = start + 2.0
    jitters = st.lists(st.floats(-0.05, 0.05), min_size=len(words), max_size=len(words))
    first = [word for word in words if word.start_seconds < stop]
    second = [word for word in words if word.end_seconds > start]
    told_first, told_second = heard(first, data.draw(jitters)), heard(second, data.draw(jitters))
    if first and first[-1].end_seconds > stop:  # the window's end cuts through it
        told_first[-1] = msgspec.structs.replace(told_first[-1], text=" h", end_seconds=stop)
    if second and second[0].start_seconds < start:
        told_second[0] = msgspec.structs.replace(told_second[0], text=" z", start_seconds=start)
    kept, dropped = find_seam(told_first, told_second, start, stop)
    result = [*told_first[:kept], *told_second[dropped:]]
    assert [word.text for word in result] == [word.text for word in words]


def test_disagreement_is_settled_in_the_middle() -> None:
    first = list(spread_words("a b c d", 0, 4))
    second = list(spread_words("e f g h", 2, 6))
    assert find_seam(first, second, 2.0, 4.0) == (3, 1)


def test_a_window_that_heard_nothing_takes_nothing_away() -> None:
    words = list(spread_words("a b c d", 0, 4))
    assert find_seam(words, [], 2.0, 4.0) == (4, 0)
    assert find_seam([], words, 0.0, 2.0) == (0, 0)


def test_what_is_kept_keeps_its_tokens() -> None:
    words = spread_words("one two three four", 0, 4)
    tokens = tuple(Token(number, word.text, -0.5) for number, word in enumerate(words))
    whole = Recognition(
        text="one two three four",
        tokens=tokens,
        prompt_tokens=8,
        audio_tokens=40,
        no_speech_probability=0.0,
        words=words,
    )
    kept = keep_words(whole, 1, 3)
    assert kept.text == "".join(word.text for word in kept.words) == "two three"
    assert kept.tokens == tokens[1:3]
    assert keep_words(whole, 4, 4).text == ""
