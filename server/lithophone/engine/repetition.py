"""Does a transcript go round in circles?

Owns the signs of a model caught in a loop. Pure.
"""

from __future__ import annotations

from typing import Final

from lithophone.engine.transcript import compression_ratio

MOST_COMPRESSION: Final = 2.4  # Whisper's limit; people stay below 2
LEAST_CHARACTERS: Final = 80  # short texts compress badly, and a person may well say "no, no, no"
LONGEST_LOOP_WORDS: Final = 12
LEAST_REPEATS: Final = 4
LEAST_LOOPED_WORDS: Final = 12


def is_looping(text: str) -> bool:
    """Whether `text` compresses like no speech does, or ends in a phrase said over and over."""
    if len(text) >= LEAST_CHARACTERS and compression_ratio(text) > MOST_COMPRESSION:
        return True
    return _ends_in_loop(text.casefold().split())


def _ends_in_loop(words: list[str]) -> bool:
    """Whether the last words are one phrase, `LEAST_REPEATS` times or more and `LEAST_LOOPED_WORDS` words in all."""
    for size in range(1, LONGEST_LOOP_WORDS + 1):
        repeats = max(LEAST_REPEATS, -(-LEAST_LOOPED_WORDS // size))
        tail = words[-size * repeats :]
        if len(tail) == size * repeats and tail == tail[-size:] * repeats:
            return True
    return False
