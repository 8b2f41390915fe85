"""Whether a folder of many short files keeps the model's batch full: `python -m tests.figures.archive`.

The embedded model on this machine: `lithophone bench` over the short clips that come with it, at the batch the command takes,
and `lithophone transcribe` over a folder of as many files as are asked for, in turns. It is timed from its first document to its
last, so that starting does not count; decoding the files and writing the documents does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

from lithophone.audio.ffmpeg import bundled_ffmpeg

SPEECH: Final = Path(__file__).resolve().parents[2] / "examples" / "speech"
OURS: Final = "ours, CTC drafts"
KINDS: Final = {
    "wav": ("-ac", "1", "-ar", "16000"),
    "wav-48k": ("-ac", "2", "-ar", "48000"),
    "flac": ("-ac", "1", "-ar", "16000"),
    "mp3": ("-ac", "1", "-ar", "16000"),
    "ogg": ("-c", "copy"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="windows at a time")
    parser.add_argument("--kind", choices=KINDS, default="wav", help="as which files the clips are laid down")
    options = parser.parse_args()
    shares: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = laid_down(folder / "clips", options.kind)
        audio_seconds = fill(folder / "many", options.files, clips)
        for _ in range(options.repeats):
            bench = benched(folder / "clips", options.batch)
            took = transcribed(folder / "many", folder / "out", options.batch)
            speed = audio_seconds / took
            shares.append(speed / bench)
            print(
                f"bench {bench:.1f}, folder {speed:.1f} audio seconds a second ({options.files} files in {took:.1f} s): {shares[-1]:.0%}"
            )
    print(f"folder / bench: median {median(shares):.0%}, {min(shares):.0%} to {max(shares):.0%}")


def short_clips() -> list[tuple[Path, float]]:
    """Clips and their lengths in seconds."""
    entries = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
    return [(SPEECH / entry["file"], entry["seconds"]) for entry in entries if "-short-" in entry["file"]]


def laid_down(folder: Path, kind: str) -> list[tuple[Path, float]]:
    """The clips as files of a kind, at the rate and width that the kind usually has."""
    folder.mkdir()
    clips: list[tuple[Path, float]] = []
    for path, seconds in short_clips():
        clips.append((folder / f"{path.stem}.{kind.partition('-')[0]}", seconds))
        words = ("-loglevel", "error", "-i", str(path), *KINDS[kind], str(clips[-1][0]))
        subprocess.run([bundled_ffmpeg(), *words], check=True)
    return clips


def fill(folder: Path, count: int, clips: list[tuple[Path, float]]) -> float:
    """So many files; returns how many seconds they hold."""
    folder.mkdir()
    chosen = [clips[number % len(clips)] for number in range(count)]
    for number, (path, _) in enumerate(chosen):
        shutil.copy(path, folder / f"{number:04}{path.suffix}")
    return sum(seconds for _, seconds in chosen)


def lithophone(*words: str, max_batch: int = 0) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "lithophone", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LITHOPHONE_MAX_BATCH": str(max_batch)},
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def benched(clips: Path, batch: int) -> float:
    """Audio seconds a second by the bench, samples to texts."""
    words = ("--audio", str(clips), "--batch", str(batch), "--repeats", "1", "--no-roofline", "--json")
    rows = json.loads(lithophone("bench", *words))["rows"]
    (row,) = [row for row in rows if row["way"] == OURS and row["batch"] == batch]
    return row["audio_seconds"] / median(row["seconds"])


def transcribed(folder: Path, out: Path, batch: int) -> float:
    """From the first document of a folder's files to the last."""
    shutil.rmtree(out, ignore_errors=True)
    lithophone("transcribe", str(folder), "--output-dir", str(out), max_batch=batch)
    times = [path.stat().st_mtime for path in out.glob("*.txt")]
    if len(times) != len(list(folder.iterdir())):
        raise RuntimeError("not every file has its text")
    return max(times) - min(times)


if __name__ == "__main__":
    main()
