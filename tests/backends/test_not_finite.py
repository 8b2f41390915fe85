"""Numbers that are none, from damaged weights or too small a dtype: known before a model is ready, and window by window."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from structlog.testing import capture_logs
from torch import nn

from lithophone.backends import opening
from lithophone.backends.base import Backend, NotFiniteError, RecognitionRequest
from lithophone.backends.batches import never
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan, DeviceWishes, DtypeRequest
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.backends.opening import load_backend, open_backend
from lithophone.backends.transformers_backend.checkpoint import Checkpoint, read_reference
from lithophone.backends.transformers_backend.finite import require_finite, tensors_of
from lithophone.errors import CheckpointError, DoesNotFitError
from tests.backends.conftest import babble, cpu_plan, heard_by, opened, started
from tests.machines import T4, cuda_build

SPEECH_3 = "granite-speech-3.3-2b"
SPEECH_4 = "granite-speech-4.1-2b"
CTC = "granite-speech-5.0-470m-turboctc"
NAN, INFINITY = float("nan"), float("inf")
DAMAGED = "the checkpoint is damaged"
DTYPE = "--dtype float32"

Weights = dict[str, torch.Tensor]
Rewriting = Callable[[str, Callable[[Weights], None]], Path]


@pytest.fixture
def rewritten(shape: Callable[[str], Path], tmp_path: Path) -> Rewriting:
    """A copy of a checkpoint whose weights, or whose adapter's, were changed."""

    def copy(name: str, change: Callable[[Weights], None], file: str = "model.safetensors") -> Path:
        folder = Path(shutil.copytree(shape(name), tmp_path / name))
        weights = load_file(folder / file)
        change(weights)
        save_file(weights, folder / file, {"format": "pt"})
        return folder

    return copy


def one_number(name: str, number: float) -> Callable[[Weights], None]:
    def change(weights: Weights) -> None:
        weights[name].view(-1)[-1] = number

    return change


def scaled(name: str, factor: float) -> Callable[[Weights], None]:
    def change(weights: Weights) -> None:
        weights[name] *= factor

    return change


def as_large_as(number: float, name: str) -> Callable[[Weights], None]:
    """Scaled so that the largest weight is a number that float16 has."""

    def change(weights: Weights) -> None:
        weights[name] *= number / weights[name].abs().max()

    return change


@pytest.mark.parametrize("number", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize(
    ("name", "file_tensor", "tensor"),
    [
        (SPEECH_4, "encoder.layers.1.attn.to_q.weight", "model.encoder.layers.1.attn.to_q.weight"),
        (SPEECH_4, "encoder.layers.0.conv.batch_norm.running_var", "conv.batch_norm.running_var"),
        (SPEECH_4, "projector.linear.bias", "model.projector.linear.bias"),
        (SPEECH_4, "language_model.model.layers.0.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight"),
        (SPEECH_4, "language_model.lm_head.weight", "lm_head.weight"),
        (CTC, "encoder.layers.2.conv.depthwise_conv.weight", "encoder.layers.2.conv.depthwise_conv.weight"),
    ],
)
def test_one_damaged_number_is_found_and_named(
    name: str, file_tensor: str, tensor: str, number: float, rewritten: Rewriting
) -> None:
    folder = rewritten(name, one_number(file_tensor, number))
    with pytest.raises(CheckpointError, match="not finite") as refused:
        started(folder)
    assert tensor in refused.value.message
    assert str(folder) in refused.value.message
    assert DAMAGED in refused.value.message
    assert DTYPE not in refused.value.message


def test_damage_in_the_adapter_is_told_from_damage_in_the_model(rewritten: Callable[..., Path]) -> None:
    name = "base_model.model.language_model.model.layers.0.self_attn.q_proj.lora_A.weight"
    folder = rewritten(SPEECH_3, one_number(name, NAN), "adapter_model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"adapter_model\.safetensors holds weights .*lora_A"
    ) as refused:
        started(folder)
    assert DAMAGED in refused.value.message


def test_weights_too_large_for_a_dtype_are_no_damage(rewritten: Rewriting) -> None:
    folder = rewritten(SPEECH_4, one_number("language_model.model.norm.weight", 1e5))
    with pytest.raises(
        CheckpointError, match=r"not finite \(model\.language_model\.norm\.weight\).*" + DTYPE
    ):
        started(folder, "float16")
    assert heard_by(started(folder), babble(1.0)).tokens


def test_an_adapter_that_overflows_where_it_is_merged_is_found(rewritten: Callable[..., Path]) -> None:
    name = "base_model.model.language_model.model.layers.1.self_attn.v_proj.lora_B.weight"
    folder = rewritten(SPEECH_3, scaled(name, 1e6), "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"layers\.1\.self_attn\.v_proj\.weight.*" + DTYPE):
        started(folder, "float16")


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        (SPEECH_4, "language_model.model.layers.0.mlp.down_proj.weight"),
        (CTC, "encoder.layers.0.feed_forward1.linear2.weight"),
    ],
)
def test_activations_that_overflow_are_found_before_the_model_is_ready(
    name: str, tensor: str, rewritten: Rewriting
) -> None:
    folder = rewritten(name, as_large_as(6e4, tensor))
    with pytest.raises(CheckpointError, match=r"not finite in float16.*" + DTYPE):
        started(folder, "float16")
    started(folder)
    started(folder, "bfloat16")


LOUD = 30.0
OVERFLOWING_MEAN = 1.3
"""Mean of the log-mels of a frame at which float16 overflows: above those of the warm-up's noise, below those of `LOUD` babble."""


def hear_loudness(weights: Weights, overflowing_mean: float = OVERFLOWING_MEAN) -> None:
    """The encoder's first channel is the mean of the features, in such a unit that loud sounds overflow float16."""
    weights["encoder.input_linear.weight"][0] = 65_504 / overflowing_mean / 160
    weights["encoder.input_linear.bias"][0] = 0.0


def half(facts: TorchFacts) -> DevicePlan:
    """As a GPU computes: float16 from end to end, not widened to float32 on the way."""
    return msgspec.structs.replace(cpu_plan(facts, "float16"), widened=False)


def outcomes(backend: Backend, requests: Mapping[int, RecognitionRequest]) -> dict[int, str]:
    """What is said in each window of one batch, or what is wrong with it."""
    said: dict[int, str] = {}
    with TorchRuntime().thread():
        batch = backend.start_batch(never)
        for key, request in requests.items():
            batch.admit(key, request)
        while len(batch):
            for key, answer in batch.step():
                try:
                    said[key] = answer().text
                except NotFiniteError as error:
                    said[key] = str(error)
    return said


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_window_that_overflows_fails_alone(
    temperature: float, rewritten: Rewriting, facts: TorchFacts
) -> None:
    backend = opened(str(rewritten(SPEECH_4, hear_loudness)), half(facts))
    with TorchRuntime().thread():
        backend.warm_up()
    quiet, loud = babble(2.0) * np.float32(0.01), babble(1.0) * np.float32(LOUD)
    said = outcomes(
        backend,
        {
            0: RecognitionRequest(samples=quiet),
            1: RecognitionRequest(samples=loud, temperature=temperature),
            2: RecognitionRequest(samples=quiet),
        },
    )
    for neighbour in (said[0], said[2]):  # float16 does not promise the same text at each batch size
        assert neighbour
        assert "not finite" not in neighbour
    assert "not finite in float16" in said[1]
    assert DTYPE in said[1]


def test_the_same_window_is_heard_in_float32(rewritten: Rewriting, plan: DevicePlan) -> None:
    backend = opened(str(rewritten(SPEECH_4, hear_loudness)), plan)
    assert heard_by(backend, babble(1.0) * np.float32(LOUD)).tokens


def test_a_ctc_window_that_overflows_fails_alone(rewritten: Rewriting, facts: TorchFacts) -> None:
    def change(weights: Weights) -> None:
        weights["encoder.input_linear.weight"][0] = 65_504 / OVERFLOWING_MEAN / 160  # deltas have none
        weights["encoder.input_linear.bias"][0] = 0.0

    backend = opened(str(rewritten(CTC, change)), half(facts))
    with TorchRuntime().thread():
        backend.warm_up()
    quiet, loud = babble(2.0) * np.float32(0.01), babble(1.0) * np.float32(LOUD)
    said = outcomes(
        backend,
        {key: RecognitionRequest(samples=samples) for key, samples in enumerate((quiet, loud, quiet))},
    )
    assert DTYPE in said[1]
    assert "not finite" not in said[0] + said[2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("number", [NAN, INFINITY, -INFINITY])
def test_a_number_is_found_wherever_it_is(dtype: torch.dtype, number: float) -> None:
    for place in (0, 511, 99_999):
        layer = nn.Linear(1000, 100, bias=False, dtype=dtype)
        layer.weight.data.view(-1)[place] = number
        with pytest.raises(CheckpointError, match=r"model holds weights that are not finite \(weight\)"):
            require_finite(tensors_of(layer), Path("model"), "float32")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_largest_numbers_are_numbers(dtype: Literal["float16", "float32"]) -> None:
    kind = getattr(torch, dtype)
    layer = nn.Linear(100, 100, dtype=kind)
    layer.weight.data.fill_(torch.finfo(kind).max)
    require_finite(tensors_of(layer), Path("model"), dtype)


def test_what_is_elsewhere_or_whole_numbers_is_passed_over() -> None:
    model = nn.Sequential(nn.Linear(3, 3, device="meta"), nn.BatchNorm1d(3), nn.Identity())
    model.register_buffer("nothing", torch.zeros(0))
    require_finite(tensors_of(model), Path("model"), "float32")


def test_many_damaged_weights_are_counted() -> None:
    layers = [nn.Linear(2, 2, bias=False) for _ in range(5)]
    for layer in layers:
        layer.weight.data.fill_(NAN)
    model = nn.Sequential(*layers)
    with pytest.raises(CheckpointError, match=r"\(0\.weight, 1\.weight, 2\.weight and 2 more\)"):
        require_finite(tensors_of(model), Path("model"), "float32")


FLOAT16_GPU = cuda_build(T4)
overflow_on_speech = partial(hear_loudness, overflowing_mean=0.9)


@pytest.fixture
def on_a_gpu_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planned for such a GPU; computed here, in the dtype of the plan from end to end."""

    def load_here(checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts) -> Backend:
        here = msgspec.structs.replace(plan, device="cpu", kind="cpu", gpu_indexes=())
        return load_backend(checkpoint, here, facts)

    monkeypatch.setattr(opening, "read_torch_facts", lambda: FLOAT16_GPU)
    monkeypatch.setattr(opening, "load_backend", load_here)


def opened_for(folder: Path, dtype: DtypeRequest) -> tuple[Backend, list[str]]:
    """The backend, and why it is as it is."""
    with TorchRuntime().thread(), capture_logs() as logs:
        backend = open_backend(read_reference(str(folder)), DeviceWishes(dtype=dtype))
    return backend, [str(line["note"]) for line in logs if line["event"] == "device"]


@pytest.mark.usefixtures("on_a_gpu_without_bfloat16")
@pytest.mark.parametrize("name", [SPEECH_4, CTC])
def test_without_bfloat16_it_is_float16_where_speech_is_finite_in_it(
    name: str, shape: Callable[[str], Path]
) -> None:
    backend, why = opened_for(shape(name), "auto")
    assert backend.info.dtype == "float16"
    assert "float16: bfloat16 is not native on sm_75; tried on real speech before it is kept" in why


@pytest.mark.usefixtures("on_a_gpu_without_bfloat16")
@pytest.mark.parametrize(
    "change",
    [overflow_on_speech, one_number("language_model.model.norm.weight", 1e5)],
    ids=["speech overflows", "a weight overflows"],
)
def test_without_bfloat16_it_is_float32_where_float16_overflows(
    change: Callable[[Weights], None], rewritten: Rewriting
) -> None:
    backend, why = opened_for(rewritten(SPEECH_4, change), "auto")
    assert backend.info.dtype == "float32"
    (reason,) = (line for line in why if line.startswith("float32"))
    assert "bfloat16 is not native on sm_75, and in float16" in reason
    assert "not finite" in reason
    assert heard_by(backend, babble(1.0) * np.float32(LOUD)).tokens


@pytest.mark.usefixtures("on_a_gpu_without_bfloat16")
def test_float16_that_is_asked_for_is_not_tried(rewritten: Rewriting) -> None:
    backend, why = opened_for(rewritten(SPEECH_4, overflow_on_speech), "float16")
    assert backend.info.dtype == "float16"
    assert "float16, as asked" in why


@pytest.mark.usefixtures("on_a_gpu_without_bfloat16")
def test_where_float32_does_not_fit_it_is_said_why_it_is_wanted(
    rewritten: Rewriting, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = rewritten(SPEECH_4, overflow_on_speech)
    small = msgspec.structs.replace(T4, total_bytes=10, free_bytes=10)
    machines = iter([FLOAT16_GPU, cuda_build(small)])
    monkeypatch.setattr(opening, "read_torch_facts", lambda: next(machines))
    with pytest.raises(DoesNotFitError, match=r"not finite in float16\. .*in float32 needs"):
        opened_for(folder, "auto")
