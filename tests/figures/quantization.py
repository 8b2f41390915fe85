"""What weights of 8 and 4 bits cost in words: `python -m tests.figures.quantization`.

Transcribes the clips of `examples/speech` (or of any folder with such a manifest) with the same model in float32, in
bfloat16 and quantised, and prints for each the word error rate, how far the mean log-probability of its tokens is from
float32's, how many transcripts changed, memory and processor time. The exit code is 1 if a way costs more than 0.3 points.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from examples.train_tiny.evaluate import EvalClip, Tally, plain, samples_of, test_clips, windows
from lithophone.backends.base import Backend, Recognition, RecognitionRequest
from lithophone.backends.batches import recognise
from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DeviceWishes, DtypeRequest, Quantization, plan_device
from lithophone.backends.opening import load_backend
from lithophone.backends.transformers_backend.checkpoint import fetch, read_reference

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"
BATCH = 8
MOST_POINTS = 0.3
WAYS: tuple[tuple[DtypeRequest, Quantization], ...] = (
    ("float32", "none"),
    ("bfloat16", "none"),
    ("float32", "int8"),
    ("bfloat16", "int8"),
    ("float32", "int4"),
    ("bfloat16", "int4"),
)


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What one way of running a model heard: a text for each clip, and the log-probability of every token."""

    texts: list[str]
    logprobs: list[float]
    word_error_rate: float
    said: str

    @property
    def mean_logprob(self) -> float:
        """Over all tokens."""
        return float(np.mean(self.logprobs))


def recognised(backend: Backend, clips: Sequence[EvalClip]) -> list[list[Recognition]]:
    """The windows of each clip."""
    seconds = backend.info.spec.max_window_seconds
    parts = [[part.astype(np.float32) for part in windows(samples_of(clip.path), seconds)] for clip in clips]
    requests = [RecognitionRequest(samples=part) for own in parts for part in own]
    heard: list[Recognition] = []
    for start in range(0, len(requests), BATCH):
        heard += recognise(backend, requests[start : start + BATCH])
    left = iter(heard)
    return [[next(left) for _ in own] for own in parts]


def measure(model: str, wishes: DeviceWishes, clips: Sequence[EvalClip]) -> Heard:
    """One way of running the model."""
    facts = read_torch_facts()
    backend = load_backend(fetch(read_reference(model)), plan_device(facts, wishes), facts)
    backend.warm_up()
    began = time.process_time()
    found = recognised(backend, clips)
    spent = time.process_time() - began
    texts = [plain(" ".join(window.text for window in own)) for own in found]
    tally = Tally()
    for clip, text in zip(clips, texts, strict=True):
        tally.add(clip.text, text)
    backend.close()
    return Heard(
        texts=texts,
        logprobs=[token.logprob for own in found for window in own for token in window.tokens],
        word_error_rate=100 * tally.wrong / tally.words,
        said=f"{backend.info.weight_bytes / 1e6:5.1f} MB of weights, {spent:5.1f} s of processor time",
    )


def line(dtype: str, mode: str, heard: Heard, reference: Heard) -> str:
    """Of the table."""
    changed = sum(one != other for one, other in zip(heard.texts, reference.texts, strict=True))
    return (
        f"{mode:5} {dtype:9} WER {heard.word_error_rate:.2f} % ({heard.word_error_rate - reference.word_error_rate:+.2f}); "
        f"mean log-probability {heard.mean_logprob:.4f} ({heard.mean_logprob - reference.mean_logprob:+.4f}), least "
        f"{min(heard.logprobs):.1f}; {changed} transcripts changed; {heard.said}"
    )


def main() -> None:
    """Measure all ways and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="granite-speech-tiny")
    parser.add_argument("--test-set", type=Path, default=SPEECH, help="folder with manifest.jsonl")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    clips = list(test_clips(options.test_set))
    print(f"{options.model} on {platform.machine()}, {options.threads} thread(s), {len(clips)} clips")
    reference: Heard | None = None
    too_much: list[Any] = []
    with torch.inference_mode():
        for dtype, mode in WAYS:
            wishes = DeviceWishes(device="cpu", dtype=dtype, quantization=mode, cpu_threads=options.threads)
            heard = measure(options.model, wishes, clips)
            reference = reference or heard
            print(line(dtype, mode, heard, reference), flush=True)
            if heard.word_error_rate - reference.word_error_rate > MOST_POINTS:
                too_much.append((dtype, mode))
    if too_much:
        sys.exit(f"more than {MOST_POINTS} points: {too_much}")


if __name__ == "__main__":
    main()
