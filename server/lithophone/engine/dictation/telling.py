"""Which words of what was heard stand, and the text they make. Pure.

Owns the commit policy and the words that were told: none is ever taken back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from lithophone.backends.base import Recognition, Token
from lithophone.engine.dictation.options import CommitPolicy
from lithophone.engine.segmentation import share_tokens
from lithophone.engine.stitching import counterpart
from lithophone.granite.words import Word, moved

SURE_LOGPROB: Final = (
    -0.4
)  # two in three: of the words told too soon seven in ten had a token below it, of others two in a hundred
LEAST_PROBABILITY: Final = 0.05
MOST_RECENT_WORDS: Final = 500  # more than the longest window holds


class HeardWord(msgspec.Struct, frozen=True):
    """A word of a hypothesis and its tokens; one that is not `whole` shares a token with the next and is told with it."""

    word: Word
    tokens: tuple[Token, ...]
    whole: bool = True

    @property
    def is_unheard(self) -> bool:
        """Whether the CTC head heard other letters: where in the audio the word is, is not known then."""
        probability = self.word.probability
        return probability is not None and probability < LEAST_PROBABILITY

    @property
    def is_doubtful(self) -> bool:
        """Whether the model hesitated over a token, or its CTC head heard other letters."""
        return self.is_unheard or any(token.logprob < SURE_LOGPROB for token in self.tokens)


def heard_words(recognition: Recognition, shift_seconds: float) -> list[HeardWord]:
    """The words of a recognition, each that much later."""
    words = [moved(word, shift_seconds) for word in recognition.words]
    if len(recognition.token_stops) != len(words):
        shares = share_tokens(recognition.tokens, [(word,) for word in words])
        return [HeardWord(word, tokens) for word, tokens in zip(words, shares, strict=True)]
    stops = recognition.token_stops
    return [
        HeardWord(word, recognition.tokens[start:stop], whole=following != stop)
        for word, start, stop, following in zip(words, (0, *stops), stops, (*stops[1:], -1), strict=False)
    ]


class Heard(NamedTuple):
    """How far the audio of a hypothesis goes, and the voice in it, in seconds."""

    edge_seconds: float
    voice_seconds: float


class Agreement:
    """Successive hypotheses of the words behind those that were told."""

    def __init__(self, policy: CommitPolicy) -> None:
        self._policy = policy
        self._before: deque[list[str]] = deque(maxlen=policy.agreeing - 1)

    def standing(self, words: Sequence[HeardWord], audio: Heard) -> int:
        """How many words of the newest hypothesis stand."""
        texts = [heard.word.text.strip() for heard in words]
        agreed = len(texts) if len(self._before) == self._policy.agreeing - 1 else 0
        for before in self._before:
            agreed = min(agreed, _common(texts, before))
        self._before.append(texts)
        return self.old_enough(words[:agreed], audio, following=words[agreed:])

    def old_enough(
        self, words: Sequence[HeardWord], audio: Heard, following: Sequence[HeardWord] = ()
    ) -> int:
        """How many of the words, whatever was heard before, end long enough before the newest audio."""
        told = [*words, *following]
        ages = [audio.edge_seconds - end for end in latest_ends(told, audio.voice_seconds)]
        pairs = enumerate(zip(words, ages, strict=False))
        count = next(
            (place for place, (heard, age) in pairs if age < self._least_age_seconds(heard)), len(words)
        )
        while count and not told[count - 1].whole:
            count -= 1
        return count

    def _least_age_seconds(self, heard: HeardWord) -> float:
        doubt = self._policy.doubt_seconds if heard.is_doubtful else 0.0
        return self._policy.held_back_seconds + doubt

    def told(self, count: int) -> None:
        """So many words were told."""
        for before in self._before:
            del before[:count]

    def restart(self) -> None:
        """What was heard until now says nothing of what comes."""
        self._before.clear()


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))


def latest_ends(words: Sequence[HeardWord], voice_seconds: float) -> list[float]:
    """Where each word ends at the latest, in seconds: one that was not heard may last until the next that was begins.

    Behind the last that was heard that is where the voice ends. Where a model makes words up, or says some twice, all of them
    are forced into the audio there is and seem to be older than they are.
    """
    ends: list[float] = []
    bound = voice_seconds
    for heard in reversed(words):
        ends.append(max(heard.word.end_seconds, bound) if heard.is_unheard else heard.word.end_seconds)
        bound = bound if heard.is_unheard else heard.word.start_seconds
    return ends[::-1]


class Caption:
    """The words of a turn that were told.

    Attributes:
        tokens: Of all of them.
    """

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self._texts: list[str] = []
        self._recent: list[HeardWord] = []

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._texts)

    @property
    def is_empty(self) -> bool:
        """Nothing was told."""
        return not self._texts

    def tell(self, words: Sequence[HeardWord]) -> list[HeardWord]:
        """Take words in behind those there are; returns them as they stand in the text, with the spaces between."""
        told = list(words)
        if told and self.is_empty:
            told[0] = _with_text(told[0], told[0].word.text.lstrip())
        self._recent = [*self._recent, *told][-MOST_RECENT_WORDS:]
        self._texts += [heard.word.text for heard in told]
        for heard in told:
            self.tokens += heard.tokens
        return told

    def since(self, start_seconds: float) -> list[HeardWord]:
        """The words told that were said from a moment on; those before it are never asked for again."""
        while self._recent[1:] and self._recent[0].word.middle_seconds < start_seconds:
            del self._recent[0]
        return [heard for heard in self._recent if heard.word.middle_seconds >= start_seconds]

    def following(self, words: Sequence[HeardWord]) -> list[HeardWord]:
        """Of words heard in another hearing of the same audio those behind the last that was told.

        That is the word of the same letters at the same time; where there is none, times alone decide.
        """
        if not self._recent:
            return list(words)
        last = self._recent[-1].word
        same = counterpart(last, [heard.word for heard in words]) if words else None
        if same is not None:
            return list(words[same + 1 :])
        return [heard for heard in words if heard.word.middle_seconds > last.end_seconds]


def spaced(words: Sequence[HeardWord]) -> list[HeardWord]:
    """The words of a new window behind a text that has words already."""
    if not words:
        return []
    first = words[0]
    return [_with_text(first, f" {first.word.text.lstrip()}"), *words[1:]]


def _with_text(heard: HeardWord, text: str) -> HeardWord:
    return msgspec.structs.replace(heard, word=msgspec.structs.replace(heard.word, text=text))
