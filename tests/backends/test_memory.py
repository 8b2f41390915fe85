from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace
from transformers import (
    BertConfig,
    GraniteSpeechForConditionalGeneration,
    PreTrainedConfig,
)

import lithophone
from lithophone.backends.device.facts import DTYPE_BYTES, DtypeName
from lithophone.backends.device.plan import DeviceWishes, ModelSize, plan_device
from lithophone.backends.memory.estimate import MemoryEstimate, estimate_memory, format_gb
from lithophone.backends.memory.fits import budget_bytes, check_fits, plan_for
from lithophone.backends.memory.registered import SERVING_ALLOWANCE_BYTES, approximate_bytes
from lithophone.backends.memory.table import family_fit_table
from lithophone.bench.weights import family_config
from lithophone.errors import CheckpointError, DoesNotFitError
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from tests.machines import A100, CPU_BUILD, GB, RTX_4090, STRIX_HALO, T4, cpu, cuda_build, rocm_build

TINY = Path(lithophone.__file__).parent / "checkpoints" / "tiny"


def published(model_id: str) -> PreTrainedConfig:
    """The configuration of a member of the family, its adapter included."""
    config = family_config(FAMILY[model_id])
    config.has_lora_adapter = FAMILY[model_id].lora
    return config


PUBLISHED = {spec.id: published(spec.id) for spec in FAMILY.values() if not spec.demonstration}
EIGHT_B = PUBLISHED["granite-speech-3.3-8b"]


@cache
def _estimate(model_id: str, dtype: DtypeName) -> MemoryEstimate:
    return estimate_memory(PUBLISHED[model_id])[dtype]


def weights_of(config: PreTrainedConfig | Path) -> int:
    return estimate_memory(config)["float32"].weights_bytes


def sized(required_bytes: int) -> ModelSize:
    return ModelSize(parameters=GB, required_bytes=dict.fromkeys(DTYPE_BYTES, required_bytes))


@pytest.mark.parametrize("model_id", PUBLISHED)
def test_the_registry_agrees_with_the_configurations(model_id: str) -> None:
    assert _estimate(model_id, "float32").parameters == pytest.approx(FAMILY[model_id].parameters, rel=1e-3)


@pytest.mark.parametrize("model_id", PUBLISHED)
def test_the_allowance_of_the_fit_table_covers_every_member(model_id: str) -> None:
    assert _estimate(model_id, "float32").working_bytes <= SERVING_ALLOWANCE_BYTES


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("model_id", PUBLISHED)
def test_the_fit_table_stays_near_the_exact_estimate(model_id: str, dtype: DtypeName) -> None:
    exact = _estimate(model_id, dtype).required_bytes
    assert 0.99 * exact <= approximate_bytes(FAMILY[model_id], dtype) <= 1.15 * exact


def test_bfloat16_takes_what_float16_takes() -> None:
    half, brain = (estimate_memory(TINY)[dtype] for dtype in ("float16", "bfloat16"))
    assert half.required_bytes == brain.required_bytes


def test_tied_weights_are_counted_once() -> None:
    tied, untied = published("granite-speech-3.3-2b"), published("granite-speech-3.3-2b")
    untied.tie_word_embeddings = untied.text_config.tie_word_embeddings = False
    difference = weights_of(untied) - weights_of(tied)
    assert difference == 49_160 * 2048 * 4


def test_the_embedded_checkpoint_weighs_what_its_tensors_do() -> None:
    model = GraniteSpeechForConditionalGeneration.from_pretrained(TINY, dtype="float32")
    real = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    assert weights_of(TINY) == real
    assert estimate_memory(TINY)["float16"].parameters == pytest.approx(
        FAMILY[DEMONSTRATION_ID].parameters, rel=0.05
    )


def test_the_adapter_counts_while_loading_only() -> None:
    adapted = _estimate("granite-speech-3.3-8b", "float16")
    # rank 64 on q (4096 to 4096) and v (4096 to 1024), 40 layers
    assert adapted.adapter_bytes == 40 * 64 * (4096 + 4096 + 4096 + 1024) * 2
    assert adapted.loading_bytes > adapted.weights_bytes + adapted.adapter_bytes
    assert _estimate("granite-speech-4.1-2b", "float16").adapter_bytes == 0


def test_the_adapters_own_configuration_counts_if_there_is_one(tmp_path: Path) -> None:
    EIGHT_B.save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8, "target_modules": ["q_proj"]}))
    assert estimate_memory(tmp_path)["float32"].adapter_bytes == 40 * 8 * (4096 + 4096) * 4


def test_the_cache_holds_keys_and_values_of_every_layer() -> None:
    tokens = 300 + 128 + 512  # audio, prompt, transcript
    assert _estimate("granite-speech-3.3-8b", "float16").kv_cache_bytes == 2 * 40 * 8 * 128 * tokens * 2
    assert _estimate("granite-speech-5.0-470m-turboctc", "float16").kv_cache_bytes == 0


def test_a_batch_multiplies_the_working_memory_and_not_the_weights() -> None:
    one, four = (estimate_memory(TINY, batch=batch)["bfloat16"] for batch in (1, 4))
    assert four.activations_bytes == 4 * one.activations_bytes
    assert four.kv_cache_bytes == 4 * one.kv_cache_bytes
    assert four.weights_bytes == one.weights_bytes


def test_eight_billion_parameters_that_cannot_fit_are_refused_fast_with_alternatives() -> None:
    facts = replace(CPU_BUILD, cpu=cpu(available_bytes=9 * GB))
    started = time.process_time()
    with pytest.raises(DoesNotFitError) as refused:
        check_fits("granite-speech-3.3-8b", estimate_memory(EIGHT_B)["float32"], facts, plan_device(facts))
    assert time.process_time() - started < 5
    message = refused.value.message
    assert "needs 35.5 GB (34.6 GB of weights), but 9.0 GB is free in system memory" in message
    assert "granite-speech-3.3-2b (float16, bfloat16)" in message
    assert "granite-speech-5.0-470m-turboctc (any dtype)" in message
    assert "What would fit: this model with --quantization int4;" in message


def test_a_smaller_dtype_of_the_same_model_is_offered_where_it_fits() -> None:
    facts = cuda_build(RTX_4090)
    with pytest.raises(
        DoesNotFitError, match=r"on the GPU.*this model with --dtype float16 or --dtype bfloat16"
    ):
        check_fits(
            "granite-speech-3.3-8b",
            _estimate("granite-speech-3.3-8b", "float32"),
            facts,
            plan_device(facts, DeviceWishes(dtype="float32")),
        )


def test_nothing_is_offered_where_nothing_fits() -> None:
    facts = replace(CPU_BUILD, cpu=cpu(available_bytes=GB))
    with pytest.raises(DoesNotFitError, match="No model of the family would fit"):
        check_fits(
            "granite-speech-3.3-8b", _estimate("granite-speech-3.3-8b", "float32"), facts, plan_device(facts)
        )


def test_eight_billion_parameters_fit_the_unified_memory_of_a_strix_halo() -> None:
    facts = rocm_build(STRIX_HALO)
    check_fits(
        "granite-speech-3.3-8b", _estimate("granite-speech-3.3-8b", "float32"), facts, plan_device(facts)
    )


def test_the_budget_is_the_memory_the_plan_uses() -> None:
    two = cuda_build(A100, T4)
    assert budget_bytes(two, plan_device(two)) == 80 * GB
    assert budget_bytes(two, plan_device(two, size=sized(90 * GB))) == 96 * GB
    assert budget_bytes(two, plan_device(two, DeviceWishes(device="cpu"))) == 24 * GB
    assert budget_bytes(two, plan_device(two, DeviceWishes(cpu_offload=True))) == 104 * GB
    assert budget_bytes(rocm_build(STRIX_HALO), plan_device(rocm_build(STRIX_HALO))) == 67 * GB


def test_a_model_that_fits_over_two_gpus_alone_is_planned_for_both() -> None:
    estimates = estimate_memory(EIGHT_B)
    plan = plan_for(
        "granite-speech-3.3-8b", estimates, cuda_build(RTX_4090, RTX_4090), DeviceWishes(dtype="float32")
    )
    assert (plan.gpu_indexes, plan.device_map) == ((0, 1), "auto")
    with pytest.raises(DoesNotFitError, match="on 2 GPUs"):
        plan_for("granite-speech-3.3-8b", estimates, cuda_build(T4, T4), DeviceWishes(dtype="float32"))


def test_the_fit_table_has_every_member_and_dtype() -> None:
    facts = cuda_build(T4)
    rows = {row.model_id: row for row in family_fit_table(facts, DeviceWishes())}
    assert list(rows) == list(FAMILY)
    eight = {fit.dtype: (fit.fits_gpu, fit.fits_cpu) for fit in rows["granite-speech-3.3-8b"].fits}
    assert eight == {"float16": (False, True), "bfloat16": (False, True), "float32": (False, False)}


def test_the_fit_table_of_a_cpu_says_nothing_of_gpus() -> None:
    rows = family_fit_table(CPU_BUILD, DeviceWishes())
    assert {fit.fits_gpu for row in rows for fit in row.fits} == {None}


def test_a_model_of_another_family_is_refused() -> None:
    with pytest.raises(CheckpointError, match="'bert' is not Granite Speech"):
        estimate_memory(BertConfig())


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        estimate_memory(tmp_path)


@pytest.mark.parametrize(("size", "shown"), [(17.25e9, "17.2 GB"), (1e8, "0.1 GB"), (9_200_000, "9 MB")])
def test_sizes_are_decimal(size: float, shown: str) -> None:
    assert format_gb(size) == shown
