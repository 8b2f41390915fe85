import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lithophone.granite.labels import BLANK, empty_probability, greedy_text, label_text


def test_labels_are_characters_and_katakana() -> None:
    assert label_text(BLANK) == ""
    assert label_text(ord("a")) == "a"
    assert label_text(ord("é")) == "é"
    assert label_text(256) == "ァ"
    assert label_text(256 + ord("ン") - 0x30A1) == "ン"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30), st.data())
def test_any_frame_path_of_a_text_reads_as_the_text(text: str, data: st.DataObject) -> None:
    path: list[int] = []
    for character in text:
        if path and path[-1] == ord(character):
            path.append(BLANK)
        path += [ord(character)] * data.draw(st.integers(1, 3)) + [BLANK] * data.draw(st.integers(0, 2))
    assert greedy_text(path) == text


def test_the_empty_transcript_has_the_product_of_the_blanks() -> None:
    blanks = np.log(np.array([0.5, 0.8, 0.9], np.float32))
    assert math.isclose(empty_probability(blanks), 0.36, rel_tol=1e-5)
