from __future__ import annotations

import csv

from hypothesis import given
from hypothesis import strategies as st

from lithophone.formats.tsv import render_tsv
from tests.formats.samples import SEGMENTS, segment
from tests.golden import Golden


def test_the_table_is_as_it_was(golden: Golden) -> None:
    golden("transcript.tsv", render_tsv(SEGMENTS).encode())


def test_times_are_whole_milliseconds_and_silence_has_no_line() -> None:
    said = [segment(0, 1.9996, 4.35, "one"), segment(1, 4.35, 5.0, ""), segment(2, 3725.5, 3726.0, "two")]
    assert render_tsv(said) == "start\tend\ttext\n2000\t4350\tone\n3725500\t3726000\ttwo\n"


@given(st.lists(st.text(min_size=1), max_size=4))
def test_a_text_stays_in_its_cell(texts: list[str]) -> None:
    table = render_tsv([segment(number, number, number + 1, text) for number, text in enumerate(texts)])
    header, *rows = csv.reader(table.split("\n")[:-1], dialect="excel-tab", quoting=csv.QUOTE_NONE)
    assert header == ["start", "end", "text"]
    assert [row[:2] for row in rows] == [[str(n * 1000), str(n * 1000 + 1000)] for n in range(len(texts))]
    assert [row[2].split() for row in rows] == [text.split() for text in texts]
    assert len(table.splitlines()) == len(texts) + 1
