"""Plans and clips for the backends."""

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from lithophone.backends.base import Backend
from lithophone.backends.device import DevicePlan, TorchFacts, plan_device, read_torch_facts
from lithophone.backends.opening import backend_opener
from lithophone.backends.transformers_backend.checkpoint import read_reference

RATE = 16_000


@pytest.fixture(scope="session")
def facts() -> TorchFacts:
    return read_torch_facts()


@pytest.fixture(scope="session")
def plan(facts: TorchFacts) -> DevicePlan:
    return one_thread(plan_device(facts, "cpu", "float32"))


def one_thread(plan: DevicePlan) -> DevicePlan:
    """Small matrices on shared machines: threads would only wait for each other."""
    return msgspec.structs.replace(plan, cpu_threads=1)


def opened(name: str, plan: DevicePlan) -> Backend:
    """The backend as the server opens it."""
    return backend_opener(read_reference(name), plan, read_torch_facts)()


def babble(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise with the rhythm and tilt of speech; what random weights hear in it does not matter."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time + rng.uniform(0, 6))
    voice = sum(np.sin(2 * np.pi * f * time) / f for f in (110, 220, 330, 660, 1320, 2640))
    return ((voice * 40 + rng.normal(0, 0.1, len(time))) * syllables * 0.2).astype(np.float32)
