"""What the decoding loop gives. Knows no torch, so that answers can be made of it anywhere."""

from __future__ import annotations

import msgspec


class Decoded(msgspec.Struct, frozen=True, kw_only=True):
    """A sequence that has ended.

    Attributes:
        key: The caller's name for it.
        tokens: What was emitted, the end token included if it was.
        log_probs: Natural-log probability of each at temperature 1.
        passes: Passes of the language model it took part in.
        drafted: Draft tokens that were verified.
        accepted: Draft tokens that were emitted.
        truncated: `max_tokens` ended it.
        contested: Rounding could have decided a token: not to be used, see the module.
    """

    key: int
    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    passes: int
    drafted: int
    accepted: int
    truncated: bool = False
    contested: bool = False
