from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.base import Recognition, Token
from lithophone.engine.segmentation import ends_sentence, in_order, segments_of, share_tokens, split_segments
from lithophone.engine.transcript import Segment, usage_of
from lithophone.granite.words import Word, spread_words
from tests.strategies import timed_words


def say(*parts: tuple[str, float, float]) -> list[Word]:
    return [
        Word(text=text, start_seconds=start, end_seconds=end, probability=1.0) for text, start, end in parts
    ]


def texts(words: list[Word]) -> list[str]:
    return ["".join(word.text for word in group).strip() for group in split_segments(words)]


@given(timed_words())
def test_segments_keep_every_word_in_order(words: list[Word]) -> None:
    groups = split_segments(words)
    assert [word for group in groups for word in group] == words
    assert all(groups)


def test_a_segment_ends_with_its_sentence() -> None:
    words = list(spread_words("It is late. Mr. smith asked: “Why?” Nobody knew.", 0, 5))
    assert texts(words) == ["It is late.", "Mr. smith asked: “Why?”", "Nobody knew."]


def test_a_segment_ends_at_a_pause() -> None:
    assert texts(say(("one", 0, 0.5), (" two", 0.6, 1), (" three", 1.7, 2))) == ["one two", "three"]


def test_a_decimal_point_ends_nothing() -> None:
    assert not ends_sentence("3.5")
    assert ends_sentence(" 終わり。」")


def recognition(words: list[Word], tokens: tuple[Token, ...]) -> Recognition:
    return Recognition(
        text="".join(word.text for word in words).strip(),
        tokens=tokens,
        prompt_tokens=8,
        audio_tokens=40,
        no_speech_probability=0.25,
        words=tuple(words),
    )


def built(heard: Recognition, *, follows_text: bool = False) -> list[Segment]:
    return segments_of(
        heard, start_seconds=10, end_seconds=400, first_id=3, follows_text=follows_text, temperature=0.5
    )


@given(timed_words(), st.booleans())
def test_nothing_of_a_window_is_lost_in_its_segments(words: list[Word], follows_text: bool) -> None:
    tokens = tuple(Token(number, word.text, -0.5) for number, word in enumerate(words))
    heard = recognition(words, tokens)
    segments = built(heard, follows_text=follows_text)
    separator = " " if follows_text and heard.text else ""
    assert "".join(segment.delta for segment in segments).rstrip() == separator + heard.text
    assert tuple(token for segment in segments for token in segment.tokens) == tokens
    assert sum((segment.usage for segment in segments[1:]), segments[0].usage) == usage_of(heard)
    assert [segment.id for segment in segments] == list(range(3, 3 + len(segments)))
    for segment in segments:
        if segment.words:
            assert segment.start_seconds == segment.words[0].start_seconds >= 10
            assert "".join(token.text for token in segment.tokens).strip() == segment.text


@given(timed_words(), st.floats(0, 30))
def test_words_of_the_next_window_wait_for_the_last_ones(words: list[Word], earliest: float) -> None:
    ordered = in_order(words, earliest)
    bounds = [bound for word in ordered for bound in (word.start_seconds, word.end_seconds)]
    assert bounds == sorted(bounds)
    assert all(bound >= earliest for bound in bounds)
    assert [word.text for word in ordered] == [word.text for word in words]
    assert in_order(words, 0.0) == words


def test_a_window_without_words_is_one_segment_with_its_own_times() -> None:
    (segment,) = built(recognition([], ()))
    assert (segment.start_seconds, segment.end_seconds, segment.text, segment.delta) == (10, 400, "", "")
    assert segment.no_speech_probability == 0.25


def test_half_characters_do_not_push_tokens_into_the_next_segment() -> None:
    groups = [spread_words("日本。", 0, 1), spread_words(" ok", 1, 2)]
    halves = [Token(number, "\ufffd", -1.0) for number in range(6)]
    shares = share_tokens([*halves, Token(9, " ok", -1.0)], groups)
    assert shares[1][-1].text == " ok"
    assert len(shares[0]) >= 4
