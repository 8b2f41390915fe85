"""Whether a demonstration model understood what it wrote down, and what its user is told.

Owns the judgement: a model that knows a few hundred words writes fluent nonsense of any others, but gives it less
probability than anything it was made for. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lithophone.backends.base import Token
from lithophone.engine.transcript import average_logprob
from lithophone.granite.family import ModelSpec, demonstration_note


class Recognised(Protocol):
    """What a model wrote down: a segment of a recording, or a turn of a live session."""

    @property
    def tokens(self) -> tuple[Token, ...]:
        """With their probabilities."""
        ...


def understood(spec: ModelSpec, segments: Sequence[Recognised]) -> bool:
    """Whether the tokens are as probable as the model's own test set has them; true where there is nothing to tell by."""
    tokens = [token for segment in segments for token in segment.tokens]
    return spec.least_logprob is None or not tokens or average_logprob(tokens) >= spec.least_logprob


def demonstration_warnings(spec: ModelSpec, segments: Sequence[Recognised]) -> tuple[str, ...]:
    """What the user of a demonstration model has to know of an answer, in plain ASCII; nothing for a published model."""
    note = demonstration_note(spec)
    if note is None:
        return ()
    doubts = doubts_about(spec, segments)
    return (*doubts, note) if doubts else (f"model: {note}",)


def doubts_about(spec: ModelSpec, segments: Sequence[Recognised]) -> tuple[str, ...]:
    """What a demonstration model says of what it did not understand; nothing where it did."""
    if understood(spec, segments):
        return ()
    return ("model: it did not understand this recording, by its own probabilities; the text is a guess.",)
