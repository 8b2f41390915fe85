"""The page writes captions by the rules of this room, in TypeScript: both are held to one golden file.

`server/page/test/captions.test.ts` reads it; a rule that changes here fails there until the page follows.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from lithophone.engine.segmentation import split_segments
from lithophone.formats.subtitles import render_srt, render_vtt
from lithophone.granite.words import Word, spread_words
from tests.formats.samples import segment
from tests.golden import Golden

SPELLINGS = (
    *(
        " a",
        " I",
        " stone",
        " stones,",
        " Größe.",
        " e.g.",
        " é\u2014",
        " so",
        " 🙂",
        " naïve",
        "日",
        "本、",
        "語。",
    ),
    *("-glued", "  two", "\tnew", " <i>five", " & six</i>", " -->", " twenty-eight", " said:", " «yes!»"),
    " " + 3 * "Donaudampfschifffahrtsgesellschaft",
)
PAUSES = (0.0, 0.0, 0.0, 0.02, 0.3, 0.58, 0.7, 3.0)
SECONDS = (0.0, 0.1, 0.2, 0.2345, 0.4, 1.4)


def lines_of(words: Sequence[Word]) -> list[list[Word]]:
    return [list(group) for group in split_segments(list(words))]


def random_words(seed: int, count: int) -> list[Word]:
    chosen = random.Random(seed)  # noqa: S311 - a fixed sequence, no secret
    steps = [(chosen.choice(PAUSES), chosen.choice(SECONDS)) for _ in range(count)]
    ends = list(accumulate((pause + seconds for pause, seconds in steps), initial=0.0))[1:]
    return [
        Word(text=chosen.choice(SPELLINGS), start_seconds=end - seconds, end_seconds=end)
        for end, (_, seconds) in zip(ends, steps, strict=True)
    ]


WINTER = """when the long winter was over and the snow had gone from the hills above the lake, \
the people of the valley took their boats down to the water again"""
SENTENCES = (
    "This is the first sentence. This is the second one. And a third.",
    WINTER,
    "he said: “<i>five & six</i> --> seven”",
    "naïve 日本語 🙂 tea for two",
    "",
    "   ",
)
CASES = [
    *(lines_of(spread_words(text, 0.0005, 12.3455)) for text in SENTENCES),
    *(lines_of(random_words(seed, 5 + 7 * seed)) for seed in range(14)),
]


def case(lines: list[list[Word]]) -> dict[str, object]:
    segments = [
        msgspec.structs.replace(
            segment(number, 0, 0, "".join(word.text for word in words)), words=tuple(words)
        )
        for number, words in enumerate(lines)
    ]
    return {
        "lines": [[[word.text, word.start_seconds, word.end_seconds] for word in line] for line in lines],
        "srt": render_srt(segments),
        "vtt": render_vtt(segments),
    }


def test_the_captions_the_page_has_to_write_are_as_they_were(golden: Golden) -> None:
    spread = [
        [[word.text, word.start_seconds, word.end_seconds] for word in spread_words(text, 0.5, 7.25)]
        for text in SENTENCES
    ]
    document = {"captions": [case(lines) for lines in CASES], "spread": spread}
    golden("captions.json", msgspec.json.encode(document) + b"\n")
