"""The training corpus: sentences spoken by many voices, stored as log-mel spectra in memory-mapped shards.

Owns the shard layout (`<name>.mel`, float16 [frames, 80] of log10 mel power every 10 ms, and `<name>.jsonl`, one object per
clip) and the table of human speech. Knows nothing of batches or models.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import torch

from lithophone.granite import features

from .grammar import sentences as domain_sentences
from .voices import (
    SAMPLE_RATE,
    Espeak,
    Speech,
    random_espeak,
    random_flite,
    random_pico,
    random_rhvoice,
    resample,
    with_speed,
)

HELD_OUT_SPEAKERS = 10
HUMAN_SPEEDS = (0.85, 0.92, 1.0, 1.08, 1.16)
LOUDNESS = (0.03, 0.2)  # root mean square of a clip


@dataclass(frozen=True)
class Clip:
    """One clip of a shard; `words` are (start, end) seconds, None where the synthesiser does not tell."""

    text: str
    voice: str
    source: str
    offset: int
    frames: int
    words: list[tuple[float, float]] | None = None


@dataclass(frozen=True)
class HumanClip:
    """A recording of a person."""

    path: Path
    text: str
    source: str
    speaker: str


def log_mel(samples: np.ndarray) -> np.ndarray:
    """log10 of the mel power, float16 [frames, 80]; the product's spectrogram before its normalisation."""
    mel = features._mel_spectrogram(torch.from_numpy(samples))  # noqa: SLF001 - before its normalisation
    return mel.clamp(min=1e-10).log10().T.to(torch.float16).numpy()


def with_loudness(samples: np.ndarray, rms: float) -> np.ndarray:
    """The samples scaled to a root mean square of `rms`."""
    power = float(np.sqrt(np.mean(samples**2))) or 1.0
    return np.clip(samples * (rms / power), -1, 1)


class ShardWriter:
    """Appends clips to one shard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mel = path.with_suffix(".part").open("wb")
        self._lines: list[str] = []
        self._frames = 0

    def add(self, text: str, source: str, speech: Speech, rms: float) -> None:
        """Append one clip."""
        mel = log_mel(with_loudness(speech.samples, rms))
        clip = Clip(text, speech.voice, source, self._frames, len(mel), speech.words)
        self._mel.write(mel.tobytes())
        self._lines.append(json.dumps(asdict(clip)))
        self._frames += len(mel)

    def close(self) -> None:
        """Finish the shard: only now does it carry its name."""
        self._mel.close()
        self.path.with_suffix(".jsonl").write_text("\n".join(self._lines) + "\n")
        self.path.with_suffix(".part").rename(self.path.with_suffix(".mel"))

    @property
    def hours(self) -> float:
        """Hours of sound so far."""
        return self._frames / 360_000


def read_shard(path: Path) -> tuple[np.ndarray, list[Clip]]:
    """The spectra of a shard, memory-mapped, and its clips."""
    mel = np.memmap(path.with_suffix(".mel"), dtype=np.float16, mode="r").reshape(-1, features.MEL_BANDS)
    return mel, [Clip(**json.loads(line)) for line in path.with_suffix(".jsonl").read_text().splitlines()]


def human_table(table: Path) -> list[HumanClip]:
    """The clips of a tab-separated table with the columns path, transcript, source and speaker."""
    with table.open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    return [HumanClip(table.parent / r["path"], r["transcript"], r["source"], r["speaker"]) for r in rows]


def held_out_speakers(clips: list[HumanClip]) -> set[str]:
    """Speakers of AN4 that are never trained on, picked by the hash of their names."""
    names = {clip.speaker for clip in clips if clip.source.startswith("an4")}
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return set(ranked[:HELD_OUT_SPEAKERS])


def read_human(clip: HumanClip) -> np.ndarray:
    """Its samples at 16 kHz."""
    samples, rate = soundfile.read(clip.path, dtype="float32")
    mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    return mono if rate == SAMPLE_RATE else resample(mono, SAMPLE_RATE / rate)


def _write_synthetic(
    path: Path, seed: int, count: int, speak: Callable[[str, random.Random], Speech]
) -> None:
    rng = random.Random(seed)
    writer, began = ShardWriter(path), time.monotonic()
    source = path.name.split("-")[0]
    for done, sentence in enumerate(islice(domain_sentences(seed, test=False), count), start=1):
        try:
            writer.add(sentence, source, speak(sentence, rng), rng.uniform(*LOUDNESS))
        except Exception as error:  # noqa: BLE001 - a synthesiser that fails on one sentence must not end the run
            print(f"{path.name}: left out {sentence!r}: {error}", flush=True)
        if done % 500 == 0:
            print(
                f"{path.name}: {done}/{count} {writer.hours:.2f} h {time.monotonic() - began:.0f} s",
                flush=True,
            )
    writer.close()


def write_espeak(path: Path, seed: int, count: int) -> None:
    """A shard of espeak-ng voices."""
    espeak = Espeak()
    _write_synthetic(path, seed, count, lambda sentence, rng: random_espeak(espeak, sentence, rng))


def write_flite(path: Path, seed: int, count: int) -> None:
    """A shard of flite voices."""
    _write_synthetic(path, seed, count, random_flite)


def write_rhvoice(path: Path, seed: int, count: int) -> None:
    """A shard of RHVoice voices."""
    _write_synthetic(path, seed, count, random_rhvoice)


def write_pico(path: Path, seed: int, count: int) -> None:
    """A shard of Pico voices."""
    _write_synthetic(path, seed, count, random_pico)


WRITERS = {"flite": write_flite, "espeak": write_espeak, "rhvoice": write_rhvoice, "pico": write_pico}
PROGRAMS = {"flite": "flite", "rhvoice": "RHVoice-test", "pico": "pico2wave"}  # espeak-ng is a library


def write_human(path: Path, table: Path, prefix: str, speeds: tuple[float, ...]) -> None:
    """All training speakers of one source, at several speeds."""
    clips = human_table(table)
    held_out = held_out_speakers(clips)
    writer, rng = ShardWriter(path), random.Random(7)
    for clip in clips:
        if not clip.source.startswith(prefix) or clip.speaker in held_out:
            continue
        speech = Speech(read_human(clip), f"human:{clip.speaker}")
        for speed in speeds:
            writer.add(clip.text, prefix, with_speed(speech, speed), rng.uniform(*LOUDNESS))
    print(f"{path.name}: {writer.hours:.2f} h", flush=True)
    writer.close()


def _single_thread() -> None:
    torch.set_num_threads(1)


def build(folder: Path, *, seed: int, sentences: Mapping[str, int], human: Path | None, workers: int) -> None:
    """Write every missing shard: so many `sentences` of each engine in parts of 3,000, then the human table."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = list(_jobs(folder, seed, sentences, human))
    todo = [job for job in jobs if not job[1].with_suffix(".mel").exists()]
    print(f"corpus: {len(todo)} of {len(jobs)} shards to write", flush=True)
    with get_context("spawn").Pool(workers, _single_thread, maxtasksperchild=1) as pool:
        for result in [pool.apply_async(job[0], job[1:]) for job in todo]:
            result.get()


def _jobs(folder: Path, seed: int, sentences: Mapping[str, int], human: Path | None) -> Iterator[tuple]:
    for index, (name, write) in enumerate(WRITERS.items()):
        if name in PROGRAMS and shutil.which(PROGRAMS[name]) is None:
            print(f"corpus: {PROGRAMS[name]} is not installed, {name} is left out", flush=True)
            continue
        for part, begin in enumerate(range(0, sentences[name], 3000)):
            count = min(3000, sentences[name] - begin)
            yield write, folder / f"{name}-{part}", seed * 1000 + index * 100 + part, count
    if human is not None:
        yield write_human, folder / "an4", human, "an4", HUMAN_SPEEDS
        yield write_human, folder / "ocean", human, "speechocean", (1.0,)
