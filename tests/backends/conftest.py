"""Plans and clips for the backends."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lithophone.backends.base import Backend, Recognition, RecognitionRequest, Samples
from lithophone.backends.batches import recognise
from lithophone.backends.device.facts import TorchFacts, read_torch_facts
from lithophone.backends.device.plan import DevicePlan, DeviceWishes, DtypeRequest, plan_device
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.backends.opening import load_backend, open_backend
from lithophone.backends.transformers_backend.checkpoint import fetch, read_reference

RATE = 16_000


@pytest.fixture(scope="session")
def facts() -> TorchFacts:
    return read_torch_facts()


@pytest.fixture(scope="session")
def plan(facts: TorchFacts) -> DevicePlan:
    return cpu_plan(facts, "float32")


def cpu_plan(facts: TorchFacts, dtype: DtypeRequest) -> DevicePlan:
    """One thread: small matrices on shared machines would only wait for others."""
    return plan_device(facts, DeviceWishes(device="cpu", dtype=dtype, cpu_threads=1))


def opened(name: str, plan: DevicePlan) -> Backend:
    """The backend as the server opens it."""
    with TorchRuntime().thread():
        return load_backend(fetch(read_reference(name)), plan, read_torch_facts())


def started(folder: Path, dtype: DtypeRequest = "float32") -> Backend:
    """The backend as the server starts it: sized, planned, loaded and tried out."""
    wishes = DeviceWishes(device="cpu", dtype=dtype, cpu_threads=1)
    with TorchRuntime().thread():
        backend = open_backend(read_reference(str(folder)), wishes)
        backend.warm_up()
    return backend


def transcribed(backend: Backend, *requests: RecognitionRequest) -> list[Recognition]:
    """Windows together, in the mode of the worker's thread."""
    with TorchRuntime().thread():
        return recognise(backend, requests)


def heard_by(backend: Backend, samples: Samples) -> Recognition:
    """One window alone."""
    return transcribed(backend, RecognitionRequest(samples=samples))[0]


def babble(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise with the rhythm and tilt of speech; what random weights hear in it does not matter."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time + rng.uniform(0, 6))
    voice = sum(np.sin(2 * np.pi * f * time) / f for f in (110, 220, 330, 660, 1320, 2640))
    return ((voice * 40 + rng.normal(0, 0.1, len(time))) * syllables * 0.2).astype(np.float32)
