"""Weights of few bits: multiplied as they say, for any number of rows and in any company, and only where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DevicePlan, DeviceWishes, Quantization, plan_device
from lithophone.backends.heap import release_file_pages
from lithophone.backends.memory.estimate import estimate_memory
from lithophone.backends.memory.fits import check_fits
from lithophone.backends.memory.registered import SMALL_BYTES, approximate_small_bytes
from lithophone.backends.memory.table import family_fit_table
from lithophone.backends.quantization import eight, four, rounding
from lithophone.backends.quantization.eight import Int8Embedding, Int8Linear, Int8Weight, PackedInt8Linear
from lithophone.backends.quantization.four import Int4Linear, Int4Weight
from lithophone.backends.quantization.keeping import keep
from lithophone.backends.quantization.manifest import MANIFEST, as_stored
from lithophone.backends.quantization.rounding import FAR_OUT, LEVELS, rounded_blocks
from lithophone.backends.transformers_backend.checkpoint import fetch, read_reference
from lithophone.backends.transformers_backend.loading import load_checkpoint
from lithophone.errors import CheckpointError, ConfigurationError, DoesNotFitError
from lithophone.granite.family import FAMILY
from tests.backends.conftest import babble, heard_by, opened, started
from tests.backends.test_memory import EIGHT_B, PUBLISHED
from tests.conftest import ShapeFolders
from tests.machines import CPU_BUILD, GB, RTX_4090, cpu, cuda_build

OUT, IN = 192, 320
ROWS = (1, 2, 7, 16, 17, 40)
SPEAKING = [name for name, config in PUBLISHED.items() if hasattr(config, "text_config")]
Layer = Int8Linear | Int4Linear
Making = Callable[[Tensor, Tensor | None], tuple[Layer, Tensor]]


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def of_eight(weight: Tensor, bias: Tensor | None = None) -> tuple[Layer, Tensor]:
    small = Int8Weight.of(weight)
    return PackedInt8Linear(small, bias), small.widened()


def of_four(weight: Tensor, bias: Tensor | None = None) -> tuple[Layer, Tensor]:
    small = Int4Weight.of(weight)
    return Int4Linear(small, bias), small.widened()


both = pytest.mark.parametrize("making", [of_eight, of_four])


def apart(got: Tensor, wanted: Tensor) -> float:
    """The largest relative difference of a row."""
    return float(((got.double() - wanted.double()).norm(dim=-1) / wanted.double().norm(dim=-1)).max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("rows", ROWS)
@both
def test_a_layer_multiplies_as_its_weights_say(making: Making, dtype: torch.dtype, rows: int) -> None:
    bias = noise(OUT, seed=3).to(dtype)
    layer, weight = making(noise(OUT, IN), bias)
    given = noise(1, rows, IN, seed=2).to(dtype)
    got = layer(given)
    assert got.dtype is dtype
    assert got.shape == (1, rows, OUT)
    assert apart(got, given.double() @ weight.T.double() + bias.double()) < 0.015


@both
def test_a_row_gives_the_same_in_any_company(making: Making) -> None:
    """Up to the last rounding to bfloat16, and of 8 bits to the last bit."""
    layer, _ = making(noise(OUT, IN), None)
    rows = noise(64, IN, seed=2)
    rows[5, 0] = 1000.0
    together = layer(rows)
    for count in ROWS:
        alone = layer(rows[:count])
        if isinstance(layer, Int8Linear):
            assert torch.equal(alone, together[:count])
        assert apart(alone, together[:count]) < 2**-8


def test_both_ways_of_four_bits_take_the_same_numbers() -> None:
    layer = Int4Linear(Int4Weight.of(noise(OUT, IN)), None)
    whole = torch.randint(-LEVELS, LEVELS + 1, (9, IN)).float()
    many = torch.cat([product for _, product in layer.many(whole.to(torch.int8))], dim=1)
    assert torch.equal(layer.few(whole.to(torch.bfloat16)), many.to(torch.bfloat16))


@both
def test_a_row_with_one_large_number_keeps_its_small_ones(making: Making) -> None:
    layer, weight = making(noise(OUT, IN), None)
    rows = noise(24, IN, seed=2)
    rows[1, 3] = 1e5
    without = rows.clone()
    without[:, 3] = 0
    small = layer(rows) - rows[:, 3:4] * weight[:, 3]
    wanted = without @ weight.T
    assert apart(small[2:], wanted[2:]) < 0.015
    in_eight_bits_alone = 1e5 / LEVELS / 2
    assert float((small[1] - wanted[1]).abs().max()) < in_eight_bits_alone


def test_leftovers_are_multiplied_for_rows_that_stand_out_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = noise(3, 1000)
    rows[1, 0] = 2 * FAR_OUT
    (block,) = rounded_blocks(rows, 1000)
    assert block.far.tolist() == [1]
    assert block.whole.shape == (4, 1000)
    assert apart(block.restored(block.whole), rows) < 0.01
    monkeypatch.setattr(rounding, "BLOCK_NUMBERS", 2000)
    assert [len(block.whole) for block in rounded_blocks(rows, 1000)] == [3, 1]


@both
def test_rows_that_are_multiplied_in_blocks_are_what_they_are_together(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, _ = making(noise(OUT, IN), noise(OUT, seed=3))
    rows = noise(50, IN, seed=2)
    rows[[7, 30, 31, 49], 0] = 1000.0
    together = layer(rows)
    monkeypatch.setattr(rounding, "BLOCK_NUMBERS", 9 * OUT)
    monkeypatch.setattr(four, "BLOCK_WEIGHTS", 64 * IN)
    assert torch.equal(layer(rows), together)


@both
def test_a_row_of_zeros_gives_the_bias(making: Making) -> None:
    bias = noise(OUT, seed=3)
    layer, _ = making(noise(OUT, IN), bias)
    assert torch.equal(layer(torch.zeros(1, IN))[0], bias)


@pytest.mark.parametrize(("kind", "most"), [(Int8Weight, 0.011), (Int4Weight, 0.105)])
def test_rounding_costs_little(kind: type[Int8Weight | Int4Weight], most: float) -> None:
    weight = noise(OUT, IN) * torch.logspace(-3, 3, OUT).unsqueeze(1)
    weight[7] = 0
    rounded = kind.of(weight).widened()
    assert torch.equal(rounded[7], weight[7])
    assert apart(rounded[:7], weight[:7]) < most
    assert apart(rounded[8:], weight[8:]) < most


def test_a_layer_gives_back_what_it_has_packed() -> None:
    weight = noise(OUT, IN)
    eights, fours = Int8Weight.of(weight), Int4Weight.of(weight)
    for wanted, got in (
        (eights, PackedInt8Linear(eights, None).stored()),
        (fours, Int4Linear(fours, None).stored()),
    ):
        for name in wanted.__struct_fields__:
            assert torch.equal(getattr(got, name), getattr(wanted, name)), name


def test_an_embedding_of_eight_bits_is_that_of_its_weights() -> None:
    weight = Int8Weight.of(noise(11, IN))
    tokens = torch.tensor([[3, 0, 10]])
    embedded = Int8Embedding(weight, torch.float32)(tokens)
    assert torch.equal(embedded, weight.widened()[tokens])


def test_without_vnni_sums_stay_within_sixteen_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eight, "has_vnni", lambda: False)
    weight = Int8Weight.of(noise(OUT, IN))
    rows = noise(4, IN, seed=2)
    assert apart(PackedInt8Linear(weight, None)(rows), rows @ weight.widened().T) < 0.02
    assert 2 * LEVELS * (2 * eight.NARROW_LEVELS + 1) < 2**15


def test_a_gpu_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="serves CPUs alone"):
        plan_device(cuda_build(RTX_4090), DeviceWishes(quantization="int8"))
    on_its_cpu = plan_device(cuda_build(RTX_4090), DeviceWishes(device="cpu", quantization="int4"))
    assert on_its_cpu.quantization == "int4"


def test_a_processor_without_the_kernels_is_refused(
    monkeypatch: pytest.MonkeyPatch, plan: DevicePlan
) -> None:
    monkeypatch.setattr("lithophone.backends.quantization.layers.has_fbgemm", lambda: False)
    with pytest.raises(ConfigurationError, match="FBGEMM"):
        opened("granite-speech-tiny", msgspec.structs.replace(plan, quantization="int8"))


def test_four_bits_are_refused_where_torch_packs_in_an_unknown_way(
    monkeypatch: pytest.MonkeyPatch, plan: DevicePlan
) -> None:
    monkeypatch.setattr("lithophone.backends.quantization.layers.block_width", lambda: 0)
    with pytest.raises(ConfigurationError, match="int8"):
        opened("granite-speech-tiny", msgspec.structs.replace(plan, quantization="int4"))


def test_a_model_without_a_language_model_is_refused(shape: ShapeFolders, plan: DevicePlan) -> None:
    changed = msgspec.structs.replace(plan, quantization="int8")
    with pytest.raises(ConfigurationError, match="with a language model only"):
        opened(str(shape("granite-speech-5.0-470m-turboctc")), changed)


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantised_model_hears_nearly_what_it_heard(plan: DevicePlan, mode: Quantization) -> None:
    whole = opened("granite-speech-tiny", plan)
    small = opened("granite-speech-tiny", msgspec.structs.replace(plan, quantization=mode))
    assert small.info.weight_bytes < 0.4 * whole.info.weight_bytes
    assert small.info.dtype == "float32"
    heard = heard_by(small, babble(2.0))
    assert all(-30 < token.logprob <= 0 for token in heard.tokens)


@pytest.mark.parametrize("mode", SMALL_BYTES)
def test_the_estimate_is_what_a_model_takes(
    shape: ShapeFolders, plan: DevicePlan, mode: Quantization
) -> None:
    folder: Path = shape("granite-speech-4.1-2b")
    small = opened(str(folder), msgspec.structs.replace(plan, quantization=mode))
    estimate = estimate_memory(folder, quantization=mode)["float32"]
    assert small.info.weight_bytes == pytest.approx(estimate.weights_bytes, rel=0.02)


@pytest.mark.parametrize("mode", SMALL_BYTES)
@pytest.mark.parametrize("model_id", SPEAKING)
def test_the_fit_table_stays_near_the_exact_estimate(model_id: str, mode: Quantization) -> None:
    exact = estimate_memory(PUBLISHED[model_id], quantization=mode)["bfloat16"].required_bytes
    assert 0.85 * exact <= approximate_small_bytes(FAMILY[model_id], mode) <= 1.15 * exact


def test_eight_billion_parameters_fit_sixteen_gigabytes_in_few_bits_and_it_is_said() -> None:
    facts = msgspec.structs.replace(CPU_BUILD, cpu=cpu(available_bytes=12 * GB))
    plan = plan_device(facts, DeviceWishes())
    with pytest.raises(DoesNotFitError, match="this model with --quantization int8"):
        check_fits("granite-speech-3.3-8b", estimate_memory(EIGHT_B)["bfloat16"], facts, plan)
    estimate = estimate_memory(EIGHT_B, quantization="int4")["bfloat16"]
    assert estimate.required_bytes < 8 * GB
    check_fits("granite-speech-3.3-8b", estimate, facts, plan)
    row = next(
        row for row in family_fit_table(facts, DeviceWishes()) if row.model_id == "granite-speech-3.3-8b"
    )
    assert {fit.quantization: fit.fits_cpu for fit in row.small_fits} == {"int8": True, "int4": True}


def test_convolutions_over_single_frames_are_quantised_too(shape: ShapeFolders, plan: DevicePlan) -> None:
    checkpoint = fetch(read_reference(str(shape("granite-speech-4.1-2b"))))
    loaded = load_checkpoint(
        checkpoint, msgspec.structs.replace(plan, quantization="int4"), read_torch_facts()
    )
    encoder, text = loaded.model.model.encoder, loaded.model.model.language_model
    assert isinstance(encoder.layers[0].conv.up_conv, Int8Linear)
    assert not any(isinstance(module, nn.Linear) for module in encoder.layers.modules())
    assert not any(isinstance(module, nn.Linear) for module in text.layers.modules())
    assert isinstance(text.embed_tokens, Int8Embedding)
    assert isinstance(loaded.model.lm_head, Int8Linear)


@pytest.mark.parametrize("wide", [False, True])
def test_the_clock_chooses_among_the_numbers_of_rows(wide: bool) -> None:
    assert four.measured_few_rows(wide=wide) in {1, *four.TRIED_ROWS}


@pytest.mark.parametrize("mode", SMALL_BYTES)
def test_a_kept_folder_is_the_same_model(tmp_path: Path, plan: DevicePlan, mode: Quantization) -> None:
    wishes = DeviceWishes(quantization=mode, dtype="float32", cpu_threads=1)
    folder = keep(
        fetch(read_reference("granite-speech-tiny")), wishes, tmp_path / "granite-speech-tiny-small"
    )
    made = opened("granite-speech-tiny", msgspec.structs.replace(plan, quantization=mode))
    kept = started(folder)
    again, before = heard_by(kept, babble(2.0)), heard_by(made, babble(2.0))
    assert again.text == before.text
    assert [one.logprob for one in again.tokens] == pytest.approx(
        [one.logprob for one in before.tokens], abs=0.05
    )
    assert kept.info.weight_bytes == made.info.weight_bytes


def test_a_kept_folder_says_what_it_is(tmp_path: Path) -> None:
    folder = keep(
        fetch(read_reference("granite-speech-tiny")), DeviceWishes(quantization="int8"), tmp_path / "small"
    )
    assert as_stored(folder, DeviceWishes()).quantization == "int8"
    with pytest.raises(ConfigurationError, match="holds int8 weights"):
        as_stored(folder, DeviceWishes(quantization="int4"))
    with pytest.raises(CheckpointError, match="not empty"):
        keep(fetch(read_reference("granite-speech-tiny")), DeviceWishes(quantization="int8"), folder)
    (weights,) = folder.glob("quantized-*")
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="damaged"):
        started(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match="lacks a file"):
        started(folder)
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be used"):
        started(folder)


def test_only_pages_of_files_are_dropped(tmp_path: Path) -> None:
    numbers = torch.arange(8 << 20)  # 64 MiB
    release_file_pages(numbers)
    assert torch.equal(numbers[:9], torch.arange(9))
    save_file({"numbers": numbers}, tmp_path / "numbers.safetensors")
    with safe_open(tmp_path / "numbers.safetensors", framework="pt") as file:
        mapped = file.get_tensor("numbers")
        assert torch.equal(mapped, numbers)
        read = file_pages_bytes()
        release_file_pages(mapped)
        assert file_pages_bytes() < read - (32 << 20)
        assert torch.equal(mapped, numbers)


def file_pages_bytes() -> int:
    """Pages of files that this process has in memory."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssFile"))
