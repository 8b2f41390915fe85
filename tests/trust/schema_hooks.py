"""What the description cannot say of a request that is right: schemathesis's own environment loads this.

Owns the way from data that fits the schema to a request that must be answered: the file is a recording, the language one
that there is. A quarter of the forms go to a model that is served; the others to the models that were made up.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

import hypothesis
import schemathesis  # pyright: ignore[reportMissingImports] - of its own environment

hypothesis.target = lambda *_, **__: (
    0.0
)  # what it does to find more accepted cases ends in an IndexError of its shrinker

RECORDING: Final = (b".snd" + struct.pack(">5I", 24, 4_096, 1, 8_000, 1) + bytes(range(16, 80)) * 64).decode()
"""Half a second of mu-law in an AU file, all of it ASCII: what is no text, schemathesis takes for a request that is wrong."""

LANGUAGES: Final = ("en", "de-DE", "French", "auto")
VERBS: Final = ("whisper-1/load", "whisper-1/unload", "no-such-model/load")
STREAMED: Final = ("json", "text")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Schemathesis calls it with each case before it is sent."""
    del context, kwargs
    if not _is_right(case):
        return
    if "/audio/" in case.operation.path and isinstance(case.body, dict):
        case.body = _answerable(case.body)
    elif case.operation.label.startswith("POST /v1/models/"):
        case.path_parameters["model_id"] = VERBS[_choice(case.path_parameters, 3)]


def _is_right(case: Any) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def _choice(form: dict[str, Any], count: int) -> int:
    """One of so many, the same for the same form."""
    return zlib.crc32(repr(sorted(form.items(), key=repr)).encode(errors="replace")) % count


def _answerable(form: dict[str, Any]) -> dict[str, Any]:
    right = {**form, "file": RECORDING}
    if _choice(form, 4) == 0:
        right["model"] = "whisper-1"
    for unsupported in ("audio_track", "known_speaker_names[]", "known_speaker_references[]"):
        right.pop(unsupported, None)
    for name in ("language", "to_language"):
        if name in right:
            right[name] = LANGUAGES[_choice(form, 3 if name == "to_language" else 4)]
    if "languages[]" in right:
        right["languages[]"] = ["en", "fr"]
    if "keywords[]" in right:
        right["keywords[]"] = ["Pompeii", "Vesuvius"]
    if right.get("response_format") == "diarized_json":
        right.pop("response_format")
    if right.get("stream") is True:
        right["response_format"] = STREAMED[_choice(form, 2)]
    if right.get("include[]"):
        right["response_format"] = "json"
    return right
