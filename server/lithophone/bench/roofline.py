"""What this machine reaches with nothing but a matrix product, and what the model's parts reach of it.

Owns the measured limits (compute and memory bandwidth in the model's dtype on its device) and the timing of the parts
of one transcript: hearing (features, encoder, CTC head, projector), prefill and plain decoding.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import msgspec
import torch

from lithophone.backends.base import RecognitionRequest
from lithophone.backends.decoding.loop import Prompt
from lithophone.backends.device.facts import DTYPE_BYTES
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.transformers_backend.speech_model import SpeechModel
from lithophone.bench.clips import BenchClip
from lithophone.bench.figures import ModelFigures, read_figures
from lithophone.bench.report import Roofline, Stage
from lithophone.granite.features import stacked_frames

GEMM_SHAPES = ((1500, 1024, 4096), (360, 2048, 8192), (1024, 1024, 1024), (2048, 2048, 2048))
"""Rows, inner width and columns: the encoder's and the prompt's matrices of 30 s, and two squares."""

READ_BYTES = 256 << 20  # well beyond any cache
MOST_TRIES = 5
TRIES_SECONDS = 0.5
DECODING_STEPS = 8


class Limits(msgspec.Struct, frozen=True):
    """Operations and bytes a second."""

    flops: float
    gemm_shape: tuple[int, int, int]
    bytes_per_second: float


def measure_limits(plan: DevicePlan) -> Limits:
    """The best of a few matrix products, and of the ways to stream memory, in the plan's dtype on its device."""
    dtype, device = getattr(torch, plan.dtype), torch.device(plan.torch_device)
    reached = {shape: _gemm_flops(shape, dtype, device) for shape in GEMM_SHAPES}
    best = max(reached, key=reached.__getitem__)
    return Limits(reached[best], best, _bandwidth(dtype, device))


def _gemm_flops(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> float:
    rows, inner, columns = shape
    left = torch.rand(rows, inner, device=device).to(dtype)
    right = torch.rand(columns, inner, device=device).to(dtype)
    seconds = _fastest(lambda: torch.nn.functional.linear(left, right), device)
    return 2 * rows * inner * columns / seconds


def _bandwidth(dtype: torch.dtype, device: torch.device) -> float:
    """Of copying, adding up, or multiplying a matrix with a vector, the fastest."""
    width = 4096
    rows = READ_BYTES // (width * dtype.itemsize)
    matrix = torch.ones(rows, width, dtype=dtype, device=device)
    other = torch.empty_like(matrix)
    vector = torch.ones(1, width, dtype=dtype, device=device)
    streamed = matrix.nbytes / min(
        _fastest(lambda: torch.nn.functional.linear(vector, matrix), device),
        _fastest(matrix.sum, device),
    )
    return max(streamed, 2 * matrix.nbytes / _fastest(lambda: other.copy_(matrix), device))


def _fastest(run: Callable[[], object], device: torch.device) -> float:
    run()
    times: list[float] = []
    first = time.perf_counter()
    for number in range(MOST_TRIES):
        if number > 0 and time.perf_counter() - first > TRIES_SECONDS:
            break
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times)


class StageTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of the parts of one transcript, and how long its prompt was."""

    hearing_seconds: float
    prefill_seconds: float
    pass_seconds: float
    positions: int
    frames: int


def time_stages(model: SpeechModel, clip: BenchClip) -> StageTimes:
    """One clip alone: hear it, take in the prompt, then some tokens one by one."""
    started = time.perf_counter()
    (window,) = model.hear([RecognitionRequest(samples=clip.samples)])
    heard = time.perf_counter()
    prompt = model.sequence(0, window, speculate=False)
    decoding = model.start_decoding(settle_ties=False)
    decoding.admit([_open_ended(prompt)])
    marks = [time.perf_counter()]
    for _ in range(1 + DECODING_STEPS):
        decoding.step()
        marks.append(time.perf_counter())
    steps = [after - before for before, after in pairwise(marks)]
    return StageTimes(
        hearing_seconds=heard - started,
        prefill_seconds=steps[0],
        pass_seconds=median(steps[1:]),
        positions=len(prompt.embeddings),
        frames=stacked_frames(len(clip.samples)),
    )


def _open_ended(prompt: Prompt) -> Prompt:
    return msgspec.structs.replace(
        prompt, min_tokens=2 + DECODING_STEPS, max_tokens=2 + DECODING_STEPS, speculator=None
    )


def draw_roofline(config: object, times: StageTimes, limits: Limits, plan: DevicePlan) -> Roofline:
    """Put times, the model's figures and the machine's limits together."""
    item_bytes = 1 if plan.quantization == "int8" else DTYPE_BYTES[plan.dtype]
    stages = judge_stages(read_figures(config), times, limits, item_bytes)
    return Roofline(
        gemm_gflops=limits.flops / 1e9,
        gemm_shape=limits.gemm_shape,
        bandwidth_gb_per_second=limits.bytes_per_second / 1e9,
        stages=stages,
    )


def judge_stages(
    figures: ModelFigures, times: StageTimes, limits: Limits, item_bytes: float
) -> tuple[Stage, ...]:
    """Encoder and prefill against the matrix products' peak, decoding against the memory's bandwidth."""
    decoding_bytes = figures.text.bytes_per_pass(item_bytes, times.positions)
    return (
        _computing("encoder", times.hearing_seconds, figures.hearing_flops(times.frames), limits),
        _computing("prefill", times.prefill_seconds, figures.text.flops(times.positions, 0, 1), limits),
        Stage(
            name="decoding",
            seconds=times.pass_seconds,
            tera_operations=figures.text.flops(1, times.positions, 1) / 1e12,
            gigabytes=decoding_bytes / 1e9,
            limit="bandwidth",
            share=decoding_bytes / times.pass_seconds / limits.bytes_per_second,
        ),
    )


def _computing(name: str, seconds: float, flops: int, limits: Limits) -> Stage:
    return Stage(
        name=name,
        seconds=seconds,
        tera_operations=flops / 1e12,
        gigabytes=0.0,
        limit="compute",
        share=flops / seconds / limits.flops,
    )
