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


def detect_language(text: str, languages: Sequence[str], candidates: Sequence[str] = ()) -> str | None:
    """The ISO-639-1 code among `languages` that fits `text` best; `None` when there is nothing to tell by.

    Of `candidates`, where there are any, the one that fits best; each is one of the languages.
    """
    if len(candidates or languages) == 1:
        return (candidates or languages)[0]
    if not text.strip():
        return None
    ranked = _identifier(tuple(sorted(languages))).rank(text)
    return next(str(code) for code, _ in ranked if not candidates or code in candidates)


async def tell_language(text: str, languages: Sequence[str], candidates: Sequence[str] = ()) -> str | None:
    """See `detect_language`; off the event loop where it takes a moment, which is where there is a choice."""
    if len(languages) == 1:
        return detect_language(text, languages, candidates)
    return await asyncio.to_thread(detect_language, text, languages, candidates)


def prepare_detection(languages: Sequence[str]) -> None:
    """Load what telling them apart takes, which is about a second that the first transcript would wait for."""
    if len(languages) > 1:
        _identifier(tuple(sorted(languages)))


@lru_cache(maxsize=16)
def _identifier(languages: tuple[str, ...]) -> Any:
    identifier = _Identifier.from_model_file(MODEL_FILE)
    identifier.set_languages(list(languages))
    return identifier
