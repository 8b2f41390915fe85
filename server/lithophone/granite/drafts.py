"""Guesses at what the language model will say next, for it to confirm or refuse.

Owns two sources of drafts and the alignment that keeps the first in step with what was really said. Pure: numpy and a
tokenizer handed in as functions, no torch, no model. A draft can only cost or save time: whatever is proposed, the
model's own choice is what gets emitted.

- `TranscriptDraft`: the text of the CTC head, which has heard the same audio. It knows neither case nor punctuation, and
  errs; after each token the model chose differently, the rest of the draft is found again by aligning letters.
- `RepetitionDraft`: what followed the last two tokens the last time they were said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

SENTENCE_ENDS = (".", "?", "!")
MAX_REPETITION = 16


class Draft(Protocol):
    """A source of guesses at the next tokens."""

    def propose(self) -> Sequence[int]:
        """What comes next, by this source; empty if it does not know."""
        ...

    def observe(self, emitted: Sequence[int]) -> None:
        """Take note of what the model has said since the last call."""
        ...


class TranscriptStyle(msgspec.Struct, frozen=True, kw_only=True):
    """How the model writes what the CTC head spells in lower case: seen in one transcript, assumed of the next."""

    leading_space: bool = True
    capitalised: bool = False
    full_stop: bool = False

    @classmethod
    def of(cls, transcript: str) -> TranscriptStyle:
        """The style of a transcript as emitted, unstripped."""
        words = transcript.strip()
        return cls(
            leading_space=transcript.startswith(" "),
            capitalised=words[:1].isupper(),
            full_stop=words.endswith("."),
        )

    def continued(self) -> TranscriptStyle:
        """The style of what follows words of the same transcript."""
        return msgspec.structs.replace(self, leading_space=True, capitalised=False)

    def apply(self, text: str) -> str:
        """CTC text as this model would write it."""
        if not text:
            return ""
        cased = text[:1].upper() + text[1:] if self.capitalised else text
        return f"{' ' if self.leading_space else ''}{cased}{'.' if self.full_stop else ''}"


class LetterAlignment:
    """Where in a reference one is after saying something like its beginning.

    Keeps the edit distance (Levenshtein 1966) between the letters said so far and every prefix of the reference's
    letters: one vector operation for each letter said, however long the reference. Case and punctuation do not count.
    """

    def __init__(self, reference: str) -> None:
        folded = [
            (ord(letter), index + 1)
            for index, character in enumerate(reference)
            for letter in _letters(character)
        ]
        self._letters = np.array([letter for letter, _ in folded], dtype=np.int32)
        self._ends = [0, *(end for _, end in folded)]
        self._steps = np.arange(len(self._ends), dtype=np.int32)
        self._distances: NDArray[np.int32] = self._steps.copy()
        self._expected = 0

    def advance(self, said: str) -> None:
        """Take in what was said next."""
        for letter in _letters(said):
            self._expected += 1
            self._advance(ord(letter))

    def position(self) -> int:
        """Where the unsaid rest of the reference begins: an index into its characters, behind the last aligned letter.

        Of equally good places the one that takes letter for letter since the last call is chosen.
        """
        best = np.flatnonzero(self._distances == self._distances.min())
        matched = int(best[np.abs(best - self._expected).argmin()])
        self._expected = matched
        return self._ends[matched]

    def _advance(self, letter: int) -> None:
        matched = self._distances[:-1] + (self._letters != letter)
        row = self._distances + 1  # said, but not in the reference
        np.minimum(row[1:], matched, out=row[1:])
        # in the reference, but not said: each costs one more than its predecessor
        self._distances = np.minimum.accumulate(row - self._steps) + self._steps


def continued_text(said: str, reference: str) -> str:
    """`said`, and the rest of `reference` behind what it says.

    The last word of `said` may have been cut off by the end of the audio: it stays only if the reference goes on like it.

    Args:
        said: What a model wrote of the beginning of an audio.
        reference: The CTC text of more of the same audio.
    """
    begun, _, last = said.strip().rpartition(" ")
    alignment = LetterAlignment(reference)
    alignment.advance(begun)
    rest = reference[alignment.position() :].lstrip()
    if not _begin_alike(last, rest):
        return " ".join(part for part in (begun, rest) if part)
    alignment.advance(last)
    rest = reference[alignment.position() :]
    return said.strip() + (rest[rest.find(" ") :] if " " in rest else "")


def _begin_alike(word: str, text: str) -> bool:
    """Whether half of a word, or half of what there is of a text, are the same letters."""
    first, second = _letters(word), _letters(text)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
    return 2 * alike >= min(len(first), len(second)) > 0


def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


class TranscriptDraft:
    """The rest of a text that the model is expected to say, then the end of the transcript.

    Args:
        text: The whole expected transcript.
        encode: Text to tokens, without any control tokens.
        decode: Tokens to text.
        end_token: The token that ends a transcript.
    """

    def __init__(
        self,
        text: str,
        encode: Callable[[str], Sequence[int]],
        decode: Callable[[Sequence[int]], str],
        end_token: int,
    ) -> None:
        self._text = text
        self._encode = encode
        self._decode = decode
        self._end_token = end_token
        self._alignment = LetterAlignment(text)
        self._unaligned: list[int] = []
        self._word = ""
        self._pending = self._tokens(text)
        self._followed = True

    def propose(self) -> Sequence[int]:
        """The rest of the text; empty for a text without words, which says nothing about the model."""
        if not self._followed:
            self._realign()
        return self._pending

    def observe(self, emitted: Sequence[int]) -> None:
        """Follow what was said; a token that differs from the draft moves the draft at the next `propose`."""
        self._unaligned += emitted
        count = len(emitted)
        if self._followed and self._pending[:count] == list(emitted):
            del self._pending[:count]
        else:
            self._followed = False

    def _realign(self) -> None:
        said = self._decode(self._unaligned)
        self._unaligned.clear()
        self._alignment.advance(said)
        rest = self._text[self._resumption(said) :]
        self._pending = self._tokens(_capitalised(rest) if said.rstrip().endswith(SENTENCE_ENDS) else rest)
        self._followed = True

    def _resumption(self, said: str) -> int:
        """Where to go on: inside a word only if it was said as drafted until there, else behind the word.

        A model that writes a word differently seldom ends it as the draft does; one that only capitalises it does.
        """
        position = self._alignment.position()
        self._word = _last_word(self._word + said)
        begun = _last_word(self._text[:position])
        if begun.casefold() == self._word.casefold():
            return position
        return position + len(_first_word(self._text[position:])) if begun else position

    def _tokens(self, text: str) -> list[int]:
        return [*self._encode(text), self._end_token] if self._text.strip() else []


def _first_word(text: str) -> str:
    return "".join(takewhile(str.isalnum, text))


def _last_word(text: str) -> str:
    return _first_word(text[::-1])[::-1]


def _capitalised(text: str) -> str:
    """The text with its first letter in upper case."""
    index = next((i for i, character in enumerate(text) if character.isalnum()), len(text))
    return text[:index] + text[index : index + 1].upper() + text[index + 1 :]


class RepetitionDraft:
    """Prompt look-up (Saxena 2023) in the model's own words: what followed the same two tokens before."""

    def __init__(self) -> None:
        self._said: list[int] = []
        self._followers: dict[tuple[int, int], int] = {}
        self._start = 0

    def propose(self) -> Sequence[int]:
        """Up to `MAX_REPETITION` tokens; empty if the last two tokens never stood together before."""
        return self._said[self._start : self._start + MAX_REPETITION] if self._start else []

    def observe(self, emitted: Sequence[int]) -> None:
        """Remember where each pair of tokens led to."""
        for token in emitted:
            self._said.append(token)
            if len(self._said) > 1:
                pair = (self._said[-2], token)
                self._start = self._followers.get(pair, 0)
                self._followers[pair] = len(self._said)
