"""What the model's parts cost, what they take, and what the machine would need at the least.

Owns the counts of operations and bytes, the machine's measured limits (compute and memory bandwidth in the model's dtype
on its device), and the timing of the parts of one transcript: hearing (features, encoder, CTC head, projector), prefill
and plain decoding. Operations are what torch counts of transformers' own model of the shape, without any weights: two for
each multiply-add of matrix products and convolutions, nothing for norms, activations and softmax.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import msgspec
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lithophone.backends.base import RecognitionRequest
from lithophone.backends.device.facts import DTYPE_BYTES
from lithophone.backends.device.plan import DevicePlan, Quantization
from lithophone.backends.memory.estimate import build_on_meta
from lithophone.backends.quantization.layers import chosen_layers
from lithophone.backends.transformers_backend.speech_model import SpeechModel
from lithophone.bench.clips import BenchClip
from lithophone.bench.report import Roofline, Stage
from lithophone.granite.features import stacked_frames

MULTIPLY_ADD = 2
GEMM_SHAPES = ((1500, 1024, 4096), (360, 2048, 8192), (1024, 1024, 1024), (2048, 2048, 2048))
"""Rows, inner width and columns: the encoder's and the prompt's matrices of 30 s, and two squares."""

READ_BYTES = 256 << 20  # well beyond any cache
READ_WIDTH = 4096
MOST_TRIES = 5
TRIES_SECONDS = 0.5
DECODING_STEPS = 8
TURNS = 3


def hearing_flops(model: Any, frames: int) -> float:
    """Operations of encoder, CTC head and projector over so many frames of 20 ms, none of them padding."""
    encoder = model.config.encoder_config
    whole = encoder.context_size * model.config.window_size  # no block and no window of it is padded
    features = torch.empty(1, whole, encoder.input_dim, dtype=model.dtype, device="meta")
    counted = _counted(lambda: model.get_audio_features(features)) / whole
    head = MULTIPLY_ADD * encoder.hidden_dim * encoder.output_dim  # at the end, which transformers leaves out
    return frames * (counted + head)


def text_flops(model: Any, positions: int) -> int:
    """Operations of one pass of the language model over so many positions, its head asked about the last one."""
    hidden = model.config.text_config.hidden_size
    rows = torch.empty(1, positions, hidden, dtype=model.dtype, device="meta")
    text = model.model.language_model
    return _counted(lambda: model.lm_head(text(inputs_embeds=rows).last_hidden_state[:, -1:]))


@torch.no_grad()
def _counted(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        run()
    return counter.get_total_flops()


def text_weights(model: Any) -> int:
    """Weights that a pass of the language model and its head reads once, however many tokens it takes in."""
    modules = [*model.model.language_model.modules(), model.lm_head]
    return sum(module.weight.numel() for module in modules if isinstance(module, nn.Linear))


def bytes_per_pass(model: Any, item_bytes: int, positions: int, quantization: Quantization = "none") -> int:
    """What a pass has to read: every weight once, and the keys and values of so many positions.

    Args:
        model: Of the shape; nothing of it is computed with.
        item_bytes: Of a cached number, and of a weight that is not quantised.
        positions: In the cache, of all sequences together.
        quantization: Of the weights.
    """
    text = model.config.text_config
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    cached = 2 * text.num_hidden_layers * text.num_key_value_heads * width * positions
    return _weight_bytes(model, item_bytes, quantization) + item_bytes * cached


def _weight_bytes(model: Any, item_bytes: int, quantization: Quantization) -> int:
    if quantization == "none":
        return item_bytes * text_weights(model)
    read = {id(module) for module in (*model.model.language_model.layers.modules(), model.lm_head)}
    return sum(one.bytes for one in chosen_layers(model, quantization) if id(one.layer) in read)


class StageSeconds(NamedTuple):
    """Of one clip alone: hearing, prompt and one token, in seconds; and the positions of the prompt."""

    hearing: float
    prefill: float
    step: float
    positions: int


class _Turn(NamedTuple):
    """What the machine reached, and right behind it the parts of a transcript: a machine in company is slower for minutes."""

    shape: tuple[int, int, int]
    flops: float
    bandwidth: float
    stages: StageSeconds

    def least(self, operations: float, read_bytes: float) -> tuple[float, str]:
        """Seconds that so much takes at the least, and which limit says so."""
        return max((operations / self.flops, "compute"), (read_bytes / self.bandwidth, "bandwidth"))


def draw_roofline(model: SpeechModel, config: Any, plan: DevicePlan, clip: BenchClip) -> Roofline:
    """One clip alone against the machine: each part beside the time that its operations or its bytes take at the least.

    Limits and parts are measured in turns, and the shares are the medians of each turn's own.
    """
    dtype, device = getattr(torch, plan.dtype), torch.device(plan.torch_device)
    turns = sorted(
        (_take_turn(model, clip, dtype, device) for _ in range(TURNS)), key=lambda turn: turn.flops
    )
    middle = turns[TURNS // 2]
    plain = type(config).from_dict(
        config.to_dict()
    )  # transformers' own attention, as nothing else is asked for
    drawn = build_on_meta(plain).requires_grad_(requires_grad=False)
    positions = middle.stages.positions
    read = bytes_per_pass(drawn, DTYPE_BYTES[plan.dtype], positions, plan.quantization)
    work = (
        ("encoder", hearing_flops(drawn, stacked_frames(len(clip.samples))), 0),
        ("prefill", text_flops(drawn, positions), read),
        ("decoding", text_flops(drawn, 1), read),
    )
    stages = tuple(
        Stage(
            name=name,
            seconds=median(turn.stages[part] for turn in turns),
            tera_operations=operations / 1e12,
            gigabytes=read_bytes / 1e9,
            limit=middle.least(operations, read_bytes)[1],
            share=median(turn.least(operations, read_bytes)[0] / turn.stages[part] for turn in turns),
        )
        for part, (name, operations, read_bytes) in enumerate(work)
    )
    return Roofline(
        gemm_gflops=middle.flops / 1e9,
        gemm_shape=middle.shape,
        bandwidth_gb_per_second=median(turn.bandwidth for turn in turns) / 1e9,
        stages=stages,
    )


def _take_turn(model: SpeechModel, clip: BenchClip, dtype: torch.dtype, device: torch.device) -> _Turn:
    reached = {shape: _gemm_flops(shape, dtype, device) for shape in GEMM_SHAPES}
    shape = max(reached, key=reached.__getitem__)
    return _Turn(shape, reached[shape], _bandwidth(dtype, device), stage_seconds(model, clip))


def stage_seconds(model: SpeechModel, clip: BenchClip) -> StageSeconds:
    """Hear it, take in the prompt, then some tokens one by one."""
    started = time.perf_counter()
    (window,) = model.hear([RecognitionRequest(samples=clip.samples)])
    hearing = time.perf_counter() - started
    prompt = model.sequence(0, window, speculate=False)
    decoding = model.start_decoding(settle_ties=False)
    tokens = 2 + DECODING_STEPS
    decoding.admit([msgspec.structs.replace(prompt, min_tokens=tokens, max_tokens=tokens)])
    marks = [time.perf_counter()]
    for _ in range(1 + DECODING_STEPS):
        decoding.step()
        marks.append(time.perf_counter())
    prefill, *steps = (after - before for before, after in pairwise(marks))
    return StageSeconds(hearing, prefill, median(steps), len(prompt.embeddings))


def _gemm_flops(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> float:
    rows, inner, columns = shape
    left = torch.rand(rows, inner, device=device).to(dtype)
    right = torch.rand(columns, inner, device=device).to(dtype)
    seconds = _fastest(lambda: torch.nn.functional.linear(left, right), device)
    return MULTIPLY_ADD * rows * inner * columns / seconds


def _bandwidth(dtype: torch.dtype, device: torch.device) -> float:
    """Bytes a second of copying, adding up, or multiplying a matrix with a vector, the fastest; a copy also writes."""
    matrix = torch.ones(READ_BYTES // (READ_WIDTH * dtype.itemsize), READ_WIDTH, dtype=dtype, device=device)
    other, vector = torch.empty_like(matrix), torch.ones(1, READ_WIDTH, dtype=dtype, device=device)
    ways: tuple[tuple[int, Callable[[], object]], ...] = (
        (1, lambda: torch.nn.functional.linear(vector, matrix)),
        (1, matrix.sum),
        (2, lambda: other.copy_(matrix)),
    )
    return max(times * matrix.nbytes / _fastest(run, device) for times, run in ways)


def _fastest(run: Callable[[], object], device: torch.device) -> float:
    run()
    times: list[float] = []
    while len(times) < MOST_TRIES and sum(times) <= TRIES_SECONDS:
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times)
