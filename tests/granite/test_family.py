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


@pytest.mark.parametrize("spec", PUBLISHED, ids=lambda spec: spec.id)
def test_a_folder_named_like_the_model_is_that_model(spec: ModelSpec) -> None:
    traits = CheckpointTraits(model_type=spec.architecture.value, has_lora_adapter=spec.lora)
    assert identify(f"some/where/{spec.id}", traits) is spec


@pytest.mark.parametrize(
    ("traits", "expected"),
    [
        (
            CheckpointTraits(model_type="granite_speech", has_lora_adapter=True, text_hidden_size=2048),
            "3.3-2b",
        ),
        (
            CheckpointTraits(model_type="granite_speech", has_lora_adapter=True, text_hidden_size=4096),
            "3.3-8b",
        ),
        (CheckpointTraits(model_type="granite_speech", text_hidden_size=2048), "4.1-2b"),
        (CheckpointTraits(model_type="granite_speech_plus"), "4.1-2b-plus"),
        (CheckpointTraits(model_type="granite_speech5_ctc"), "5.0-470m-turboctc"),
    ],
)
def test_a_folder_of_any_name_is_told_by_its_shape(traits: CheckpointTraits, expected: str) -> None:
    assert identify("finetune-7", traits).id == f"granite-speech-{expected}"


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
