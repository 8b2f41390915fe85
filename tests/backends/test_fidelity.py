"""Our text and tokens against transformers' own classes on the same weights, in float32."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from transformers import (
    AutoTokenizer,
    GraniteSpeech5ForCTC,
    GraniteSpeech5Processor,
)

from lithophone.backends.base import RecognitionRequest
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.transformers_backend.checkpoint import embedded_checkpoint
from lithophone.backends.transformers_backend.extractors import DeltaLogMelExtractor
from lithophone.granite.family import FAMILY
from tests.backends.conftest import babble, heard_by, opened, transcribed
from tests.backends.reference import CLASSES, Reference

SECONDS = (0.4, 2.0, 7.3)
DEMO = Path(__file__).parents[2] / "examples" / "speech" / "demo.flac"


def spoken(seconds: float) -> NDArray[np.float32]:
    """The beginning of the demo: what is trained hears nothing in babble."""
    samples, rate = soundfile.read(DEMO, dtype="float32")
    return np.asarray(samples[: round(seconds * rate)], np.float32)


@pytest.mark.parametrize("name", CLASSES)
def test_tokens_equal_those_of_generate(name: str, shape: Callable[[str], Path], plan: DevicePlan) -> None:
    folder = embedded_checkpoint() if name == "granite-speech-tiny" else shape(name)
    theirs = Reference(folder, name)
    ours = opened("granite-speech-tiny" if name == "granite-speech-tiny" else str(folder), plan)
    lengths: set[int] = set()
    for seconds in SECONDS:
        samples = babble(seconds, seed=round(seconds * 10))
        heard = heard_by(ours, samples)
        expected = theirs.tokens(samples, most=len(heard.tokens) + 1)
        assert [token.id for token in heard.tokens] == expected[: len(heard.tokens)]
        assert heard.truncated or expected == [token.id for token in heard.tokens]
        said = expected[: len(heard.tokens)]
        assert heard.text == theirs.tokenizer.decode(said, skip_special_tokens=True).strip()
        lengths.add(len(expected))
    assert max(lengths) >= 3, "nothing was said: the comparison would be empty"
    ours.close()


@pytest.mark.parametrize("name", ["granite-speech-5.0-470m-turboctc", "granite-speech-tiny-ctc"])
def test_ctc_tokens_equal_those_of_generate(
    name: str, shape: Callable[[str], Path], plan: DevicePlan
) -> None:
    embedded = FAMILY[name].demonstration
    folder = embedded_checkpoint(FAMILY[name]) if embedded else shape(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = GraniteSpeech5Processor(DeltaLogMelExtractor(), tokenizer)
    theirs: Any = GraniteSpeech5ForCTC.from_pretrained(folder, dtype=torch.float32).eval()
    ours = opened(name if embedded else str(folder), plan)
    said: list[str] = []
    for seconds in SECONDS:
        samples = spoken(seconds) if embedded else babble(seconds)
        inputs = processor(audio=samples, sampling_rate=16_000)
        expected = processor.batch_decode(theirs.generate(**inputs), skip_special_tokens=True)[0].strip()
        heard = heard_by(ours, samples)
        assert heard.text == expected
        said.append(expected)
        assert tokenizer.decode([token.id for token in heard.tokens], group_tokens=False).strip() == expected
    assert any(said), "nothing was said: the comparison would be empty"
    ours.close()


def test_the_merged_adapter_changes_the_text_and_leaves_no_adapter(
    shape: Callable[[str], Path], plan: DevicePlan, tmp_path: Path
) -> None:
    folder = shape("granite-speech-3.3-2b")
    bare = tmp_path / "granite-speech-3.3-2b"
    bare.mkdir()
    for file in folder.iterdir():
        if not file.name.startswith("adapter"):
            (bare / file.name).write_bytes(file.read_bytes())
    written = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps({**written, "has_lora_adapter": False}))
    request = RecognitionRequest(samples=babble(3.0))
    adapted, plain = opened(str(folder), plan), opened(str(bare), plan)
    heard, unadapted = transcribed(adapted, request)[0], transcribed(plain, request)[0]
    assert heard.tokens != unadapted.tokens
    assert adapted.info.weight_bytes == plain.info.weight_bytes


def test_log_probabilities_are_those_of_the_scaled_logits(
    shape: Callable[[str], Path], plan: DevicePlan
) -> None:
    """The language model alone, run as `GraniteForCausalLM` would: its logits are divided by `logits_scaling`."""
    folder = shape("granite-speech-4.1-2b")
    ours = opened(str(folder), plan)
    samples = babble(2.0)
    heard = heard_by(ours, samples)
    theirs = Reference(folder, "granite-speech-4.1-2b")
    inputs = theirs.inputs(samples)
    said = torch.tensor([[token.id for token in heard.tokens]])
    ids = torch.cat([inputs["input_ids"], said], dim=1)
    with torch.no_grad():
        logits = theirs.model(input_ids=ids, input_features=inputs["input_features"]).logits[0].float()
    scores = torch.log_softmax(logits / theirs.model.config.text_config.logits_scaling, dim=-1)
    start = inputs["input_ids"].shape[1] - 1
    expected = [float(scores[start + i, token.id]) for i, token in enumerate(heard.tokens)]
    np.testing.assert_allclose([token.logprob for token in heard.tokens], expected, atol=1e-3)


def test_temperature_samples_from_the_scaled_distribution(
    shape: Callable[[str], Path], plan: DevicePlan
) -> None:
    ours = opened(str(shape("granite-speech-4.1-2b")), plan)
    samples = babble(0.3)

    def first_token(samples: NDArray[np.float32], temperature: float) -> int:
        request = RecognitionRequest(samples=samples, temperature=temperature)
        return transcribed(ours, request)[0].tokens[0].id

    greedy = heard_by(ours, samples).tokens[0].id
    assert first_token(samples, 1e-4) == greedy
    barely_louder = [samples * np.float32(1 + 1e-6 * step) for step in range(6)]
    warm = [first_token(one, 1.0) for one in barely_louder]
    assert len(set(warm)) > 1
    assert [first_token(one, 1.0) for one in barely_louder] == warm  # drawn by the audio, not anew
