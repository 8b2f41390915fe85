"""The words worth biasing towards in a prompt.

Owns what a Granite model can use of the free text that OpenAI calls a prompt: names and terms, for the `Keywords:` part
of its own prompt. Pure. Where a text was spoken before, its names return; the rest of it cannot be told to the model.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MOST_TERMS: Final = 50
LONGEST_ITEM_WORDS: Final = 4

_SEPARATOR = re.compile(r"[,;\n\u3001]+")
_SENTENCE = re.compile(r"(?<=[.!?\u3002])\s+|\n+")
_OF_WORDS: Final = "#@&%"  # punctuation to Unicode, part of a term to a reader


def terms_of(prompt: str) -> tuple[str, ...]:
    """The items of a list, or the names and odd spellings in a text; each once, in order, at most `MOST_TERMS`.

    A list is what commas, semicolons or line ends part into pieces of a few words. In a text these are terms: words
    written with a capital that does not open a sentence (those in a row are one name), and words with a capital or a
    digit inside.
    """
    prompt = unicodedata.normalize("NFKC", prompt)
    items = [_bare(item) for item in _SEPARATOR.split(prompt)]
    items = [item for item in items if item]
    is_list = len(items) > 1 and all(len(item.split()) <= LONGEST_ITEM_WORDS for item in items)
    found = items if is_list else [name for part in _SENTENCE.split(prompt) for name in _names(part)]
    return tuple(dict.fromkeys(found))[:MOST_TERMS]


def _names(sentence: str) -> list[str]:
    names: list[list[str]] = [[]]
    words = sentence.split()
    for place, word in enumerate(words):
        bare = _bare(word)
        if _is_odd(bare) or (
            bare[:1].isupper() and place > 0 and bare not in {"I", "I'm", "I'll", "I've", "I'd"}
        ):
            names[-1].append(bare)
            if not word.endswith(bare):  # punctuation behind it ends a name
                names.append([])
        else:
            names.append([])
    return [" ".join(name) for name in names if name]


def _is_odd(word: str) -> bool:
    """Spelled as no ordinary word is: `iPhone`, `gfx1151`, `AWS`."""
    inside = word[1:]
    letters = any(character.isalpha() for character in word)
    return letters and any(character.isupper() or character.isdigit() for character in inside)


def _bare(text: str) -> str:
    """Without the punctuation and white space around it."""
    first, last = 0, len(text)
    while first < last and _is_mark(text[first]):
        first += 1
    while last > first and _is_mark(text[last - 1]):
        last -= 1
    return " ".join(text[first:last].split())


def _is_mark(character: str) -> bool:
    punctuation = unicodedata.category(character)[0] == "P" and character not in _OF_WORDS
    return punctuation or character.isspace()
