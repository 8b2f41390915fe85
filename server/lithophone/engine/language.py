"""Which language a transcript is in, told from its words.

Owns the choice of detector: py3langid's model, limited to the languages the loaded model can write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from py3langid.langid import (  # pyright: ignore[reportMissingTypeStubs]
    MODEL_FILE,
    LanguageIdentifier,
)

_Identifier: Any = LanguageIdentifier  # comes without types


def detect_language(text: str, candidates: Sequence[str]) -> str | None:
    """The ISO-639-1 code among `candidates` that fits `text` best; `None` when there is nothing to tell by."""
    if len(candidates) == 1:
        return candidates[0]
    if not text.strip():
        return None
    code, _ = _identifier(tuple(sorted(candidates))).classify(text)
    return str(code)


async def tell_language(text: str, candidates: Sequence[str]) -> str | None:
    """See `detect_language`; off the event loop where it takes a moment, which is where there is a choice."""
    if len(candidates) == 1:
        return detect_language(text, candidates)
    return await asyncio.to_thread(detect_language, text, candidates)


def prepare_detection(candidates: Sequence[str]) -> None:
    """Load what telling them apart takes, which is about a second that the first transcript would wait for."""
    if len(candidates) > 1:
        _identifier(tuple(sorted(candidates)))


@lru_cache(maxsize=16)
def _identifier(candidates: tuple[str, ...]) -> Any:
    identifier = _Identifier.from_model_file(MODEL_FILE)
    identifier.set_languages(list(candidates))
    return identifier
