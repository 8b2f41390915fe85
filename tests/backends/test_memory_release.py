"""Unloading gives the memory back to the system, measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

from tests.shapes import write_speech_4

SCRIPT = """
import sys
import msgspec
import psutil
from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DeviceWishes, plan_device
from lithophone.backends.heap import keep_freed_pages
from lithophone.backends.opening import load_backend
from lithophone.backends.transformers_backend.checkpoint import fetch, read_reference

keep_freed_pages()
resident = lambda: psutil.Process().memory_info().rss
facts = read_torch_facts()
plan = plan_device(facts, DeviceWishes(device="cpu", dtype="float32", cpu_threads=1))
opened = lambda name: load_backend(fetch(read_reference(name)), plan, facts)
warm = opened("granite-speech-tiny")  # so that libraries and thread pools are there before the measurement
warm.warm_up()
warm.close()
before = resident()
backend = opened(sys.argv[1])
backend.warm_up()
loaded, weights = resident(), backend.info.weight_bytes
backend.close()
del backend
print(before, loaded, resident(), weights)
"""


def test_unloading_gives_the_weights_back(tmp_path: Path) -> None:
    folder = write_speech_4(tmp_path / "granite-speech-4.1-2b", text_hidden=1536)  # libraries keep some 15 MB
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    before, loaded, after, weights = map(int, done.stdout.split())
    assert weights > 250e6
    assert loaded - before > 0.9 * weights
    assert after - before < 0.1 * weights
