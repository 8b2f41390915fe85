"""Makes the spoken test set of the project: clips and `manifest.jsonl` in one folder.

With another seed and more clips it makes a larger one, on which two runs of the recipe can be told apart.
Owns what is in the set: short clips in seen and unseen voices, joined clips of 20-60 s and noisy clips, all of sentences
that training never contains. Human speech is not part of it: it belongs to others.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from .grammar import sentences
from .voices import (
    FESTIVAL_VOICES,
    SAMPLE_RATE,
    Espeak,
    Speech,
    random_espeak,
    random_flite,
    say_festival,
)

SEED = 4242
EDGE_SECONDS = 0.15
OPUS_COMPRESSION = 0.92  # of libsndfile: 0 is the highest bitrate, 1 the lowest
NOISY_SNR_DB = (8.0, 18.0)
DEMO_CLIP = "flite-short-03.ogg"

Speak = Callable[[str], Speech]


@dataclass(frozen=True)
class TestClip:
    """One line of the manifest; times in seconds, `words` empty where the synthesiser does not tell them."""

    file: str
    text: str
    seconds: float
    voice: str
    engine: str
    kind: str
    seen_voice: bool
    words: list[dict[str, object]] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """A kind of voice and how many clips it gives."""

    name: str
    seen: bool
    speak: Speak
    short: int
    long: int
    noisy: int


def sources(rng: random.Random) -> list[Source]:
    """The kinds of voices of the set."""
    espeak = Espeak()
    voices = iter(FESTIVAL_VOICES * 1000)
    return [
        Source(
            "espeak",
            seen=True,
            speak=lambda text: random_espeak(espeak, text, rng),
            short=14,
            long=2,
            noisy=3,
        ),
        Source(
            "espeak-new",
            seen=False,
            speak=lambda text: random_espeak(espeak, text, rng, unseen=True),
            short=18,
            long=2,
            noisy=2,
        ),
        Source("flite", seen=True, speak=lambda text: random_flite(text, rng), short=16, long=3, noisy=2),
        Source(
            "flite-new",
            seen=False,
            speak=lambda text: random_flite(text, rng, unseen=True),
            short=14,
            long=1,
            noisy=1,
        ),
        Source(
            "festival",
            seen=False,
            speak=lambda text: say_festival(text, next(voices)),
            short=20,
            long=2,
            noisy=2,
        ),
    ]


def joined(
    parts: list[Speech], texts: list[str], rng: random.Random
) -> tuple[np.ndarray, list[dict[str, object]]]:
    """Clips one after another with short pauses, the words moved along; no words if one part has none."""
    chunks = [np.zeros(int(EDGE_SECONDS * SAMPLE_RATE), np.float32)]
    words: list[dict[str, object]] = []
    for part, text in zip(parts, texts, strict=True):
        offset = sum(map(len, chunks)) / SAMPLE_RATE
        for word, (start, end) in zip(text.split(), part.words or [], strict=part.words is not None):
            words.append({"word": word, "start": round(offset + start, 3), "end": round(offset + end, 3)})
        pause = EDGE_SECONDS if part is parts[-1] else rng.uniform(0.15, 0.6)
        chunks += [part.samples, np.zeros(int(pause * SAMPLE_RATE), np.float32)]
    known = all(part.words is not None for part in parts)
    return np.concatenate(chunks), words if known else []


def noisy(samples: np.ndarray, rng: random.Random) -> np.ndarray:
    """With white or low-frequency noise added."""
    generator = np.random.default_rng(rng.randrange(2**32))
    noise = generator.standard_normal(len(samples)).astype(np.float32)
    if rng.random() < 0.5:
        noise = np.convolve(noise, np.full(8, 0.35, np.float32), mode="same")
    snr = rng.uniform(*NOISY_SNR_DB)
    wanted = np.sqrt(np.mean(samples**2)) / 10 ** (snr / 20)
    return samples + noise * (wanted / np.sqrt(np.mean(noise**2)))


def level(samples: np.ndarray) -> np.ndarray:
    """The samples with their peak at 0.7."""
    peak = float(np.abs(samples).max()) or 1.0
    return (samples * (0.7 / peak)).astype(np.float32)


def clip_plan(source: Source, times: int) -> Iterator[str]:
    """The kind of each clip of a source, `times` as many of each as the project's set has."""
    for kind, count in (("short", source.short), ("long", source.long), ("noisy", source.noisy)):
        yield from [kind] * (count * times)


def spoken(
    source: Source, texts: Iterator[str], seconds: float, known: bool
) -> tuple[list[Speech], list[str]]:
    """Sentences of one source until `seconds` are full; with word times if `known`."""
    parts: list[Speech] = []
    said: list[str] = []
    while not parts or sum(len(part.samples) for part in parts) < seconds * SAMPLE_RATE:
        text = next(texts)
        part = source.speak(text)
        broken = (
            len(part.samples) < SAMPLE_RATE * 0.06 * len(text.split()) or np.abs(part.samples).max() < 0.01
        )
        if broken or (known and part.words is None):
            continue
        parts.append(part)
        said.append(text)
    return parts, said


def make(folder: Path, seed: int, times: int) -> None:
    """Write the whole set."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    texts = sentences(seed, test=True)
    clips: list[TestClip] = []
    for source in sources(rng):
        for index, kind in enumerate(clip_plan(source, times)):
            seconds = rng.uniform(22, 52) if kind == "long" else 0.0
            parts, said = spoken(source, texts, seconds, source.name.startswith("espeak"))
            samples, words = joined(parts, said, rng)
            samples = level(noisy(samples, rng) if kind == "noisy" else samples)
            name = f"{source.name}-{kind}-{index:02d}.ogg"
            write_opus(folder / name, samples)
            voice = parts[0].voice if len(parts) == 1 else f"{source.name}:several"
            engine = source.name.split("-")[0]
            length = round(len(samples) / SAMPLE_RATE, 3)
            clips.append(TestClip(name, " ".join(said), length, voice, engine, kind, source.seen, words))
            print(f"{name}: {length:.1f} s", flush=True)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(asdict(clip)) + "\n" for clip in clips))
    write_demo(folder)


def write_opus(path: Path, samples: np.ndarray) -> None:
    """One clip as Opus in Ogg."""
    soundfile.write(
        path, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=OPUS_COMPRESSION
    )


def write_demo(folder: Path) -> None:
    """The clip of the README: one of the set, as FLAC."""
    samples, _ = soundfile.read(folder / DEMO_CLIP, dtype="int16")
    soundfile.write(folder / "demo.flac", samples, SAMPLE_RATE)
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    truth = next(clip for clip in map(json.loads, lines) if clip["file"] == DEMO_CLIP)
    (folder / "demo.txt").write_text(truth["text"] + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the clips and the manifest go")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="of sentences and voices (default: %(default)s)"
    )
    parser.add_argument(
        "--times", type=int, default=1, help="how many times as many clips as the project's set (default: 1)"
    )
    chosen = parser.parse_args()
    make(chosen.folder, chosen.seed, chosen.times)
