"""Which words of a hypothesis stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.base import Token
from lithophone.engine.dictation.options import CommitPolicy
from lithophone.engine.dictation.telling import Agreement, Heard, HeardWord, latest_ends
from lithophone.granite.words import Word

POLICY = CommitPolicy(step_seconds=0.25, agreeing=2, held_back_seconds=0.5, doubt_seconds=1.0)
HEARD, UNHEARD = 0.9, 0.0


def word(text: str, start: float, end: float, probability: float = HEARD, logprob: float = -0.1) -> HeardWord:
    return HeardWord(
        Word(text=text, start_seconds=start, end_seconds=end, probability=probability),
        (Token(1, text, logprob),),
    )


def told(words: list[HeardWord], edge_seconds: float) -> int:
    """How many stand of what was heard twice alike, while somebody speaks."""
    agreement, audio = Agreement(POLICY), Heard(edge_seconds, edge_seconds)
    agreement.standing(words, audio)
    return agreement.standing(words, audio)


@pytest.mark.parametrize(("edge", "count"), [(1.4, 0), (1.6, 1), (2.1, 2)])
def test_words_stand_when_they_are_old_enough(edge: float, count: int) -> None:
    assert told([word("one", 0.5, 1.0), word("two", 1.1, 1.5)], edge) == count


def test_a_word_the_model_hesitated_over_waits_longer_and_those_behind_it_with_it() -> None:
    words = [word("one", 0.5, 1.0, logprob=-2.0), word("two", 1.1, 1.2)]
    assert told(words, 2.4) == 0
    assert told(words, 2.6) == 2


def test_words_that_were_not_heard_may_have_been_said_until_the_next_that_was() -> None:
    """Forced into what is left of the audio, made-up words seem to be old."""
    words = [word("made", 0.1, 0.2, UNHEARD), word("up", 0.2, 0.3, UNHEARD), word("heard", 2.0, 2.4)]
    assert told(words, 3.4) == 0
    assert told(words, 3.6) == 3
    assert told(words[:2], 100.0) == 0
    assert told([word("heard", 0.1, 0.5), *words[:2]], 3.4) == 1


def test_in_a_pause_they_stand_though_nothing_was_heard_behind_them() -> None:
    made_up = [word("made", 0.1, 0.2, UNHEARD), word("up", 0.2, 0.3, UNHEARD)]
    assert Agreement(POLICY).old_enough(made_up, Heard(edge_seconds=3.4, voice_seconds=2.0)) == 0
    assert Agreement(POLICY).old_enough(made_up, Heard(edge_seconds=3.6, voice_seconds=2.0)) == 2


PLACES = st.lists(st.tuples(st.floats(0.0, 1.0), st.sampled_from([UNHEARD, 0.04, 0.06, HEARD])), max_size=8)


@given(lengths=PLACES, silence=st.floats(0.0, 2.0))
def test_no_word_ends_sooner_than_it_seems_to_nor_behind_the_audio(
    lengths: list[tuple[float, float]], silence: float
) -> None:
    words: list[HeardWord] = []
    for seconds, probability in lengths:
        start = words[-1].word.end_seconds if words else 0.0
        words.append(word("a", start, start + seconds, probability))
    edge = (words[-1].word.end_seconds if words else 0.0) + silence
    ends = latest_ends(words, edge)
    assert len(ends) == len(words)
    for heard, end in zip(words, ends, strict=True):
        assert heard.word.end_seconds <= end <= edge
        assert heard.is_unheard or end == heard.word.end_seconds
