"""Decoding many transcripts at once, with drafts verified many tokens at a time.

Owns the loop: which sequences take part in the next pass of the language model, which tokens each brings, what is
emitted, and who leaves. Sequences may join between any two steps and leave when they end. Knows no audio, no text and no
torch.

Greedy decoding says what the model says token by token, whatever is drafted: a drafted token is kept only where it is
the model's first choice given everything before it. In float32 this is made exact. A pass over many tokens and a pass
over one add in different orders and differ in the last bits; where the two best logits are closer than
`verdicts.CONTESTED_MARGIN` such bits could decide. A sequence that meets such a place in company or with drafts is given up as
`contested`, for the caller to decode again alone and token by token, which is what "plain greedy decoding" means here.
In half precision the margin would contest every other sequence, so there the loop keeps what it got; batching and
drafts can then change a token whose two best choices are within rounding of each other, as any batched server does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from lithophone.backends.decoding.costs import Cost, DraftBudget
from lithophone.backends.decoding.decoded import Decoded
from lithophone.backends.decoding.passes import Embeddings, Part, Passes, Verdicts
from lithophone.backends.decoding.speculation import Offer, Speculator, draft_lengths

PROMPT_TOKENS_PER_PASS = 4096
"""Prompts that begin in the same pass; bounds its memory and how long it holds up those that are under way."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A sequence to decode.

    Attributes:
        key: The caller's name for it.
        embeddings: Of the whole prompt, audio included, [positions, hidden].
        max_tokens: The most tokens to emit.
        min_tokens: End tokens cannot be said before so many were emitted.
        temperature: 0 is greedy; above, tokens are drawn from the distribution at this temperature, without drafts.
        seed: Of what is drawn, 32 bits: the same one draws the same again, whatever else is decoded beside it.
        speculator: Guesses at the transcript; None decodes token by token.
    """

    key: int
    embeddings: Embeddings
    max_tokens: int
    min_tokens: int = 0
    temperature: float = 0.0
    seed: int = 0
    speculator: Speculator | None = None


@dataclass(slots=True, eq=False)
class _Sequence:
    """A sequence under way, and where it sits."""

    prompt: Prompt
    slot: int = -1
    cached: int = 0
    draft: list[int] = field(default_factory=list[int])
    tokens: list[int] = field(default_factory=list[int])
    log_probs: list[float] = field(default_factory=list[float])
    passes: int = 0
    drafted: int = 0
    accepted: int = 0
    ended: bool = False
    contested: bool = False

    @property
    def new_tokens(self) -> int:
        """Tokens the next pass must take in, drafts aside."""
        return 1 if self.tokens else len(self.prompt.embeddings)

    @property
    def room(self) -> int:
        """Tokens that may still be emitted."""
        return self.prompt.max_tokens - len(self.tokens)

    @property
    def kept_open(self) -> int:
        """For how many of the next tokens the sequence may not end."""
        return max(0, self.prompt.min_tokens - len(self.tokens))

    def offer(self) -> Offer:
        """Propose a draft; one token less than there is room for, since a pass emits one more than it accepts."""
        speculator = self.prompt.speculator
        if speculator is None or self.prompt.temperature > 0:
            return Offer(0, 0.0)
        self.draft = list(speculator.propose()[: self.room - 1])
        return Offer(len(self.draft), speculator.rate)

    @property
    def most_positions(self) -> int:
        """Of its prompt and all it may ever say, refused drafts included."""
        return len(self.prompt.embeddings) + max(1, self.prompt.max_tokens)

    def part(self) -> Part:
        """What it brings to the next pass."""
        return Part(
            slot=self.slot,
            cached=self.cached,
            prompt=None if self.tokens else self.prompt.embeddings,
            tokens=[*self.tokens[-1:], *self.draft],
            drafted=len(self.draft),
            temperature=self.prompt.temperature,
            seed=self.prompt.seed,
            kept_open=self.kept_open,
        )

    def decoded(self) -> Decoded:
        return Decoded(
            key=self.prompt.key,
            tokens=tuple(self.tokens),
            log_probs=tuple(self.log_probs),
            passes=self.passes,
            drafted=self.drafted,
            accepted=self.accepted,
            truncated=not self.ended and self.room <= 0,
            contested=self.contested,
        )


class DecodingBatch:
    """Sequences that are decoded together.

    Args:
        passes: Of the language model. Decoding alone and token by token, which is the reference itself, is given passes
            that do not settle ties.
        end_tokens: Tokens that end a sequence.
        cost: Of a pass, for the choice of draft lengths; learns from each.
        budget: What may be risked on drafts.

    Attributes:
        passes: Of the language model, so far.
        sequence_passes: The same, each counted once for every sequence in it.
        positions: Tokens that went through its layers in them, drafted ones included.
        padded_positions: Repetitions that attention computed beside them and nobody read.
    """

    def __init__(self, passes: Passes, end_tokens: frozenset[int], cost: Cost, budget: DraftBudget) -> None:
        self._passes = passes
        self._end_tokens = end_tokens
        self._cost = cost
        self._budget = budget
        self._running: list[_Sequence] = []
        self._waiting: list[_Sequence] = []
        self.passes = 0
        self.sequence_passes = 0
        self.positions = 0
        self.padded_positions = 0

    def __len__(self) -> int:
        """Sequences that have not ended."""
        return len(self._running) + len(self._waiting)

    def admit(self, prompts: Sequence[Prompt]) -> None:
        """Let sequences join; they begin with the next step."""
        self._waiting += [_Sequence(prompt) for prompt in prompts]

    def drop(self, key: int) -> None:
        """Forget a sequence; nothing is reported about it."""
        self._waiting = [sequence for sequence in self._waiting if sequence.prompt.key != key]
        self._remove([sequence for sequence in self._running if sequence.prompt.key == key])

    def step(self) -> list[Decoded]:
        """One pass of the language model: at least one token for every sequence in it; returns those that ended."""
        self._begin_waiting()
        if not self._running:
            return []
        plain_tokens, draft_tokens = self._choose_drafts()
        began = time.perf_counter()
        verdicts = self._pass(plain_tokens + draft_tokens)
        self._cost.observe(plain_tokens + draft_tokens, time.perf_counter() - began)
        accepted = self._settle_all(verdicts)
        self._account(plain_tokens, draft_tokens, accepted)
        ended = [s for s in self._running if s.ended or s.contested or s.room <= 0]
        self._remove(ended)
        return [sequence.decoded() for sequence in ended]

    def _begin_waiting(self) -> None:
        """Move waiting sequences into the pass: as many as it takes at once, one at least, while the model has room."""
        positions = 0
        while self._waiting:
            sequence = self._waiting[0]
            positions += sequence.new_tokens
            if positions > PROMPT_TOKENS_PER_PASS and positions > sequence.new_tokens:
                return
            slot = self._passes.join(sequence.most_positions)
            if slot is None:
                return
            sequence.slot = slot
            self._running.append(self._waiting.pop(0))

    def _choose_drafts(self) -> tuple[int, int]:
        """Give every sequence its draft; returns the pass's tokens without drafts, and those of drafts."""
        offers = [sequence.offer() for sequence in self._running]
        base = sum(sequence.new_tokens for sequence in self._running)
        may_draft = base > len(offers) or self._cost.knows(base)  # else this pass is timed without any
        allowed = self._budget.passes
        lengths = draft_lengths(offers, base, self._cost, allowed) if may_draft else [0] * len(offers)
        for sequence, length in zip(self._running, lengths, strict=True):
            del sequence.draft[length:]
        return base, sum(lengths)

    def _account(self, plain_tokens: int, draft_tokens: int, accepted: int) -> None:
        rows = len(self._running)
        one, plain = self._cost(rows), self._cost(plain_tokens)
        extra = self._cost(plain_tokens + draft_tokens) - plain
        self._budget.settle(plain / one, extra / one, accepted / rows)

    def _pass(self, tokens: int) -> Verdicts:
        """Run the model over what is new and ask for its choices behind the last known token and every drafted one."""
        parts = [sequence.part() for sequence in self._running]
        self.passes += 1
        self.sequence_passes += len(parts)
        self.positions += tokens
        self.padded_positions += self._passes.padded(parts)
        return self._passes.run(parts)

    def _settle_all(self, verdicts: Verdicts) -> int:
        """Emit what the model said of each sequence; returns how many drafted tokens it accepted."""
        start = accepted = 0
        for sequence in self._running:
            count = 1 + len(sequence.draft)
            accepted += self._settle(sequence, verdicts, start)
            start += count
        return accepted

    def _settle(self, sequence: _Sequence, verdicts: Verdicts, start: int) -> int:
        """Emit the drafted tokens the model agrees with, and its own token behind them; returns how many it accepted.

        Args:
            sequence: Whose.
            verdicts: Of the pass.
            start: Where those of the sequence begin.
        """
        accepted = 0
        while (
            accepted < len(sequence.draft)
            and verdicts.choices[start + accepted] == sequence.draft[accepted]
            and sequence.draft[accepted] not in self._end_tokens
        ):
            accepted += 1
        own = slice(start, start + accepted + 1)
        emitted, log_probs = verdicts.choices[own], verdicts.log_probs[own]
        agreed = accepted + (accepted < len(sequence.draft) and emitted[-1] == sequence.draft[accepted])
        sequence.cached += sequence.new_tokens + accepted
        sequence.passes += 1
        sequence.drafted += len(sequence.draft)
        sequence.accepted += agreed
        sequence.tokens += emitted
        sequence.log_probs += log_probs
        finite = all(map(math.isfinite, log_probs))
        sequence.ended = emitted[-1] in self._end_tokens or not finite
        greedy = sequence.prompt.temperature == 0
        sequence.contested = greedy and any(verdicts.close[own])
        if sequence.prompt.speculator is not None:
            sequence.prompt.speculator.observe(emitted, len(sequence.draft), agreed)
        sequence.draft = []
        return accepted

    def _remove(self, gone: Sequence[_Sequence]) -> None:
        for sequence in gone:
            self._running.remove(sequence)
            self._passes.leave(sequence.slot)
