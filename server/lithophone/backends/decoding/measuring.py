"""What a pass of the language model costs on this machine, by the clock."""

from __future__ import annotations

import math
import time

from lithophone.backends.decoding.cache import KeyValueCache
from lithophone.backends.decoding.language_model import LanguageModel, Span
from lithophone.backends.decoding.speculation import PassCost

PASS_TOKENS = (1, 2, 8, 32)  # the second token often costs more than the next six
CACHED_POSITIONS = 128
LEAST_ROUNDS = 2
MOST_ROUNDS = 10
ROUNDS_SECONDS = 1.0


def measure_pass_cost(model: LanguageModel) -> PassCost:
    """Time passes of a few lengths behind a short prompt. For the warm-up.

    Where there are two ways to compute matrix products, the model is left with the faster one.
    """
    model.products.wanted = False
    usual = _best_seconds(model)
    if model.can_switch:
        model.products.wanted = True
        other = _best_seconds(model)
        model.products.wanted = sum(other) < sum(usual)
        usual = other if model.products.wanted else usual
    return PassCost.measured(PASS_TOKENS, usual)


def _best_seconds(model: LanguageModel) -> list[float]:
    """For each length, the best of several rounds.

    The lengths take turns, so that a busy moment does not make one of them look dear, and a small model gets more rounds:
    its passes are short enough to fall into such a moment.
    """
    cache = KeyValueCache(model.layers)
    cache.reserve(1, CACHED_POSITIONS + PASS_TOKENS[-1])
    _pass_seconds(model, cache, CACHED_POSITIONS, cached=0)
    for tokens in PASS_TOKENS:  # kernels that are chosen at first use
        _pass_seconds(model, cache, tokens, cached=CACHED_POSITIONS)
    best = [math.inf] * len(PASS_TOKENS)
    started = time.perf_counter()
    for number in range(MOST_ROUNDS):
        if number >= LEAST_ROUNDS and time.perf_counter() - started > ROUNDS_SECONDS:
            break
        for place, tokens in enumerate(PASS_TOKENS):
            best[place] = min(best[place], _pass_seconds(model, cache, tokens, cached=CACHED_POSITIONS))
    return best


def _pass_seconds(model: LanguageModel, cache: KeyValueCache, tokens: int, *, cached: int) -> float:
    started = time.perf_counter()
    hidden = model.run(model.embed([0] * tokens), [Span(tokens, cached)], cache)
    model.logits(hidden).argmax(dim=-1).tolist()  # reading the answer waits for a GPU
    return time.perf_counter() - started
