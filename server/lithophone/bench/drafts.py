"""Drafts of a stated accuracy, for weights that have learned nothing a CTC head could draft from.

Pure. The tokens the model will say are known from a run without drafts; each is replaced by a wrong one with the stated
probability, and the result goes through the very verification that real drafts go through.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def corrupted(tokens: Sequence[int], accuracy: float, vocabulary: int, seed: int) -> list[int]:
    """The tokens, each independently kept with probability `accuracy` and else replaced by another one.

    Args:
        tokens: What the model says.
        accuracy: Between 0 and 1.
        vocabulary: Replacements are drawn from 0 to here.
        seed: The same seed gives the same draft.
    """
    rng = np.random.default_rng(seed)
    said = np.asarray(tokens, dtype=np.int64)
    wrong = (
        said + rng.integers(1, vocabulary, len(said))
    ) % vocabulary  # a shift of at least 1 is never the same
    return np.where(rng.random(len(said)) < accuracy, said, wrong).tolist()


class SimulatedDraft:
    """A draft that errs in single tokens and is in step again behind each: token k of it is for place k."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self._said = 0

    def propose(self) -> Sequence[int]:
        """What is left of the draft."""
        return self._tokens[self._said :]

    def observe(self, emitted: Sequence[int]) -> None:
        """Count what was said; whether it was as drafted makes no difference to the rest."""
        self._said += len(emitted)
