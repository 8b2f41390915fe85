"""What the decoding loop asks of a language model. Knows no torch.

Owns the protocol between the loop, which decides who brings which tokens, and the ways to compute a pass over them:
`lithophone.backends.decoding.packed` with transformers' own layers, and `lithophone.backends.gpu` with kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Embeddings(Protocol):
    """A prompt's embeddings [positions, hidden], wherever the model keeps them; the loop only counts the positions."""

    def __len__(self) -> int:
        """Positions."""
        ...


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one sequence brings to a pass: its prompt if it begins, then known tokens, then drafted ones.

    Attributes:
        slot: Where it sits, as `Passes.join` said.
        cached: Positions whose keys and values are there already.
        prompt: Its prompt, in its first pass.
        tokens: The last token that is known, unless it begins, and the drafted ones behind it.
        drafted: How many of `tokens` are drafted.
        temperature: 0 takes the model's first choice; above, tokens are drawn.
        seed: Of what is drawn, 32 bits.
        kept_open: For how many of the next tokens the sequence may not end.
    """

    slot: int
    cached: int
    prompt: Embeddings | None
    tokens: Sequence[int]
    drafted: int
    temperature: float = 0.0
    seed: int = 0
    kept_open: int = 0

    @property
    def new(self) -> int:
        """Positions the pass takes in for it."""
        return len(self.tokens) + (0 if self.prompt is None else len(self.prompt))

    @property
    def asked(self) -> int:
        """Verdicts it is given: behind its last known position and behind every drafted token."""
        return 1 + self.drafted


class Verdicts(msgspec.Struct, frozen=True):
    """What the model says behind each position that was asked for, part by part.

    Attributes:
        choices: The token that is emitted there.
        log_probs: Its natural-log probability at temperature 1.
        close: The second-best logit is so close to the best that rounding could decide between them; never in passes that
            do not settle ties.
    """

    choices: Sequence[int]
    log_probs: Sequence[float]
    close: Sequence[bool]


class Passes(Protocol):
    """Passes of a language model over sequences that share its memory."""

    def join(self, positions: int) -> int | None:
        """A slot for a sequence that will never have more positions than this; None while there is no room for it."""
        ...

    def leave(self, slot: int) -> None:
        """Give a slot back."""
        ...

    def run(self, parts: Sequence[Part]) -> Verdicts:
        """One pass over what is new of every sequence that has a slot; keys and values stay for the next."""
        ...

    def padded(self, parts: Sequence[Part]) -> int:
        """Queries that attention computes in such a pass and nobody reads."""
        ...


class LanguageModel(Protocol):
    """The language model of a loaded Granite Speech model, with its head."""

    @property
    def max_positions(self) -> int:
        """The most positions of a sequence."""
        ...

    def prompt(self, before: Sequence[int], audio: Embeddings, after: Sequence[int]) -> Embeddings:
        """A prompt: text tokens around the embeddings of audio."""
        ...

    def prepare(self) -> None:
        """What takes a moment and makes every later pass faster; before the first pass that is timed."""
        ...

    def start(self, end_tokens: frozenset[int], *, settle_ties: bool) -> Passes:
        """Passes over sequences of their own.

        Args:
            end_tokens: Tokens that end a sequence.
            settle_ties: Say in float32 where rounding could decide. In 16 bits it could everywhere, and nothing is said.
        """
        ...
