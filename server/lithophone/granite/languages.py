"""How people name the languages of the family: by code, tag, locale or name.

Owns what a hint at a language means. Pure. Codes: ISO 639-1, 639-2 and 639-3; tags: RFC 5646; the names are English and the
language's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "en": ("eng", "english"),
        "fr": ("fra", "fre", "french", "français", "francais"),
        "de": ("deu", "ger", "german", "deutsch"),
        "es": ("spa", "spanish", "castilian", "español", "espanol"),
        "pt": ("por", "portuguese", "português", "portugues"),
        "ja": ("jpn", "japanese", "日本語"),
        "it": ("ita", "italian", "italiano"),
        "zh": ("zho", "chi", "cmn", "chinese", "mandarin", "中文"),
    }
)

_CODES: Final = {name: code for code, names in _NAMES.items() for name in (code, *names)}

_NO_HINT: Final = frozenset(
    {"auto", "automatic", "autodetect", "detect", "null", "undefined", "none", "und", "unknown"}
)
"""What programs send for a language that nobody chose."""

_LONGEST_TAG: Final = 3  # letters of a language's subtag; a longer word is a name


def language_code(hint: str) -> str:
    """The ISO-639-1 code that `hint` means: `en` for `en-US`, `en_us.UTF-8`, `eng`, `English (US)`.

    Empty where it names none (`auto`, `null`); the first word as it stands where it names one that no model of the family
    hears or writes.
    """
    words = re.findall(r"[^\W_]+", hint.casefold())
    if not words or words[0] in _NO_HINT:
        return ""
    named = words if len(words[0]) > _LONGEST_TAG else words[:1]  # `ca-ES` is Catalan, not Spanish
    return next((_CODES[word] for word in named if word in _CODES), words[0])
