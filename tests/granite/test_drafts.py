from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.bench.report import edit_distance
from lithophone.granite.drafts import (
    LetterAlignment,
    RepetitionDraft,
    TranscriptDraft,
    TranscriptStyle,
    continued_text,
)

END = 0
LETTERS = st.text(alphabet="abc", max_size=12)
TEXTS = st.text(alphabet="abcÉß ,.カ", max_size=20)


def encode(text: str) -> list[int]:
    """One token a character."""
    return [ord(character) for character in text]


def decode(tokens: Sequence[int]) -> str:
    return "".join(map(chr, tokens))


def draft(text: str) -> TranscriptDraft:
    return TranscriptDraft(text, encode, decode, END)


@given(reference=LETTERS, said=LETTERS)
def test_the_rest_begins_behind_a_prefix_closest_to_what_was_said(reference: str, said: str) -> None:
    alignment = LetterAlignment(reference)
    alignment.advance(said)
    distances = [edit_distance(said, reference[:end]) for end in range(len(reference) + 1)]
    assert distances[alignment.position()] == min(distances)


@given(reference=TEXTS, parts=st.lists(TEXTS, max_size=4))
def test_it_does_not_matter_in_how_many_pieces_something_is_said(reference: str, parts: list[str]) -> None:
    whole, pieces = LetterAlignment(reference), LetterAlignment(reference)
    whole.advance("".join(parts))
    for part in parts:
        pieces.advance(part)
    assert whole.position() == pieces.position()


@pytest.mark.parametrize(
    ("reference", "said", "rest"),
    [
        ("turn on the light", "turn on", " the light"),
        ("turn on the light", "Turn on,", " the light"),
        ("turn on the lihgt now", "turn on the light", " now"),
        ("thekitchin is cold", "the kitchen", " is cold"),
        ("a b c", "x", " b c"),  # letter for letter where nothing else decides
        ("", "anything", ""),
        ("straße am see", "strasse", " am see"),
    ],
)
def test_case_punctuation_and_small_errors_are_stepped_over(reference: str, said: str, rest: str) -> None:
    alignment = LetterAlignment(reference)
    alignment.advance(said)
    assert reference[alignment.position() :] == rest


@given(text=TEXTS, steps=st.lists(st.text(alphabet="abc .", min_size=1, max_size=5), max_size=6))
def test_a_draft_proposes_an_end_of_its_text_and_the_end_token(text: str, steps: list[str]) -> None:
    source = draft(text)
    for step in steps:
        source.observe(encode(step))
        proposed = list(source.propose())
        if not text.strip():
            assert proposed == []
        else:
            assert proposed[-1] == END
            assert text.casefold().endswith(decode(proposed[:-1]).casefold())


@given(text=st.text(alphabet="abc ", min_size=1).filter(str.strip), cut=st.integers(0, 30))
def test_a_draft_that_is_followed_goes_on_where_it_was(text: str, cut: int) -> None:
    source = draft(text)
    tokens = list(source.propose())
    source.observe(tokens[:cut])
    assert list(source.propose()) == tokens[cut:]


def test_a_sentence_begun_by_the_model_goes_on_in_upper_case() -> None:
    source = draft(" it is late go home")
    source.observe(encode(" It is late."))
    assert decode(source.propose()[:-1]) == " Go home"


@pytest.mark.parametrize(
    ("text", "said", "rest"),
    [
        (" the kitchen is cold", " the K", "itchen is cold"),
        (" the yellow box", " the old", " box"),
        (" sat the compkuter", " set", " the compkuter"),
        (" ateleven on sunday", " at", "eleven on sunday"),
    ],
)
def test_a_word_the_model_writes_differently_is_taken_as_done(text: str, said: str, rest: str) -> None:
    source = draft(text)
    source.observe(encode(said))
    assert decode(source.propose()[:-1]) == rest


def test_repetition_goes_on_as_the_last_time() -> None:
    source = RepetitionDraft()
    source.observe([1, 2, 3, 4])
    assert list(source.propose()) == []
    source.observe([1, 2])
    assert list(source.propose()) == [3, 4, 1, 2]


@given(st.lists(st.integers(1, 3), max_size=30), st.integers(1, 5))
def test_repetition_finds_the_last_place_of_the_last_pair(said: list[int], pieces: int) -> None:
    source = RepetitionDraft()
    for start in range(0, len(said), pieces):
        source.observe(said[start : start + pieces])
    places = [i + 2 for i in range(len(said) - 2) if said[i : i + 2] == said[-2:]]
    assert list(source.propose()) == (said[places[-1] : places[-1] + 16] if places else [])


@pytest.mark.parametrize("transcript", [" please turn on", "Please turn on.", " Please turn on."])
def test_the_style_of_one_transcript_writes_the_next(transcript: str) -> None:
    assert TranscriptStyle.of(transcript).apply("please turn on") == transcript
    assert TranscriptStyle.of(transcript).apply("") == ""


@pytest.mark.parametrize(
    ("said", "reference", "expected"),
    [
        ("", "turn on", "turn on"),
        ("turn on", "", "turn"),
        ("turn on the lamp", "turn on the light now", "turn on the light now"),  # it was cut off, and guessed
        ("turn on the light", "turn on the ligt now", "turn on the light now"),
        ("turn on the light", "turn on the li", "turn on the light"),
        ("is there a", "is there a statio", "is there a statio"),
        ("map is too beautiful", "map is too beau toful", "map is too beautiful"),
        ("Turn on, please", "turn on please the light", "Turn on, please the light"),
    ],
)
def test_a_draft_goes_on_from_what_was_heard_before(said: str, reference: str, expected: str) -> None:
    assert continued_text(said, reference) == expected


@given(said=TEXTS, reference=TEXTS)
def test_a_continued_draft_has_no_spaces_at_its_ends(said: str, reference: str) -> None:
    text = continued_text(said, reference)
    assert text.startswith(said.strip().rpartition(" ")[0].strip())
