"""How soon a server with a large model is gone: `python -m tests.figures.ends FOLDER`.

Writes a model of the published shape with random weights into FOLDER, unless there is one, serves it, and ends the
server while the model is loading, while it is warming up and while it decodes: by Ctrl-C, by SIGTERM (which lets what is
decoded finish, for so long as the grace allows: here, a second), and by killing the server's own process. Told are the
seconds until every process is gone.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import psutil
import torch
from safetensors.torch import save_file

from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DeviceWishes, plan_device
from lithophone.bench.weights import family_config, random_model, random_processor
from lithophone.granite.family import FAMILY

CLIP: Final = Path(__file__).resolve().parents[2] / "examples" / "speech" / "demo.flac"
PHASES: Final = {"loading": "model_loading", "warming up": "model_warming_up", "decoding": "model_ready"}
SIGNALS: Final = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM, "a killed server": signal.SIGKILL}
INTO_PHASE_SECONDS: Final = 1.5
MOST_SECONDS: Final = 120.0
WANTED_SECONDS: Final = 3.0
ADAPTER_RANK: Final = 64
ADAPTER_SCALE: Final = 1e-3


class _LogLine(msgspec.Struct, frozen=True):
    event: str


class Watched:
    """A server, its workers and the phases it says it enters."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._seen: set[str] = set()
        self._news = threading.Condition()
        self.url = ""
        threading.Thread(target=self._read_log, daemon=True).start()
        threading.Thread(target=self._read_url, daemon=True).start()

    def wait_for(self, event: str) -> None:
        """Until the log has it."""
        with self._news:
            if not self._news.wait_for(lambda: event in self._seen, MOST_SECONDS):
                raise TimeoutError(event)

    def family(self) -> list[psutil.Process]:
        """The process and all its children."""
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]

    def _read_log(self) -> None:
        for line in self.process.stderr or ():
            try:
                event = msgspec.json.decode(line, type=_LogLine).event
            except msgspec.DecodeError:
                continue
            with self._news:
                self._seen.add(event)
                self._news.notify_all()

    def _read_url(self) -> None:
        for line in self.process.stdout or ():
            self.url = self.url or next((word for word in line.split() if word.startswith("http")), "")


@contextmanager
def watched(folder: Path, dtype: str) -> Iterator[Watched]:
    """A server of the model in the folder; whatever is left of it at the end is killed."""
    command = [sys.executable, "-m", "lithophone", "serve", "--port", "0", "--model", str(folder)]
    with subprocess.Popen(
        [*command, "--dtype", dtype, "--log-format", "json", "--shutdown-grace-seconds", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as process:
        server = Watched(process)
        try:
            yield server
        finally:
            process.kill()


def seconds_until_gone(server: Watched, phase: str, sign: signal.Signals) -> float:
    """End a server in a phase; returns how long it, its workers and its decoders took to be gone."""
    server.wait_for(PHASES[phase])
    time.sleep(INTO_PHASE_SECONDS)
    if phase == "decoding":
        threading.Thread(target=ask, args=(server.url,), daemon=True).start()
        time.sleep(INTO_PHASE_SECONDS)
    family = server.family()
    began = time.monotonic()
    server.process.send_signal(sign)
    while any(alive(one) for one in family):
        server.process.poll()
        if time.monotonic() - began > MOST_SECONDS:
            raise TimeoutError(", ".join(one.name() for one in family if alive(one)))
        time.sleep(0.01)
    return time.monotonic() - began


def alive(process: psutil.Process) -> bool:
    """Whether it still runs."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ask(url: str) -> None:
    """A request that will not be answered."""
    try:
        httpx.post(
            f"{url}/v1/audio/transcriptions",
            data={"model": "whisper-1"},
            files={"file": (CLIP.name, CLIP.read_bytes())},
            timeout=MOST_SECONDS,
        )
    except httpx.HTTPError:
        return


def write_model(folder: Path, model_id: str) -> None:
    """A model of a published shape with random weights, laid out as it is published.

    Shards of 2 GB with an index, and for the 3.3 models an adapter of rank 64 beside them, whose names carry no prefix.
    """
    spec = FAMILY[model_id]
    config = family_config(spec)
    plan = plan_device(read_torch_facts(), DeviceWishes(device="cpu", dtype="bfloat16"))
    model = random_model(spec, config, plan)
    if spec.lora:
        model.config.has_lora_adapter = True
    model.save_pretrained(folder, max_shard_size="2GB")
    random_processor(spec, config).tokenizer.save_pretrained(folder)
    if spec.lora:
        write_adapter(folder, config.text_config)


def write_adapter(folder: Path, text: Any) -> None:
    """A LoRA on the queries and values of every layer, as small as one that was trained for long is not."""
    generator = torch.Generator().manual_seed(1)
    head = text.hidden_size // text.num_attention_heads
    rows = {"q_proj": text.hidden_size, "v_proj": text.num_key_value_heads * head}
    tensors: dict[str, torch.Tensor] = {}
    for layer in range(text.num_hidden_layers):
        for target, size in rows.items():
            name = f"language_model.model.layers.{layer}.self_attn.{target}"
            down = torch.randn(ADAPTER_RANK, text.hidden_size, generator=generator)
            up = torch.randn(size, ADAPTER_RANK, generator=generator)
            tensors[f"{name}.lora_A.weight"] = (ADAPTER_SCALE * down).to(torch.bfloat16)
            tensors[f"{name}.lora_B.weight"] = (ADAPTER_SCALE * up).to(torch.bfloat16)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    adapter = {"peft_type": "LORA", "r": ADAPTER_RANK, "lora_alpha": 32, "target_modules": sorted(rows)}
    (folder / "adapter_config.json").write_bytes(msgspec.json.encode(adapter))


def main() -> int:
    """Run and print; exit code 1 where something took longer than wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="granite-speech-3.3-2b")
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a background job would hand down that it is ignored
    if not (options.folder / "config.json").exists():
        write_model(options.folder, options.model)
    slowest = 0.0
    for name, sign in SIGNALS.items():
        for phase in PHASES:
            with watched(options.folder, options.dtype) as server:
                took = seconds_until_gone(server, phase, sign)
            slowest = max(slowest, took)
            print(f"{name} while {phase}: gone after {took:.2f} s", flush=True)
    return 0 if slowest <= WANTED_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
