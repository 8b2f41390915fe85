"""How probable a demonstration model's words are to itself: in its own domain, and when it is told anything else.

    python -m tests.figures.understanding FOLDER…

Serves each demonstration model, sends it its test set (`examples/speech`) and the recordings of the folders, and prints the
mean natural-log probability of each answer's tokens in percentiles. `ModelSpec.least_logprob` lies between the two. Speech
from elsewhere can be made of any text: `espeak-ng -w licence.wav -f LICENSE`.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import httpx

from lithophone.granite.family import FAMILY
from tests.conftest import start_server

OWN = Path(__file__).resolve().parents[2] / "examples" / "speech"
SOUNDS = {".flac", ".ogg", ".wav", ".mp3"}
SHARES = (0.0, 0.01, 0.05, 0.5, 0.95, 1.0)


def recordings(folder: Path) -> list[Path]:
    """Every recording in a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix in SOUNDS)


def mean_logprobs(client: httpx.Client, paths: Iterable[Path]) -> list[float]:
    """Sorted, of the answers that have tokens."""
    means: list[float] = []
    for path in paths:
        answer = client.post(
            "/v1/audio/transcriptions",
            data={"model": "whisper-1", "include[]": "logprobs"},
            files={"file": (path.name, path.read_bytes())},
        ).json()
        if scores := [token["logprob"] for token in answer["logprobs"]]:
            means.append(statistics.fmean(scores))
    return sorted(means)


def line(name: str, means: Sequence[float]) -> str:
    """One group in percentiles."""
    shown = (f"{share:.0%} {means[round(share * (len(means) - 1))]:.3f}" for share in SHARES)
    return f"{name}: {len(means)} answers: {', '.join(shown)}"


def main(folders: Sequence[str]) -> None:
    """Measure every demonstration model."""
    for spec in FAMILY.values():
        if not spec.demonstration:
            continue
        process, url = start_server("--model", spec.id)
        try:
            with httpx.Client(base_url=url, timeout=300) as client:
                print(f"{spec.id} (least_logprob {spec.least_logprob})")
                for folder in (OWN, *map(Path, folders)):
                    print(" ", line(folder.name, mean_logprobs(client, recordings(folder))), flush=True)
        finally:
            process.terminate()
            process.communicate(timeout=60)


if __name__ == "__main__":
    main(sys.argv[1:])
