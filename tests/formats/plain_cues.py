"""How cues are grouped and broken into lines, written plainly: texts are joined to be measured, halves of halves recurse.

What `lithophone.formats.cues` computes without joining must be this, word for word; it is far too slow for long texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lithophone.engine.segmentation import ends_sentence
from lithophone.granite.words import Word

LINE_CHARACTERS = 42
LONGEST_SECONDS = 7.0
CLAUSE_ENDS = (",", ";", ":", "\u3001", "\uff0c", "\u2014")

Words = Sequence[Word]


def groups(words: Words) -> Iterator[Words]:
    if len(words) < 2 or fits(words):
        yield from [words] if words else []
        return
    cut = min(range(1, len(words)), key=lambda index: cost(words, index))
    yield from groups(words[:cut])
    yield from groups(words[cut:])


def fits(words: Words) -> bool:
    if words[-1].end_seconds - words[0].start_seconds > LONGEST_SECONDS:
        return False
    return all(len(line) <= LINE_CHARACTERS for line in lines(words))


def cost(words: Words, index: int) -> float:
    before, behind = words[index - 1], words[index]
    sizes = len(text(words[:index])), len(text(words[index:]))
    bonus = min(max(behind.start_seconds - before.end_seconds, 0.0), 0.6)
    if ends_sentence(before.text):
        bonus += 0.6
    elif before.text.rstrip().endswith(CLAUSE_ENDS):
        bonus += 0.3
    return abs(sizes[0] - sizes[1]) / sum(sizes) - bonus


def text(words: Words) -> str:
    return " ".join("".join(word.text for word in words).split())


def lines(words: Words) -> tuple[str, ...]:
    whole = text(words)
    if len(whole) <= LINE_CHARACTERS or len(words) == 1:
        return (whole,)
    pairs = [(text(words[:index]), text(words[index:])) for index in range(1, len(words))]
    return min(pairs, key=lambda pair: max(len(pair[0]), len(pair[1])))
