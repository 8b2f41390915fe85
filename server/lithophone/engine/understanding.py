"""Whether a demonstration model understood what it wrote down, and what its user is told.

Owns the judgement: a model that knows a few hundred words writes fluent nonsense of any others, but gives it less
probability than anything it was made for. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from lithophone.engine.transcript import Segment, average_logprob
from lithophone.granite.family import ModelSpec, demonstration_note


def understood(spec: ModelSpec, segments: Sequence[Segment]) -> bool:
    """Whether the tokens are as probable as the model's own test set has them; true where there is nothing to tell by."""
    tokens = [token for segment in segments for token in segment.tokens]
    return spec.least_logprob is None or not tokens or average_logprob(tokens) >= spec.least_logprob


def demonstration_warnings(spec: ModelSpec, segments: Sequence[Segment]) -> tuple[str, ...]:
    """What the user of a demonstration model has to know of an answer, in plain ASCII; nothing for a published model."""
    note = demonstration_note(spec)
    if note is None:
        return ()
    if understood(spec, segments):
        return (f"model: {note}",)
    return (
        "model: it did not understand this recording, by its own probabilities; the text is a guess.",
        note,
    )
