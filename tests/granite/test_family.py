from typing import Any

import pytest

from lithophone.errors import CheckpointError
from lithophone.granite.family import (
    DEMONSTRATION_ID,
    FAMILY,
    LANGUAGE_NAMES,
    Architecture,
    CheckpointTraits,
    ModelSpec,
    demonstration_note,
    find_spec,
    identify,
)

PUBLISHED = [spec for spec in FAMILY.values() if not spec.demonstration]
EMBEDDED = [spec for spec in FAMILY.values() if spec.demonstration]


def test_the_registry_cannot_be_changed() -> None:
    spec = FAMILY["granite-speech-3.3-2b"]
    with pytest.raises(AttributeError):
        spec.lora = False  # type: ignore[misc]
    with pytest.raises(TypeError):
        FAMILY["other"] = spec  # type: ignore[index]


@pytest.mark.parametrize("spec", FAMILY.values(), ids=lambda spec: spec.id)
def test_every_language_has_a_name(spec: ModelSpec) -> None:
    targets = {target for _, target in spec.translations}
    assert {*spec.speech_languages, *targets} <= set(LANGUAGE_NAMES)


@pytest.mark.parametrize("spec", PUBLISHED, ids=lambda spec: spec.id)
def test_models_are_found_by_id_and_hub_id(spec: ModelSpec) -> None:
    assert find_spec(spec.id) is spec
    assert find_spec((spec.hub_id or "").upper()) is spec


def test_unknown_names_are_not_found() -> None:
    assert find_spec("whisper-large") is None


V3 = {"model_type": "granite_speech", "labels": 256, "vocabulary": 49160, "control_tokens": True}
V4 = {
    "model_type": "granite_speech",
    "labels": 348,
    "vocabulary": 100353,
    "control_tokens": False,
    "width": 2048,
}
CTC = {"model_type": "granite_speech5_ctc"}
HELD = [
    ({**V3, "width": 2048, "has_lora_adapter": True}, "granite-speech-3.3-2b"),
    ({**V3, "width": 2048, "has_lora_adapter": False}, "granite-speech-3.3-2b"),
    ({**V3, "width": 4096, "has_lora_adapter": True}, "granite-speech-3.3-8b"),
    ({**V4, "saved_with": (4, 54)}, "granite-4.0-1b-speech"),
    ({**V4, "saved_with": (4, 57)}, "granite-speech-4.1-2b"),
    ({**V4, "saved_with": (5, 23), "bpe_head": True}, "granite-speech-4.1-2b"),
    ({**V4, "has_lora_adapter": True, "saved_with": (4, 54)}, "granite-4.0-1b-speech"),
    ({"model_type": "granite_speech_plus"}, "granite-speech-4.1-2b-plus"),
    ({**CTC, "vocabulary": 512, "width": 128}, "granite-speech-tiny-ctc"),
    (
        {**V3, "vocabulary": 1024, "width": 192, "control_tokens": False, "has_lora_adapter": False},
        "granite-speech-tiny",
    ),
]
"""What a folder holds, and the member it is, whatever it is called."""


@pytest.mark.parametrize("name", ["finetune-7", *FAMILY])
@pytest.mark.parametrize(("held", "expected"), HELD)
def test_a_folder_is_what_it_holds_whatever_it_is_called(
    held: dict[str, Any], expected: str, name: str
) -> None:
    assert identify(f"some/where/{name}", CheckpointTraits(**held)).id == expected


@pytest.mark.parametrize(
    ("held", "named", "unnamed"),
    [
        (V4, "granite-4.0-1b-speech", "granite-speech-4.1-2b"),
        ({**V3, "width": 64}, "granite-speech-3.3-8b", "granite-speech-3.3-2b"),
        (
            {**CTC, "vocabulary": 16384, "width": 1024},
            "granite-speech-5.0-470m-turboctc-nc",
            "granite-speech-5.0-470m-turboctc",
        ),
    ],
)
def test_a_name_counts_where_nothing_else_tells(held: dict[str, Any], named: str, unnamed: str) -> None:
    traits = CheckpointTraits(**held)
    assert identify(f"some/where/My-{named}", traits).id == named.lower()
    assert identify("finetune-7", traits).id == unnamed


def test_a_name_does_not_override_the_architecture() -> None:
    assert identify(
        "granite-speech-3.3-2b", CheckpointTraits(model_type="granite_speech5_ctc")
    ).architecture is (Architecture.CTC)


def test_another_kind_of_model_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match="whisper"):
        identify("whisper-1", CheckpointTraits(model_type="whisper"))


@pytest.mark.parametrize("spec", EMBEDDED, ids=lambda spec: spec.id)
def test_an_embedded_model_says_what_it_is_and_what_to_use_instead(spec: ModelSpec) -> None:
    note = demonstration_note(spec)
    assert note is not None
    assert note.startswith(f"{spec.id} is a demonstration model")
    assert f"--model {spec.stands_for} " in note
    assert FAMILY[str(spec.stands_for)].architecture is spec.architecture
    assert spec.hub_id is None


def test_only_embedded_models_carry_a_note() -> None:
    assert DEMONSTRATION_ID in {spec.id for spec in EMBEDDED}
    assert [demonstration_note(spec) for spec in PUBLISHED] == [None] * len(PUBLISHED)
