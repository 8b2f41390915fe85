"""What a pass of the language model costs on this machine, by the clock."""

from __future__ import annotations

import time

import torch

from lithophone.backends.decoding.cache import KeyValueCache
from lithophone.backends.decoding.language_model import LanguageModel, Span
from lithophone.backends.decoding.speculation import PassCost

PASS_TOKENS = (1, 8, 32)
CACHED_POSITIONS = 128
REPEATS = 2


@torch.inference_mode()
def measure_pass_cost(model: LanguageModel) -> PassCost:
    """Time passes of a few lengths behind a short prompt; the best of two tries each. For the warm-up."""
    cache = KeyValueCache(model.layers)
    cache.reserve(1, CACHED_POSITIONS + PASS_TOKENS[-1])
    _pass_seconds(model, cache, CACHED_POSITIONS, cached=0)
    for tokens in PASS_TOKENS:  # kernels that are chosen or compiled at first use
        _pass_seconds(model, cache, tokens, cached=CACHED_POSITIONS)
    seconds = [
        min(_pass_seconds(model, cache, tokens, cached=CACHED_POSITIONS) for _ in range(REPEATS))
        for tokens in PASS_TOKENS
    ]
    return PassCost.measured(PASS_TOKENS, seconds)


def _pass_seconds(model: LanguageModel, cache: KeyValueCache, tokens: int, *, cached: int) -> float:
    started = time.perf_counter()
    hidden = model.run(model.embed([0] * tokens), [Span(tokens, cached)], cache)
    model.logits(hidden).argmax(dim=-1).tolist()  # reading the answer waits for a GPU
    return time.perf_counter() - started
