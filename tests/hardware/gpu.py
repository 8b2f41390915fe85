"""What holds on this GPU, on one page: `make test-gpu`, or without an environment of its own

    PYTHONPATH=server:clients python -m tests.hardware.gpu --clips FOLDER

Needs torch that sees a GPU and what the server imports, no network and no ffmpeg. Texts are compared on clips: 16 kHz mono
WAV files in FOLDER, or else the examples in this project, for which soundfile must be installed. Everything after that is on
random weights of the published shapes. `--device cpu` tries the script itself, with the embedded model in place of those.
"""

from __future__ import annotations

import argparse
import gc
import mmap
import sys
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.backends.base import Backend, Fault, RecognitionRequest, Samples
from lithophone.backends.batches import recognise
from lithophone.backends.decoding.loop import DecodingBatch, Prompt
from lithophone.backends.decoding.packed import transformers_attention
from lithophone.backends.decoding.passes import Part
from lithophone.backends.decoding.speculation import Source, Speculator
from lithophone.backends.device.apply import apply_plan
from lithophone.backends.device.facts import TorchFacts, read_torch_facts
from lithophone.backends.device.plan import DevicePlan, DeviceWishes, plan_device
from lithophone.backends.device.runtime import TorchRuntime, release_memory
from lithophone.backends.gpu.passes import PagedLanguageModel
from lithophone.backends.memory.estimate import estimate_memory
from lithophone.backends.opening import load_backend
from lithophone.backends.transformers_backend.checkpoint import fetch, read_reference
from lithophone.backends.transformers_backend.speech import SpeechBatch
from lithophone.backends.transformers_backend.speech_model import SpeechModel
from lithophone.backends.transformers_backend.warm_up import try_out, warm_up_lengths
from lithophone.bench.ways import SimulatedDraft, corrupted
from lithophone.bench.weights import family_config, random_model, random_processor
from lithophone.granite.family import FAMILY
from tests.hardware.page import Page

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "speech"
SHAPES = ("granite-speech-3.3-2b", "granite-speech-4.1-2b")
BATCHES = (1, 8, 32, 64)
WINDOW_SECONDS = 30.0
TOKENS = 100
STEPS = 20
ACCURACY = 0.95
CYCLES = 50
MOST_KERNELS = 10
MOST_SECONDS = 330.0
LENGTHS = 40
NEW_LENGTHS_SECONDS = (23.457, 11.213)


def main() -> int:
    """Print the page; the exit code says whether something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, help="a folder of 16 kHz mono WAV files")
    parser.add_argument("--device", default="cuda", choices=["cuda", "rocm", "cpu"])
    parser.add_argument("--only", default="", help="sections whose title has this in it")
    parser.add_argument(
        "--endured-seconds", type=float, default=30.0, help="of batch after batch, of each shape"
    )
    parser.add_argument("--most-seconds", type=float, default=MOST_SECONDS)
    options = parser.parse_args()
    page = Page(options.most_seconds, only=options.only)
    run = HardwareRun(page, options.device, clips_of(options.clips), options.endured_seconds)
    with TorchRuntime().thread():
        run.everything()
    return page.end()


def clips_of(folder: Path | None) -> list[Samples]:
    """The clips of a folder, or the examples."""
    if folder is not None:
        return [_read_wav(path) for path in sorted(folder.glob("*.wav"))]
    import soundfile  # noqa: PLC0415 - a machine with a folder does without

    paths = [path for path in sorted(EXAMPLES.iterdir()) if path.suffix in {".ogg", ".flac"}]
    return [np.asarray(soundfile.read(path, dtype="float32")[0], np.float32) for path in paths]


def _read_wav(path: Path) -> Samples:
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return (pcm / 32768).astype(np.float32)


class HardwareRun:
    """The sections, and what they share."""

    def __init__(self, page: Page, device: Any, clips: Sequence[Samples], endured_seconds: float) -> None:
        self.page = page
        self.endured_seconds = endured_seconds
        self.device = device
        self.on_gpu = device != "cpu"
        self.clips = clips
        self.facts: TorchFacts = read_torch_facts()
        self.bandwidth_bytes = 0.0

    def everything(self) -> None:
        """All sections, the ones that matter most first."""
        self.page.section("Machine", self.machine)
        for model in ("granite-speech-tiny", "granite-speech-tiny-ctc"):
            self.page.section(f"{model}: texts against float32 on the CPU", lambda m=model: self.texts(m))
        for shape in SHAPES if self.on_gpu else ("granite-speech-tiny",):
            self.page.section(f"{shape}: shape, random weights, bfloat16", lambda s=shape: self.shape(s))
        self.page.section("Memory runs out, and comes back", self.out_of_memory)
        self.page.section(f"{CYCLES} cycles of load and unload", self.cycles)

    def plan(self, dtype: Any, device: Any = None, *, graphs: bool = True) -> DevicePlan:
        wishes = DeviceWishes(device=device or self.device, dtype=dtype, graphs="auto" if graphs else "off")
        return plan_device(self.facts, wishes)

    def opened(self, model: str, plan: DevicePlan) -> Backend:
        backend = load_backend(fetch(read_reference(model)), plan, self.facts)
        backend.warm_up()
        return backend

    def machine(self) -> None:
        """Names, versions, and the bandwidth that a copy within the device's memory reaches."""
        say = self.page.say
        say(f"torch {torch.__version__}, CUDA {torch.version.cuda}, HIP {torch.version.hip}, {sys.version}")
        say(f"{len(self.clips)} clips, {sum(map(len, self.clips)) / SAMPLE_RATE:.0f} s")
        if not self.on_gpu:
            return
        say(f"{torch.cuda.get_device_name(0)}, free and total bytes {torch.cuda.mem_get_info(0)}")
        source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        seconds = timed(lambda: target.copy_(source), 20)
        self.bandwidth_bytes = 2 * source.nbytes / seconds
        say(f"copies {self.bandwidth_bytes / 1e9:.0f} GB/s, read and written")

    def texts(self, model: str) -> None:
        """How many clips are heard differently, alone and in company."""
        expected = self.heard(model, self.plan("float32", "cpu"), 1)
        rows: list[tuple[object, ...]] = []
        for dtype in ("float32", "float16", "bfloat16"):
            for batch in (1, 16):
                began = time.perf_counter()
                found = self.heard(model, self.plan(dtype), batch)
                seconds = time.perf_counter() - began
                differing = sum(one != other for one, other in zip(found, expected, strict=True))
                rows.append((dtype, batch, f"{differing} of {len(expected)}", seconds))
                if dtype == "float32" and differing:
                    self.page.failed.append(f"{model} in float32 at batch {batch}")
        self.page.table(("dtype", "batch", "texts that differ", "seconds, loading too"), rows)

    def heard(self, model: str, plan: DevicePlan, batch: int) -> list[str]:
        backend = self.opened(model, plan)
        texts: list[str] = []
        for start in range(0, len(self.clips), batch):
            requests = [RecognitionRequest(samples=clip) for clip in self.clips[start : start + batch]]
            texts += [recognition.text for recognition in recognise(backend, requests)]
        backend.close()
        return texts

    def shape(self, name: str) -> None:
        """Everything that costs something, on a model of full size."""
        with self.full_size(name, graphs=True) as (model, processor, raw):
            ShapeRun(self, name, model, raw).everything(processor)

    @contextmanager
    def full_size(self, name: str, *, graphs: bool) -> Iterator[tuple[SpeechModel, Any, Any]]:
        spec = FAMILY[name]
        plan = self.plan("bfloat16" if self.on_gpu else "float32", graphs=graphs)
        apply_plan(plan)
        began = time.perf_counter()
        if self.on_gpu:
            config: Any = family_config(spec)
            raw: Any = confident(random_model(spec, config, plan))
            processor = random_processor(spec, config)
            model = SpeechModel(spec, raw, processor, plan, windows=max(BATCHES), speculate=False)
        else:
            backend: Any = self.opened(name, plan)
            model, raw, processor = backend._model, backend._model._model, None
        self.page.say(f"made in {time.perf_counter() - began:.1f} s")
        try:
            yield model, processor, raw
        finally:
            del model, raw
            release_memory()

    def out_of_memory(self) -> None:
        """A batch for which there is no room is judged as such, and the same model goes on afterwards."""
        if not self.on_gpu:
            self.page.say("not on a CPU")
            return
        backend = self.opened("granite-speech-tiny", self.plan("float32"))
        requests = [RecognitionRequest(samples=clip) for clip in self.clips[:8]]
        expected = [one.text for one in recognise(backend, requests)]
        release_memory()
        ballast: list[Any] = []
        size = 1 << 30
        while size >= 1 << 20:
            try:
                ballast.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
            except torch.OutOfMemoryError:
                size //= 2
        long = np.tile(np.concatenate(self.clips), 20)[: round(WINDOW_SECONDS * SAMPLE_RATE)]
        judged = "fitted all the same"
        try:
            recognise(backend, [RecognitionRequest(samples=long)] * 16)
        except RuntimeError as error:
            judged = TorchRuntime().judge(error).value
        self.page.say(f"with {sum(part.nbytes for part in ballast) / 1e9:.1f} GB taken: {judged}")
        if judged not in {Fault.OUT_OF_MEMORY.value, "fitted all the same"}:
            self.page.failed.append("out of memory is not judged as such")
        del ballast
        TorchRuntime().trim()
        after = [one.text for one in recognise(backend, requests)]
        self.page.say(f"the same texts afterwards: {after == expected}")
        if after != expected:
            self.page.failed.append("texts after out of memory")
        backend.close()

    def cycles(self) -> None:
        """Memory that loading and unloading again and again leaves behind; every fifth time with graphs."""
        held: list[int] = []
        for cycle in range(CYCLES):
            backend = self.opened("granite-speech-tiny", self.plan("float32", graphs=cycle % 5 == 0))
            recognise(backend, [RecognitionRequest(samples=self.clips[0])])
            backend.close()
            del backend
            gc.collect()
            held.append(torch.cuda.memory_allocated() if self.on_gpu else 0)
        self.page.say(f"bytes held after the first, the tenth and the last: {held[0]}, {held[9]}, {held[-1]}")
        if held[-1] > held[9]:
            self.page.failed.append("memory grows with loads")


class ShapeRun:
    """What one model of full size costs."""

    def __init__(self, run: HardwareRun, name: str, model: SpeechModel, raw: Any) -> None:
        self.run, self.page, self.name = run, run.page, name
        self.model, self.raw = model, raw
        self.steps_taken: list[tuple[int, float]] = []
        rng = np.random.default_rng(0)
        noise = rng.normal(0.0, 0.05, round(WINDOW_SECONDS * SAMPLE_RATE))
        self.request = RecognitionRequest(samples=noise.astype(np.float32))
        self.language_model: Any = model._language_model
        self.weights_bytes = sum(weight.nbytes for weight in raw.model.language_model.parameters())

    def everything(self, processor: Any) -> None:
        say = self.page.say
        say(f"decoder: {type(self.language_model).__name__}, {self.weights_bytes / 1e9:.2f} GB of layers")
        began = time.perf_counter()
        self.model.prepare()
        if self.run.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        say(f"prepared in {time.perf_counter() - began:.1f} s (kernels compiled, graphs captured)")
        if processor is not None:
            began = time.perf_counter()
            lengths = warm_up_lengths("cuda", WINDOW_SECONDS)
            try_out(SpeechBatch(self.model, settle_ties=False, revise=two_tokens), self.name, lengths)
            say(f"windows of {lengths} s heard in {time.perf_counter() - began:.1f} s")
        parts: list[tuple[str, Callable[[], None]]] = [
            ("steps", self.steps),
            ("kernels of a step", self.kernels),
            ("passes with drafts", self.drafted_passes),
            ("hearing", self.acoustics),
            ("one window by stages", self.stages),
            ("whole windows", self.whole_windows),
        ]
        if self.run.on_gpu:
            parts += [
                ("memory", self.memory),
                ("what takes the time", self.profiles),
                ("a new length, on the host", self.on_the_host),
            ]
        parts.append((f"{self.run.endured_seconds:.0f} s of windows of all lengths", self.endure))
        if processor is not None:
            parts.append(("against transformers", self.generate))
        for title, act in parts:
            self.page.section(f"{self.name}: {title}", act, level=3)

    def acoustics(self) -> None:
        """Encoder and projector, from samples on the host to embeddings on the device."""
        rows: list[tuple[object, ...]] = []
        for windows in (1, 4, 16):
            seconds = timed(lambda n=windows: self.model.hear([self.request] * n), 3)
            rows.append((windows, seconds * 1e3, windows * WINDOW_SECONDS / seconds))
        self.page.table(("windows heard", "ms", "times real time"), rows)

    def steps(self) -> None:
        """A step of decoding without drafts against the time that reading the weights takes."""
        (window,) = self.model.hear([self.request])
        self.decoding(window, 1, 2, self.model.start_decoding(settle_ties=False)).step()  # libraries choose
        floor = self.weights_bytes / self.run.bandwidth_bytes if self.run.bandwidth_bytes else 0.0
        rows: list[tuple[object, ...]] = []
        for batch in BATCHES if self.run.on_gpu else (1, 8):
            batched = self.decoding(window, batch, STEPS + 2, self.model.start_decoding(settle_ties=False))
            marks = [time.perf_counter()]
            for _ in range(STEPS + 1):
                batched.step()
                marks.append(time.perf_counter())
            times = [after - before for before, after in pairwise(marks)]
            step = median(times[1:])
            rows.append((batch, times[0] * 1e3, step * 1e3, step / floor if floor else 0.0))
        self.page.table(("batch", "prefill ms", "step ms (median of 20)", "times bytes over bandwidth"), rows)

    def decoding(self, window: Any, batch: int, tokens: int, into: DecodingBatch) -> DecodingBatch:
        prompt = self.model.sequence(0, window, speculate=False)
        into.admit(
            [
                msgspec.structs.replace(prompt, key=key, max_tokens=tokens, min_tokens=0, speculator=None)
                for key in range(batch)
            ]
        )
        return into

    def kernels(self) -> None:
        """Of an eager step, by the profiler: the pretended device in the tests counts six a layer and some around."""
        if not self.run.on_gpu or not isinstance(self.language_model, PagedLanguageModel):
            return
        depth = self.language_model.decoder.depth
        with started_one_by_one(self.language_model):
            for sequences, drafted in ((1, 0), (1, 24), (64, 0), (64, 16)):
                self.page.say(
                    f"\n{sequences} sequences, {drafted} tokens drafted for each, {depth} layers:\n"
                )
                with self.a_pass(sequences, drafted) as act:
                    self.profiled(act)

    def drafted_passes(self) -> None:
        """What a pass costs by its sequences and the tokens drafted for each."""
        rows: list[tuple[object, ...]] = []
        for sequences in (1, 8, 64) if self.run.on_gpu else (1, 8):
            for drafted in (0, 1, 3, 7, 15, 31):
                with self.a_pass(sequences, drafted) as act:
                    seconds = timed(act, 5)
                rows.append((sequences, drafted, sequences * (1 + drafted), seconds * 1e3))
        self.page.table(("sequences", "drafted for each", "tokens", "ms"), rows)

    @contextmanager
    def a_pass(self, sequences: int, drafted: int) -> Iterator[Callable[[], object]]:
        """A pass over sequences that have begun, which can be run again and again."""
        (window,) = self.model.hear([self.request])
        prompt: Any = self.model.sequence(0, window, speculate=False).embeddings
        passes = self.language_model.start(frozenset(), settle_ties=False)
        slots = [passes.join(len(prompt) + 64) for _ in range(sequences)]
        for some in range(0, sequences, 8):
            passes.run(
                [
                    Part(slot=slot, cached=0, prompt=prompt, tokens=(), drafted=0)
                    for slot in slots[some : some + 8]
                ]
            )
        tokens = [1] * (1 + drafted)
        parts = [
            Part(slot=slot, cached=len(prompt), prompt=None, tokens=tokens, drafted=drafted) for slot in slots
        ]
        passes.run(parts)
        try:
            yield lambda: passes.run(parts)
        finally:
            for slot in slots:
                passes.leave(slot)

    def profiled(self, act: Callable[[], object]) -> None:
        """The kernels that take the most time."""
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
            act()
            torch.cuda.synchronize()
        events = [event for event in found.events() or [] if str(event.device_type).endswith("CUDA")]
        times: dict[str, list[float]] = {}
        for event in events:
            times.setdefault(event.name, []).append(event.time_range.elapsed_us())
        most = sorted(times.items(), key=lambda item: -sum(item[1]))
        copies = sum(len(taken) for name, taken in most if "memcpy" in name.lower())
        busy = sum(map(sum, times.values()))
        self.page.say(f"{len(events) - copies} kernels and {copies} copies, {busy:.0f} us in all\n")
        rows = [(name[:70].replace("|", " "), len(taken), sum(taken)) for name, taken in most[:MOST_KERNELS]]
        self.page.table(("kernel", "times", "us"), list[tuple[object, ...]](rows))

    def profiles(self) -> None:
        """Of a prompt of sixteen windows, and of hearing them."""
        self.page.say("hearing 16 windows:\n")
        self.profiled(lambda: self.model.hear([self.request] * 16))
        (window,) = self.model.hear([self.request])
        self.page.say("\nprompts of 16 windows:\n")
        batched = self.decoding(window, 16, 8, self.model.start_decoding(settle_ties=False))
        self.profiled(batched.step)

    def whole_windows(self) -> None:
        """From samples to tokens: plain, and with drafts of a stated accuracy."""
        said = self.decoded([None])[0]
        vocabulary = int(self.raw.config.text_config.vocab_size)
        drafts = [corrupted(said, ACCURACY, vocabulary, seed) for seed in range(max(BATCHES))]
        rows: list[tuple[object, ...]] = []
        for batch in BATCHES if self.run.on_gpu else (1, 8):
            for what, chosen in (("plain", [None] * batch), ("95 % drafts", drafts[:batch])):
                self.decoded(chosen)  # teaches what passes cost
                began = time.perf_counter()
                self.decoded(chosen)
                seconds = time.perf_counter() - began
                rows.append(
                    (
                        batch,
                        what,
                        len(self.steps_taken),
                        seconds * 1e3,
                        batch * WINDOW_SECONDS / seconds,
                    )
                )
        heads = (
            "windows",
            "decoding",
            "steps",
            f"ms to {TOKENS} tokens each",
            "times real time",
        )
        self.page.table(heads, rows)
        self.page.say("\nthe last row's steps, tokens and ms: " + "; ".join(map(_step, self.steps_taken)))

    def stages(self) -> None:
        """One window after another of lengths not seen before, from its samples to the last of its tokens."""
        said = self.decoded([None])[0]
        draft = corrupted(said, ACCURACY, int(self.raw.config.text_config.vocab_size), 0)
        rows: list[tuple[object, ...]] = []
        for seconds in (30.0, 30.0, 29.0, 28.0, 27.0):
            times = self.staged(seconds, draft)
            steps = ", ".join(f"{one:.1f}" for one in times[2:])
            rows.append((seconds, times[0], times[1], steps, sum(times)))
        self.page.table(("seconds", "hear ms", "prompt ms", "passes ms", "in all ms"), rows)
        lengths = np.random.default_rng(0).permutation(np.linspace(1.03, 26.93, LENGTHS)).tolist()
        times = [(seconds, *self.staged(seconds, draft)) for seconds in lengths]
        self.page.say("\nothers, one after another: seconds, ms to hear, in the first pass and in all: ")
        self.page.say(
            "; ".join(f"{one[0]:.1f} {one[1]:.0f} {one[3]:.0f} {sum(one[1:]):.0f}" for one in times)
        )

    def staged(self, seconds: float, draft: Sequence[int]) -> list[float]:
        """Milliseconds of hearing so much, of making its prompt, and of each pass."""
        marks = [time.perf_counter()]
        samples = self.request.samples[: round(seconds * SAMPLE_RATE)]
        (window,) = self.model.hear([RecognitionRequest(samples=samples)])
        marks.append(time.perf_counter())
        batch = self.model.start_decoding(settle_ties=False)
        prompt = self.model.sequence(0, window, speculate=False)
        speculator = Speculator([Source(SimulatedDraft(draft), ACCURACY)])
        marks.append(time.perf_counter())
        batch.admit([msgspec.structs.replace(prompt, max_tokens=TOKENS, speculator=speculator)])
        while len(batch):
            batch.step()
            marks.append(time.perf_counter())
        return [(after - before) * 1e3 for before, after in pairwise(marks)]

    def on_the_host(self) -> None:
        """What takes the host's time when a window comes that is as long as none before."""
        for seconds in NEW_LENGTHS_SECONDS:
            with profile(activities=[ProfilerActivity.CPU]) as found:
                self.staged(seconds, [1] * TOKENS)
            most = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)[:MOST_KERNELS]
            self.page.say(f"\n{seconds} s:\n")
            rows = [(one.key[:60], one.count, one.self_cpu_time_total / 1e3) for one in most]
            self.page.table(("operation", "times", "ms"), list[tuple[object, ...]](rows))

    def decoded(
        self, drafts: Sequence[Sequence[int] | None], requests: Sequence[RecognitionRequest] | None = None
    ) -> list[list[int]]:
        """Windows heard and decoded to `TOKENS` tokens each, by the server's batch, without what makes answers of them."""

        def revised(key: int, prompt: Prompt) -> Prompt:
            draft = drafts[key]
            speculator = None if draft is None else Speculator([Source(SimulatedDraft(draft), ACCURACY)])
            return msgspec.structs.replace(prompt, max_tokens=TOKENS, speculator=speculator)

        batch = SpeechBatch(self.model, revise=revised, settle_ties=False)
        for key, request in enumerate(requests or [self.request] * len(drafts)):
            batch.admit(key, request)
        together, _ = batch.decoding
        answers: dict[int, Any] = {}
        self.steps_taken = []
        while len(batch):
            before, began = together.positions, time.perf_counter()
            answers |= dict(batch.step())
            self.steps_taken.append((together.positions - before, time.perf_counter() - began))
        return [list(answers[key].make.args[0].decoded.tokens) for key in range(len(drafts))]

    def endure(self) -> None:
        """What torch and the process hold as batch follows batch, of other lengths and with other drafts each time."""
        rng = np.random.default_rng(1)
        said = self.decoded([None])[0]
        vocabulary = int(self.raw.config.text_config.vocab_size)
        began = told = time.perf_counter()
        rows: list[tuple[object, ...]] = []
        windows, audio_seconds = 0, 0.0
        while (now := time.perf_counter()) < began + self.run.endured_seconds:
            if not rows or now - told >= self.run.endured_seconds / 6:
                told = now
                held = (torch.cuda.memory_allocated(), torch.cuda.memory_reserved(), resident_bytes())
                rows.append((now - began, windows, *(part / 1e6 for part in held)))
            lengths = rng.uniform(1.0, WINDOW_SECONDS, int(rng.integers(1, max(BATCHES) + 1)))
            requests = [
                RecognitionRequest(samples=self.request.samples[: round(length * SAMPLE_RATE)])
                for length in lengths
            ]
            drafts = [corrupted(said, ACCURACY, vocabulary, seed) for seed in range(len(requests))]
            self.decoded(drafts, requests)
            windows += len(requests)
            audio_seconds += lengths.sum()
        self.page.table(
            ("second", "windows so far", "MB allocated", "MB reserved", "MB of the process"), rows
        )
        self.page.say(f"\n{audio_seconds / (time.perf_counter() - began):.0f} times real time")

    def generate(self) -> None:
        """transformers' `generate` on the same weights, from embeddings that were heard: its language model alone."""
        (window,) = self.model.hear([self.request])
        embeddings: Any = self.model.sequence(0, window, speculate=False).embeddings
        limits = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False}
        with transformers_attention(self.raw):
            self.raw.generate(inputs_embeds=embeddings.unsqueeze(0), max_new_tokens=2)
            seconds = timed(lambda: self.raw.generate(inputs_embeds=embeddings.unsqueeze(0), **limits), 1)
        ours = timed(lambda: self.alone(window), 1)
        self.page.say(
            f"batch 1, {TOKENS} tokens without drafts: transformers' generate {seconds:.3f} s, ours {ours:.3f} s, "
            f"{seconds / ours:.1f} times as fast"
        )

    def alone(self, window: Any) -> None:
        batch = self.decoding(window, 1, TOKENS, self.model.start_decoding(settle_ties=False))
        while len(batch):
            batch.step()

    def memory(self) -> None:
        """What torch holds against what was estimated for so many windows."""
        estimate = estimate_memory(self.raw.config, batch=max(BATCHES))["bfloat16"]
        held, peak = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
        pool = getattr(getattr(self.language_model, "decoder", None), "pool_bytes", 0)
        self.page.say(
            f"GB held {held / 1e9:.2f}, at most {peak / 1e9:.2f}, of which pages {pool / 1e9:.2f}; "
            f"estimated for {max(BATCHES)} windows {estimate.required_bytes / 1e9:.2f}"
        )


@contextmanager
def started_one_by_one(language_model: PagedLanguageModel) -> Iterator[None]:
    """Kernels of a step by their names, which a graph hides."""
    graphs, language_model.graphs = language_model.graphs, None
    try:
        yield
    finally:
        language_model.graphs = graphs


def two_tokens(_: int, prompt: Prompt) -> Prompt:
    """The pass over the prompt and one more."""
    return msgspec.structs.replace(prompt, max_tokens=2)


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


def _step(tokens_and_seconds: tuple[int, float]) -> str:
    tokens, seconds = tokens_and_seconds
    return f"{tokens} {seconds * 1e3:.1f}"


def confident(raw: Any) -> Any:
    """A random model that is sure of what comes next, as a trained one is: each token is followed by its neighbour.

    Among random weights the best logits are so close that rounding chooses, and a draft is never right for long.
    """
    embedding = raw.model.language_model.embed_tokens.weight
    embedding.data.mul_(20)
    raw.lm_head.weight = torch.nn.Parameter(embedding.data.roll(1, dims=0), requires_grad=False)
    return raw


def timed(act: Callable[[], object], times: int) -> float:
    """Seconds of one call, the median of some after one that is not counted; the device has finished each."""
    taken: list[float] = []
    for _ in range(times + 1):
        began = time.perf_counter()
        act()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return median(taken[1:])


if __name__ == "__main__":
    sys.exit(main())
