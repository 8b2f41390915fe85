"""What the start of a server with a large model takes: `python -m tests.figures.start_up FOLDER`.

Writes a model of the published shape with random weights into FOLDER, unless there is one, and serves it. Told are the seconds
until it answers, those of the warm-up, the most anonymous memory of the model's process until then (weights in files are
mapped, and are the system's to drop), that at rest, a first request against the second, and what is left after unloading.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path
from typing import Final

import psutil

from lithophone.verify.door import Door
from tests.figures.ends import CLIP, write_model

LOOK_SECONDS: Final = 0.2


class Watch:
    """The most anonymous memory that the children of this process took, all together."""

    def __init__(self) -> None:
        self.most_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            self.most_bytes = max(self.most_bytes, anonymous_bytes())


def anonymous_bytes() -> int:
    """Of the server and its workers: what is in memory and in no file."""
    return sum(_anonymous(child) for child in psutil.Process().children(recursive=True))


def _anonymous(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0
    return int(memory.rss - memory.shared)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="granite-speech-3.3-2b")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--quantization", default="none")
    parser.add_argument("--clip", type=Path, default=CLIP)
    options = parser.parse_args()
    if not (options.folder / "config.json").exists():
        write_model(options.folder, options.model)
    weights = sum(file.stat().st_size for file in options.folder.glob("*.safetensors"))
    watch, began = Watch(), time.monotonic()
    flags = ["--model", str(options.folder), "--device", "cpu", "--dtype", options.dtype]
    with Door([*flags, "--quantization", options.quantization]) as door:
        ready, served = time.monotonic() - began, door.served()
        watch.end()
        print(
            f"ready after {ready:.1f} s: loaded in {served.load_seconds:.1f} s, warm in {served.warm_up_seconds:.1f} s"
        )
        print(
            f"anonymous memory at most {watch.most_bytes / 1e9:.2f} GB, at rest {anonymous_bytes() / 1e9:.2f}, "
            f"weights in files {weights / 1e9:.2f} GB",
            flush=True,
        )
        watch = Watch()
        seconds = [door.transcribe(options.clip, "whisper-1")[1] for _ in range(2)]
        watch.end()
        print(f"anonymous memory at most {watch.most_bytes / 1e9:.2f} GB while it answers")
        print(
            f"first request {seconds[0]:.1f} s, second {seconds[1]:.1f} s: {seconds[0] / seconds[1]:.2f} times"
        )
        door.unload("whisper-1")
        print(f"anonymous memory after unloading {anonymous_bytes() / 1e9:.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
