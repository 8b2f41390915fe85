"""From logits to tokens: the model's choice behind each position, its probability, and whether rounding could decide.

Everything is computed where the logits are, and read with one copy.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
import torch
from torch import Tensor

from lithophone.backends.decoding.passes import Part, Verdicts

CONTESTED_MARGIN = 1e-4
"""Of the largest logit. The largest difference measured between passes of different shapes is about 1e-6 of it."""

_BITS: Final = 0xFFFFFFFF


class Exceptions(msgspec.Struct, frozen=True):
    """The positions of a pass at which the model's first choice is not simply taken, in the order of its verdicts.

    Attributes:
        early: Where no end token may be said.
        warm: Where a token is drawn.
        temperatures: Of each of those.
        seeds: Of the chance at each of those, 32 bits.
    """

    early: tuple[int, ...] = ()
    warm: tuple[int, ...] = ()
    temperatures: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()

    @property
    def any(self) -> bool:
        """There are some."""
        return bool(self.early or self.warm)

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Exceptions:
        """Those of a pass."""
        if all(part.temperature == 0 and part.kept_open == 0 for part in parts):
            return cls()
        early: list[int] = []
        warm: list[tuple[int, float, int]] = []
        start = 0
        for part in parts:
            early += range(start, start + min(part.asked, part.kept_open))
            if part.temperature > 0:
                known = part.cached + part.new - part.drafted
                warm += (
                    (start + more, part.temperature, _seed_at(part.seed, known + more))
                    for more in range(part.asked)
                )
            start += part.asked
        places, temperatures, seeds = zip(*warm, strict=True) if warm else ((), (), ())
        return cls(tuple(early), places, temperatures, seeds)


def _seed_at(seed: int, position: int) -> int:
    return zlib.crc32(position.to_bytes(8, "little"), seed)


def judge(logits: Tensor, exceptions: Exceptions, end_tokens: frozenset[int], *, settle_ties: bool) -> Tensor:
    """Float32 [3, positions]: choice, natural-log probability, and 1 where the choice is close.

    Token ids stay whole in float32 up to 2**24. Where end tokens may not be said, `logits` is changed.

    Args:
        logits: Float32 [positions, vocabulary].
        exceptions: See there.
        end_tokens: Tokens that end a sequence.
        settle_ties: Look for close choices.
    """
    if exceptions.early:
        rows = _index(exceptions.early, logits.device).unsqueeze(1)
        logits[rows, _index(sorted(end_tokens), logits.device)] = float("-inf")
    choices = logits.argmax(dim=-1)
    if exceptions.warm:
        choices = choices.index_copy(0, *_drawn(logits, exceptions))
    chosen = logits.gather(-1, choices.unsqueeze(-1)).squeeze(-1)
    log_probs = chosen - logits.logsumexp(dim=-1)
    close = _close(logits) if settle_ties else torch.zeros_like(log_probs)
    return torch.stack((choices.float(), log_probs, close.float()))


def read(judged: Tensor) -> Verdicts:
    """What `judge` found, on the host: one copy, and the wait for the pass itself."""
    choices, log_probs, close = judged.tolist()
    return Verdicts([int(choice) for choice in choices], log_probs, [bool(one) for one in close])


def _close(logits: Tensor) -> Tensor:
    best = logits.topk(2, dim=-1).values
    largest = logits.where(logits.isfinite(), 0.0).abs().amax(dim=-1)
    return best[:, 0] - best[:, 1] < CONTESTED_MARGIN * largest


def _drawn(logits: Tensor, exceptions: Exceptions) -> tuple[Tensor, Tensor]:
    """Positions that are drawn, and a token for each: the largest logit once Gumbel noise is added to each.

    The same distribution as `torch.multinomial`, which waits for the device to look at the weights first. The noise depends
    on the position's seed and the token alone: neither the company nor the device nor what was drawn before changes it.
    """
    warm = _index(exceptions.warm, logits.device)
    temperatures = torch.tensor(exceptions.temperatures, device=logits.device).unsqueeze(-1)
    chances = _chances(_index(exceptions.seeds, logits.device), logits.shape[-1])
    return warm, (logits[warm] / temperatures - (-chances.log()).log()).argmax(dim=-1)


def _chances(seeds: Tensor, count: int) -> Tensor:
    """Float32 [seeds, count], uniform between 0 and 1, both excluded: a hash of each seed and number.

    The mixing function is Chris Wellons' `lowbias32` (public domain), its 32 bits in int64.
    """
    mixed = torch.arange(count, device=seeds.device) * 0x9E3779B9 + seeds.unsqueeze(-1) & _BITS
    mixed = (mixed ^ mixed >> 16) * 0x7FEB352D & _BITS
    mixed = (mixed ^ mixed >> 15) * 0x846CA68B & _BITS
    mixed = mixed ^ mixed >> 16
    return ((mixed >> 9) + 0.5) / 2**23  # 23 bits and a half: exact in float32, and never 1


def _index(positions: Sequence[int], device: torch.device) -> Tensor:
    return torch.tensor(positions, dtype=torch.long, device=device)
