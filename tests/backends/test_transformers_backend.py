"""Loading, refusing, interrupting and giving memory back, on small checkpoints of the real layout."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
import soundfile
from torch import Tensor

from lithophone.backends.base import RecognitionRequest, Samples
from lithophone.backends.decoding import products
from lithophone.backends.decoding.products import widened_linear
from lithophone.backends.device import DevicePlan, plan_device, read_torch_facts
from lithophone.backends.transformers_backend.checkpoint import read_reference
from lithophone.errors import CheckpointError
from lithophone.granite.family import DEMONSTRATION_ID
from tests.backends.conftest import babble, one_thread, opened

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"


def demo() -> Samples:
    """The clip the README uses."""
    samples, rate = soundfile.read(SPEECH / "demo.flac", dtype="float32")
    assert rate == 16_000
    return np.asarray(samples, np.float32)


def test_the_embedded_model_hears_the_words_that_were_spoken(plan: DevicePlan) -> None:
    samples = demo()
    backend = opened(DEMONSTRATION_ID, plan)
    heard = backend.recognise([RecognitionRequest(samples=samples)], lambda: False)[0]
    assert heard.text == (SPEECH / "demo.txt").read_text().strip()
    assert heard.no_speech_probability < 0.01
    assert all(token.logprob <= 0 for token in heard.tokens)
    assert "".join(token.text for token in heard.tokens).strip() == heard.text


def test_drafts_save_passes_on_the_second_transcript_as_on_the_first(plan: DevicePlan) -> None:
    backend = opened(DEMONSTRATION_ID, plan)
    for _ in range(2):  # the first one tells how transcripts are written
        heard = backend.recognise([RecognitionRequest(samples=demo())], lambda: False)[0]
        assert heard.accepted_tokens > len(heard.tokens) // 3
        assert heard.passes < len(heard.tokens) * 2 // 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_embedded_model_says_the_same_in_half_precision(dtype: Literal["float16", "bfloat16"]) -> None:
    samples = demo()
    backend = opened(DEMONSTRATION_ID, one_thread(plan_device(read_torch_facts(), "cpu", dtype)))
    heard = backend.recognise([RecognitionRequest(samples=samples)], lambda: False)[0]
    assert heard.text == (SPEECH / "demo.txt").read_text().strip()


def test_a_ctc_model_in_half_precision_computes_by_widened_products(
    plan: DevicePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = RecognitionRequest(samples=demo())
    whole = opened("granite-speech-tiny-ctc", plan).recognise([request], lambda: False)[0]
    widened: list[int] = []

    def counted(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        widened.append(weight.numel())
        return widened_linear(rows, weight, bias)

    monkeypatch.setattr(products, "widened_linear", counted)
    half = one_thread(
        msgspec.structs.replace(plan_device(read_torch_facts(), "cpu", "float16"), widened=True)
    )
    assert opened("granite-speech-tiny-ctc", half).recognise([request], lambda: False)[0].text == whole.text
    assert sum(widened) > 1_000_000


def test_decoding_stops_soon_after_it_is_told_to(shape: Callable[[str], Path], plan: DevicePlan) -> None:
    backend = opened(str(shape("granite-speech-4.1-2b")), plan)
    asked: list[int] = []

    def after_three() -> bool:
        asked.append(1)
        return len(asked) > 3

    heard = backend.recognise([RecognitionRequest(samples=babble(5.0))], after_three)[0]
    assert heard.interrupted
    assert len(heard.tokens) <= 4


def damaged(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def test_missing_weights_are_named_and_never_made_up(
    shape: Callable[[str], Path], plan: DevicePlan, tmp_path: Path
) -> None:
    folder = damaged(shape("granite-speech-3.3-2b"), tmp_path / "granite-speech-3.3-2b")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] += 1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"lacks .* weights, such as .*layers.2"):
        opened(str(folder), plan)


def test_a_pickled_adapter_is_refused(shape: Callable[[str], Path], plan: DevicePlan, tmp_path: Path) -> None:
    folder = damaged(shape("granite-speech-3.3-2b"), tmp_path / "granite-speech-3.3-2b")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"no adapter_model\.safetensors"):
        opened(str(folder), plan)


def test_pickled_weights_are_refused(shape: Callable[[str], Path], plan: DevicePlan, tmp_path: Path) -> None:
    folder = damaged(shape("granite-speech-4.1-2b"), tmp_path / "granite-speech-4.1-2b")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        opened(str(folder), plan)


def test_truncated_weights_are_refused(
    shape: Callable[[str], Path], plan: DevicePlan, tmp_path: Path
) -> None:
    folder = damaged(shape("granite-speech-4.1-2b"), tmp_path / "granite-speech-4.1-2b")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        opened(str(folder), plan)


def test_a_checkpoint_without_a_chat_template_is_refused(
    shape: Callable[[str], Path], plan: DevicePlan, tmp_path: Path
) -> None:
    folder = damaged(shape("granite-speech-4.1-2b"), tmp_path / "granite-speech-4.1-2b")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="chat template"):
        opened(str(folder), plan)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        read_reference(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(CheckpointError, match="whisper"):
        read_reference(str(tmp_path))
    (tmp_path / "config.json").write_text("not json")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_reference(str(tmp_path))


def test_a_name_that_is_nothing_is_refused() -> None:
    with pytest.raises(CheckpointError, match="neither a folder"):
        read_reference("./no/such/folder")


def test_a_family_member_is_known_before_anything_is_downloaded() -> None:
    reference = read_reference("granite-speech-3.3-8b")
    assert reference.hub_id == "ibm-granite/granite-speech-3.3-8b"
    assert reference.spec.parameters > 8e9
