"""The Granite Speech family: what each model is and can do.

Owns the frozen registry and how a checkpoint on disk is recognised as a member. Knows no torch, no files and no wire format.
Figures: the models' cards; parameter counts were taken from the configurations built on the meta device.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

import msgspec

from lithophone.errors import CheckpointError


class Architecture(Enum):
    """Which transformers class runs the model; the values are its `model_type`."""

    SPEECH = "granite_speech"
    SPEECH_PLUS = "granite_speech_plus"
    CTC = "granite_speech5_ctc"


class PromptStyle(Enum):
    """Which generation of instructions the model was trained on."""

    V3_3 = "3.3"
    V4_0 = "4.0"
    V4_1 = "4.1"
    PLUS = "plus"
    NONE = "none"  # CTC models take no text


LANGUAGE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "en": "English",
        "fr": "French",
        "de": "German",
        "es": "Spanish",
        "pt": "Portuguese",
        "ja": "Japanese",
        "it": "Italian",
        "zh": "Chinese",
    }
)


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One member of the family.

    `parameters` counts the LoRA adapter too. `max_window_seconds` is the longest stretch of audio the model hears at
    once; a window ends in a pause within the last `pause_search_share` of that, so that a model used to single sentences hears
    them one by one. `ctc_bias_seconds` is how late the CTC head fires behind the start of a word: measured on the demonstration
    models; for the others what a trial on another small model of the family saw. `translations` are pairs of
    ISO-639-1 codes (source, target). `license` is an SPDX identifier. `embedded` is the folder of a demonstration model inside
    the package, and `stands_for` the published model it is shaped like; `least_logprob` is the mean natural-log probability of
    the tokens below which it did not understand a recording (`python -m tests.figures.understanding`).
    """

    id: str
    hub_id: str | None
    architecture: Architecture
    prompt_style: PromptStyle
    parameters: int
    speech_languages: tuple[str, ...]
    max_window_seconds: float = 30.0
    pause_search_share: float = 0.75
    ctc_bias_seconds: float = 0.05
    created: int = 0
    owned_by: str = "ibm-granite"
    license: str = "Apache-2.0"
    lora: bool = False
    punctuates: bool = False
    keywords: bool = False
    speakers: bool = False
    word_times: bool = False
    translations: frozenset[tuple[str, str]] = frozenset()
    embedded: str | None = None
    stands_for: str | None = None
    least_logprob: float | None = None

    @property
    def demonstration(self) -> bool:
        """Whether it comes with the package, to try the server with."""
        return self.embedded is not None

    @property
    def translation_targets(self) -> tuple[str, ...]:
        """Languages this model can translate into, sorted."""
        return tuple(sorted({target for _, target in self.translations}))


_FIVE = ("en", "fr", "de", "es", "pt")
_SIX = (*_FIVE, "ja")


def _to_and_from_english(sources: tuple[str, ...], targets: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    into_english = {(source, "en") for source in sources if source != "en"}
    from_english = {("en", target) for target in targets if target != "en"}
    return frozenset(into_english | from_english)


_TRANSLATIONS_3_3 = _to_and_from_english(_FIVE, (*_FIVE, "ja", "zh"))
_TRANSLATIONS_4 = _to_and_from_english(_SIX, (*_SIX, "it", "zh"))

DEMONSTRATION_ID = "granite-speech-tiny"

_SPECS = (
    ModelSpec(
        id="granite-speech-3.3-2b",
        hub_id="ibm-granite/granite-speech-3.3-2b",
        architecture=Architecture.SPEECH,
        prompt_style=PromptStyle.V3_3,
        parameters=3_009_000_000,
        speech_languages=_FIVE,
        created=1_744_848_000,
        lora=True,
        translations=_TRANSLATIONS_3_3,
    ),
    ModelSpec(
        id="granite-speech-3.3-8b",
        hub_id="ibm-granite/granite-speech-3.3-8b",
        architecture=Architecture.SPEECH,
        prompt_style=PromptStyle.V3_3,
        parameters=8_649_000_000,
        speech_languages=_FIVE,
        created=1_744_848_000,
        lora=True,
        translations=_TRANSLATIONS_3_3,
    ),
    ModelSpec(
        id="granite-4.0-1b-speech",
        hub_id="ibm-granite/granite-4.0-1b-speech",
        architecture=Architecture.SPEECH,
        prompt_style=PromptStyle.V4_0,
        parameters=2_313_000_000,
        speech_languages=_SIX,
        created=1_772_000_000,
        keywords=True,
        translations=_TRANSLATIONS_4,
    ),
    ModelSpec(
        id="granite-speech-4.1-2b",
        hub_id="ibm-granite/granite-speech-4.1-2b",
        architecture=Architecture.SPEECH,
        prompt_style=PromptStyle.V4_1,
        parameters=2_313_000_000,
        speech_languages=_SIX,
        created=1_777_000_000,
        punctuates=True,
        keywords=True,
        translations=_TRANSLATIONS_4,
    ),
    ModelSpec(
        id="granite-speech-4.1-2b-plus",
        hub_id="ibm-granite/granite-speech-4.1-2b-plus",
        architecture=Architecture.SPEECH_PLUS,
        prompt_style=PromptStyle.PLUS,
        parameters=2_112_000_000,
        speech_languages=_FIVE,
        created=1_777_000_000,
        keywords=True,
        speakers=True,
        word_times=True,
    ),
    ModelSpec(
        id="granite-speech-5.0-470m-turboctc",
        hub_id="ibm-granite/granite-speech-5.0-470m-turboctc",
        architecture=Architecture.CTC,
        prompt_style=PromptStyle.NONE,
        parameters=473_000_000,
        speech_languages=("en",),
        created=1_790_000_000,
    ),
    ModelSpec(
        id="granite-speech-5.0-470m-turboctc-nc",
        hub_id="ibm-granite/granite-speech-5.0-470m-turboctc-nc",
        architecture=Architecture.CTC,
        prompt_style=PromptStyle.NONE,
        parameters=473_000_000,  # as its sibling: nobody has published a count
        speech_languages=("en",),
        created=1_790_000_000,
        license="CC-BY-NC-SA-4.0",
    ),
    ModelSpec(
        id=DEMONSTRATION_ID,
        hub_id=None,
        architecture=Architecture.SPEECH,
        prompt_style=PromptStyle.V3_3,
        parameters=5_570_000,
        speech_languages=("en",),
        created=1_795_000_000,
        owned_by="lithophone",
        embedded="tiny",
        stands_for="granite-speech-3.3-2b",
        least_logprob=-0.33,
        ctc_bias_seconds=0.03,
        max_window_seconds=8.0,
        pause_search_share=0.9,
    ),
    ModelSpec(
        id="granite-speech-tiny-ctc",
        hub_id=None,
        architecture=Architecture.CTC,
        prompt_style=PromptStyle.NONE,
        parameters=2_790_000,
        speech_languages=("en",),
        created=1_795_000_000,
        owned_by="lithophone",
        embedded="tiny-ctc",
        stands_for="granite-speech-5.0-470m-turboctc",
        least_logprob=-0.45,
        ctc_bias_seconds=0.055,
        max_window_seconds=8.0,
        pause_search_share=0.9,
    ),
)

FAMILY: Mapping[str, ModelSpec] = MappingProxyType({spec.id: spec for spec in _SPECS})


class CheckpointTraits(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint holds that tells the members apart; None where it is not known.

    Attributes:
        model_type: As `config.json` has it.
        labels: Of the grapheme CTC head.
        vocabulary: Tokens of the language model, or labels of a CTC model.
        width: Hidden size of the language model, or of the encoder where there is none.
        control_tokens: Whether the chat template writes turns between control tokens.
        has_lora_adapter: Whether there is an adapter, or should be.
        saved_with: Version of transformers that wrote the configuration, major and minor.
        bpe_head: Whether a second CTC head lies beside the weights.
    """

    model_type: str
    labels: int | None = None
    vocabulary: int | None = None
    width: int | None = None
    control_tokens: bool | None = None
    has_lora_adapter: bool | None = None
    saved_with: tuple[int, int] | None = None
    bpe_head: bool | None = None


_V3 = {"labels": 256, "vocabulary": 49_160, "control_tokens": True, "has_lora_adapter": True}
_V4 = {
    "labels": 348,
    "vocabulary": 100_353,
    "width": 2048,
    "control_tokens": False,
    "has_lora_adapter": False,
}

_TRAITS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "granite-speech-4.1-2b": {**_V4, "bpe_head": True, "saved_with": (4, 57)},
        "granite-4.0-1b-speech": {**_V4, "saved_with": (4, 54)},
        "granite-speech-4.1-2b-plus": {},
        "granite-speech-3.3-2b": {**_V3, "width": 2048},
        "granite-speech-3.3-8b": {**_V3, "width": 4096},
        "granite-speech-5.0-470m-turboctc": {"vocabulary": 16_384, "width": 1024},
        "granite-speech-5.0-470m-turboctc-nc": {"vocabulary": 16_384, "width": 1024},
        DEMONSTRATION_ID: {
            "labels": 256, "vocabulary": 1024, "width": 192, "control_tokens": False, "has_lora_adapter": False,
        },
        "granite-speech-tiny-ctc": {"vocabulary": 512, "width": 128},
    }
)  # fmt: skip
"""What each member holds, the likelier one first where nothing tells two apart.

4.0 and 4.1 are the same but for their weights, the version in their configuration and the BPE head that 4.1 has; sources:
the intake notes of transcribe.cpp at revisions bd87ab86 and 8f4bb5f3. Nothing but its name tells `-nc` from its sibling.
"""

_TOLD_BY: Final = (
    "labels", "vocabulary", "control_tokens", "has_lora_adapter", "width", "bpe_head", "saved_with",
)  # fmt: skip
"""Traits from the one that says most to the one that says least."""


def find_spec(name: str) -> ModelSpec | None:
    """The member called `name`: its id or its hub id, whatever the case."""
    wanted = name.lower().removesuffix("/")
    return next((spec for spec in _SPECS if wanted in {spec.id, (spec.hub_id or "").lower()}), None)


def demonstration_note(spec: ModelSpec) -> str | None:
    """What a user of a demonstration model must know; None for a published model."""
    if spec.stands_for is None:
        return None
    gigabytes = 2 * FAMILY[spec.stands_for].parameters / 1e9  # published in 16 bits
    return (
        f"{spec.id} is a demonstration model: it knows about 650 English words. "
        f"For real use start the server with --model {spec.stands_for} (about {gigabytes:.1f} GB to download)."
    )


def identify(name: str, traits: CheckpointTraits) -> ModelSpec:
    """The member a checkpoint is, by what it holds; the last part of its name counts where that leaves several.

    Raises:
        CheckpointError: no member of the family has this `model_type`.
    """
    members = [FAMILY[id_] for id_ in _TRAITS if FAMILY[id_].architecture.value == traits.model_type]
    if not members:
        known = ", ".join(sorted({spec.architecture.value for spec in _SPECS}))
        raise CheckpointError(
            f"model_type {traits.model_type!r} is not a Granite Speech model this server runs (it runs: {known})"
        )
    leaf = name.rstrip("/").rsplit("/", 1)[-1].lower()
    return max(members, key=lambda spec: (_agreeing(spec, traits), len(spec.id) if spec.id in leaf else 0))


def _agreeing(spec: ModelSpec, traits: CheckpointTraits) -> tuple[bool, ...]:
    known = _TRAITS[spec.id]
    return tuple(trait in known and known[trait] == getattr(traits, trait) for trait in _TOLD_BY)
