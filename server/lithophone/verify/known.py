"""Recordings of which it is known what IBM's own weights make of them.

Owns the texts, how near a transcript has to come, and which recording a repository carries beside its weights. Sources:
3.3: the model's card; 4.0: IBM's notebook on speculative decoding; jfk: whisper.cpp's sample, by several ports of these
models; 1272-128104: the integration tests of transformers; the translation: a test of IBM's own library. Numbers of the seed: what was expected of a laptop with an AMD
Ryzen AI Max before anything was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from lithophone.granite.family import ModelSpec

EXACT_ENOUGH: Final = 0.05
"""Word error rate that a text the very model gave may have: another cut or rounding may change a word."""

NEAR_ENOUGH: Final = 0.25
"""The same for a text that another model of the family gave, or where a recording in two languages is cut in a pause."""

USERS_OWN: Final = 0.35
"""The same for a text of the user's own: what the model makes of that voice is not known."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What is said in a recording, and the word error rate that passes."""

    text: str
    most_errors: float


TIMOTHY: Final = (
    "after his nap timothy lazily stretched first one gray velvet foot then another strolled indolently to his plate "
    "turning over the food carefully selecting choice bits nosing out that which he scorned upon the clean hearth"
)
MULTILINGUAL: Final = (
    "for timothy was a spoiled cat and he allowed no one to interfere everybody waited upon him moving their chairs even "
    "for he was monarch of the hearth dinarzade la nuit suivante appela sa soeur quand il en fut temps si vous ne dormez "
    "pas ma soeur lui dit-elle je vous prie en attendant le jour qui paraîtra bientôt de continuer le conte du pêcheur"
)
JFK: Final = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)

SAMPLE_3_3: Final = "10226_10111_000000.wav"
SAMPLE_4: Final = "multilingual_sample.wav"

_SAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "granite-speech-3.3-2b": SAMPLE_3_3,
        "granite-speech-3.3-8b": SAMPLE_3_3,
        "granite-4.0-1b-speech": SAMPLE_4,
        "granite-speech-4.1-2b": SAMPLE_4,
        "granite-speech-4.1-2b-plus": SAMPLE_4,
    }
)

_TEXTS: Mapping[str, Expected] = MappingProxyType(
    {
        "10226_10111_000000": Expected(text=TIMOTHY, most_errors=EXACT_ENOUGH),
        "multilingual_sample": Expected(text=MULTILINGUAL, most_errors=NEAR_ENOUGH),
        "jfk": Expected(text=JFK, most_errors=EXACT_ENOUGH),
        "1272-128104-0000": Expected(
            text="mister quilter is the apostle of the middle classes and we are glad to welcome his gospel",
            most_errors=0.08,
        ),
        "1272-128104-0001": Expected(
            text="nor is mister quilter's manner less interesting than his matter", most_errors=0.3
        ),
    }
)


def sample_of(spec: ModelSpec) -> str | None:
    """The recording beside a model's weights; None where there is none."""
    return _SAMPLES.get(spec.id)


def expected_of(stem: str) -> Expected | None:
    """What is known of a recording by its name without suffix."""
    return _TEXTS.get(stem)


class KnownTranslation(msgspec.Struct, frozen=True, kw_only=True):
    """What a model makes of a recording in another language, from a moment on, and how much alike passes (of letters)."""

    stem: str
    start_seconds: float
    language: str
    text: str
    least_alike: float


_TRANSLATIONS: Mapping[str, KnownTranslation] = MappingProxyType(
    {
        "granite-speech-4.1-2b": KnownTranslation(
            stem="multilingual_sample",
            start_seconds=12.0,
            language="en",
            text=(
                'Dinarzade, the following night, called her sister when it was time. "If you do not sleep, my sister," she '
                'said, "I will pray you to continue the story of the fisherman."'
            ),
            least_alike=0.75,
        )
    }
)


def translation_of(spec: ModelSpec) -> KnownTranslation | None:
    """What is known of a model's translations."""
    return _TRANSLATIONS.get(spec.id)


class SeedFigures(msgspec.Struct, frozen=True):
    """What was expected: time by length of audio, and memory in GB."""

    device: str
    size: str
    realtime_factor: str
    memory_gb: int


SEED: Final = (
    SeedFigures("rocm", "2B", "0.2-0.4", 5),
    SeedFigures("cpu", "2B", "0.8-1.2", 8),
    SeedFigures("rocm", "8B", "0.4-0.8", 18),
    SeedFigures("cpu", "8B", "2.0-3.0", 32),
)


def seed_of(spec: ModelSpec, device: str) -> SeedFigures | None:
    """The figures of a model of this size on this device; CUDA was not spoken of."""
    if spec.parameters < 1e9:
        return None
    size = "8B" if spec.parameters > 5e9 else "2B"
    return next((one for one in SEED if one.size == size and one.device == device), None)
