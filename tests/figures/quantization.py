"""What 8-bit weights cost and save: `python -m tests.figures.quantization`.

Transcribes the clips of `examples/speech` (or of any folder with such a manifest) with the same model twice, as it is and
with `--quantization int8`, and prints word error rate, memory and time of both. Needs torchao.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from examples.train_tiny.evaluate import EvalClip, Tally, plain, samples_of, test_clips, windows
from lithophone.backends.base import Backend, RecognitionRequest
from lithophone.backends.batches import recognise
from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DevicePlan, DeviceWishes, plan_device
from lithophone.backends.opening import load_backend
from lithophone.backends.transformers_backend.checkpoint import fetch, read_reference

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"
BATCH = 8


def transcripts(backend: Backend, clips: Sequence[EvalClip]) -> list[str]:
    """The text of each clip, its windows joined."""
    seconds = backend.info.spec.max_window_seconds
    parts = [[part.astype(np.float32) for part in windows(samples_of(clip.path), seconds)] for clip in clips]
    requests = [RecognitionRequest(samples=part) for own in parts for part in own]
    heard: list[str] = []
    for start in range(0, len(requests), BATCH):
        heard += [found.text for found in recognise(backend, requests[start : start + BATCH])]
    texts = iter(heard)
    return [plain(" ".join(next(texts) for _ in own)) for own in parts]


def measure(model: str, plan: DevicePlan, clips: Sequence[EvalClip]) -> list[str]:
    """Print one way of running the model; returns what it heard."""
    backend = load_backend(fetch(read_reference(model)), plan, read_torch_facts())
    backend.warm_up()
    began = time.process_time()
    texts = transcripts(backend, clips)
    spent = time.process_time() - began
    tally = Tally()
    for clip, text in zip(clips, texts, strict=True):
        tally.add(clip.text, text)
    print(
        f"{plan.quantization:5} {plan.dtype:9} WER {tally}; {backend.info.weight_bytes / 1e6:.1f} MB of weights, "
        f"{spent:.1f} s of processor time"
    )
    backend.close()
    return texts


def main() -> None:
    """Measure both and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="granite-speech-tiny")
    parser.add_argument("--test-set", type=Path, default=SPEECH, help="folder with manifest.jsonl")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    plan = plan_device(
        read_torch_facts(),
        DeviceWishes(device="cpu", dtype=options.dtype, cpu_threads=options.threads),
    )
    clips = list(test_clips(options.test_set))
    print(f"{options.model} on {platform.machine()}, {options.threads} thread(s), {len(clips)} clips")
    with torch.inference_mode():
        before = measure(options.model, plan, clips)
        after = measure(options.model, msgspec.structs.replace(plan, quantization="int8"), clips)
    changed = sum(one != other for one, other in zip(before, after, strict=True))
    print(f"{changed} of {len(clips)} transcripts changed")


if __name__ == "__main__":
    main()
