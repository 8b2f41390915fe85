"""Loading, refusing, interrupting and giving memory back, on small checkpoints of the real layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
import soundfile
from torch import Tensor

from lithophone.backends.base import RecognitionRequest, Samples
from lithophone.backends.cpu import products
from lithophone.backends.cpu.products import widened_linear
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.transformers_backend.checkpoint import read_reference
from lithophone.errors import CheckpointError
from lithophone.granite.family import DEMONSTRATION_ID
from tests.backends.conftest import babble, cpu_plan, heard_by, opened

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"


def demo() -> Samples:
    """The clip the README uses."""
    samples, rate = soundfile.read(SPEECH / "demo.flac", dtype="float32")
    assert rate == 16_000
    return np.asarray(samples, np.float32)


def test_the_embedded_model_hears_the_words_that_were_spoken(plan: DevicePlan) -> None:
    samples = demo()
    backend = opened(DEMONSTRATION_ID, plan)
    heard = heard_by(backend, samples)
    assert heard.text == (SPEECH / "demo.txt").read_text().strip()
    assert heard.no_speech_probability < 0.01
    assert all(token.logprob <= 0 for token in heard.tokens)
    assert "".join(token.text for token in heard.tokens).strip() == heard.text


def test_drafts_save_passes_on_the_second_transcript_as_on_the_first(plan: DevicePlan) -> None:
    backend = opened(DEMONSTRATION_ID, plan)
    for _ in range(2):  # the first one tells how transcripts are written
        heard = heard_by(backend, demo())
        assert heard.accepted_tokens > len(heard.tokens) // 3
        assert heard.passes < len(heard.tokens) * 2 // 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_embedded_model_says_the_same_in_half_precision(
    dtype: Literal["float16", "bfloat16"], facts: TorchFacts
) -> None:
    samples = demo()
    backend = opened(DEMONSTRATION_ID, cpu_plan(facts, dtype))
    heard = heard_by(backend, samples)
    assert heard.text == (SPEECH / "demo.txt").read_text().strip()


def test_a_ctc_model_in_half_precision_computes_by_widened_products(
    plan: DevicePlan, facts: TorchFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = heard_by(opened("granite-speech-tiny-ctc", plan), demo())
    widened: list[int] = []

    def counted(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        widened.append(weight.numel())
        return widened_linear(rows, weight, bias)

    monkeypatch.setattr(products, "widened_linear", counted)
    half = msgspec.structs.replace(cpu_plan(facts, "float16"), widened=True)
    assert heard_by(opened("granite-speech-tiny-ctc", half), demo()).text == whole.text
    assert sum(widened) > 1_000_000


def test_a_step_ends_when_nobody_wants_what_was_heard(shape: Callable[[str], Path], plan: DevicePlan) -> None:
    backend = opened(str(shape("granite-speech-4.1-2b")), plan)
    batch = backend.start_batch(lambda: True)
    batch.admit(1, RecognitionRequest(samples=babble(5.0)))
    assert batch.step() == []
    batch.drop(1)
    assert len(batch) == 0


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
