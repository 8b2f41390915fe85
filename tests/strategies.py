"""What Hypothesis draws transcripts from."""

from __future__ import annotations

from hypothesis import strategies as st

from lithophone.granite.words import Word

SAID = st.sampled_from(
    ["stone", "Größe,", "日", "7.", "été", "end.", "I", "extraordinarily", "x" * 90, "“so?”"]
)


@st.composite
def timed_words(draw: st.DrawFn, *, longest_start_seconds: float = 0.0, most: int = 40) -> list[Word]:
    """Words that follow one another, with pauses of any length between them."""
    clock = draw(st.floats(0, longest_start_seconds))
    words: list[Word] = []
    for text in draw(st.lists(SAID, max_size=most)):
        start = clock + draw(st.sampled_from([0.0, 0.0, 0.05, 0.3, 2.0]))
        clock = start + draw(st.floats(0, 1.5))
        spaced = f" {text}" if words else text
        words.append(Word(text=spaced, start_seconds=start, end_seconds=clock, probability=0.5))
    return words
