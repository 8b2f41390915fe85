"""From what was heard in a window to the segments of a transcript.

Owns the choice of the breaks, behind a sentence, at a pause and where the speaker changes, and which tokens go to which side. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

from lithophone.backends.base import Recognition, Token
from lithophone.engine.transcript import Segment, Usage, average_logprob, compression_ratio, usage_of
from lithophone.granite.words import Word, moved

PAUSE_SECONDS: Final = 0.6  # between two words; within a sentence speakers seldom rest that long
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u2019\u201d\u00bb)\u300d\u300f]*$")


def segments_of(
    recognition: Recognition,
    *,
    start_seconds: float,
    end_seconds: float,
    first_id: int,
    follows_text: bool,
    temperature: float,
    retried: bool = False,
    earliest_seconds: float = 0.0,
) -> list[Segment]:
    """The segments of one window, at least one; their deltas joined are the window's text.

    Args:
        recognition: What was heard; its words count from the window's start.
        start_seconds: Where the window starts in the recording.
        end_seconds: Where it ends; both are the times of a segment without words.
        first_id: Id of the first segment.
        follows_text: Whether the transcript has text already, so that a space comes between.
        temperature: What the tokens were drawn at.
        retried: Whether a first try was thrown away because it repeated itself.
        earliest_seconds: Where the last word of the window before ends: two that overlap may disagree by a little.
    """
    words = in_order([moved(word, start_seconds) for word in recognition.words], earliest_seconds)
    groups = split_segments(words) or [()]
    shares = share_tokens(recognition.tokens, groups)
    usage = usage_of(recognition)
    segments: list[Segment] = []
    for place, (group, tokens) in enumerate(zip(groups, shares, strict=True)):
        delta = "".join(word.text for word in group) or recognition.text
        separator = " " if delta and follows_text and place == 0 else ""
        audio, prompt = (usage.audio_tokens, usage.text_tokens) if place == 0 else (0, 0)
        segments.append(
            Segment(
                id=first_id + place,
                start_seconds=group[0].start_seconds if group else start_seconds,
                end_seconds=group[-1].end_seconds if group else end_seconds,
                text=delta.strip(),
                delta=separator + delta,
                tokens=tokens,
                temperature=temperature,
                average_logprob=average_logprob(tokens),
                compression_ratio=compression_ratio(delta.strip()),
                no_speech_probability=recognition.no_speech_probability,
                usage=Usage(audio_tokens=audio, text_tokens=prompt, output_tokens=len(tokens)),
                words=group,
                retried=retried,
                speaker=group[0].speaker if group else None,
            )
        )
    return segments


def in_order(words: Sequence[Word], earliest_seconds: float) -> list[Word]:
    """The words, none starting before the one ahead of it ends nor before `earliest_seconds`."""
    ordered: list[Word] = []
    for word in words:
        start = max(word.start_seconds, earliest_seconds)
        earliest_seconds = max(word.end_seconds, start)
        ordered.append(msgspec.structs.replace(word, start_seconds=start, end_seconds=earliest_seconds))
    return ordered


def split_segments(words: Sequence[Word]) -> list[tuple[Word, ...]]:
    """The words of each segment; none is empty, and joined they are `words`."""
    breaks = [
        index for index, (word, following) in enumerate(pairwise(words), start=1) if _breaks(word, following)
    ]
    bounds = [0, *breaks, len(words)]
    return [tuple(words[start:stop]) for start, stop in pairwise(bounds) if start < stop]


def ends_sentence(text: str) -> bool:
    """Whether a word closes a sentence by its punctuation."""
    return _SENTENCE_END.search(text.rstrip()) is not None


def _breaks(word: Word, following: Word) -> bool:
    """A full stop before a small letter is an abbreviation's."""
    if word.speaker != following.speaker:
        return True
    if following.start_seconds - word.end_seconds >= PAUSE_SECONDS:
        return True
    return ends_sentence(word.text) and not following.text.lstrip()[:1].islower()


def share_tokens(tokens: Sequence[Token], segments: Sequence[Sequence[Word]]) -> list[tuple[Token, ...]]:
    """The tokens of each segment: a token belongs where its last character falls.

    Tokens count by characters, in proportion: one that holds a part of a character shows as a character of its own.
    """
    total = sum(len(token.text) for token in tokens)
    length = sum(len(word.text) for segment in segments for word in segment)
    shares: list[list[Token]] = [[] for _ in segments]
    place, written, limit = 0, 0, _length(segments[0]) if segments else 0
    for token in tokens:
        written += len(token.text)
        while place < len(segments) - 1 and written * length > limit * total:
            place += 1
            limit += _length(segments[place])
        if shares:
            shares[place].append(token)
    return [tuple(share) for share in shares]


def _length(words: Sequence[Word]) -> int:
    return sum(len(word.text) for word in words)
