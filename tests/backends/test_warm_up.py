"""What a model is tried out with: on a GPU windows of several lengths, each alone, so that libraries have what they need."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lithophone.audio.waveform import seconds_from_samples
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.backends.transformers_backend.warm_up import warm_up_lengths
from tests.backends.conftest import opened


@pytest.mark.parametrize("longest", [8.0, 30.0])
def test_a_gpu_hears_what_windows_may_last(longest: float) -> None:
    lengths = warm_up_lengths("cuda", longest)
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] >= 0.8 * longest
    assert lengths[-1] == 1.0
    assert all(longer <= 2 * shorter for longer, shorter in pairwise(lengths))


@pytest.mark.parametrize("device", ["cpu", "rocm"])
def test_windows_are_heard_one_by_one(
    shape: Callable[[str], Path], plan: DevicePlan, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    backend: Any = opened(str(shape("granite-speech-4.1-2b")), plan)
    monkeypatch.setattr(backend, "_info", msgspec.structs.replace(backend.info, device=device))
    heard: list[list[float]] = []
    hear = backend._model.hear

    def hearing(requests: Any, **rest: Any) -> Any:
        heard.append([seconds_from_samples(len(one.samples)) for one in requests])
        return hear(requests, **rest)

    monkeypatch.setattr(backend._model, "hear", hearing)
    with TorchRuntime().thread():
        backend.warm_up()
    windows = [one for one, _ in groupby(filter(None, heard))]  # one whose ties are settled is heard again
    assert windows == [[seconds] for seconds in warm_up_lengths(device, 30.0)]
