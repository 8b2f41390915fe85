"""Command line of the recipe: `python -m examples.train_tiny all --out RUN`.

Owns the defaults of a full run and of the two-minute smoke run; each step may also be run alone.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import corpus
from .ctc_train import CtcPlan, train_ctc
from .evaluate import evaluate_folder, human_clips, test_clips
from .export import export, export_ctc
from .train import Plan, train

# a server tells by a folder's name that it holds a demonstration model, and gives it windows of 8 s
MODEL_ID, CTC_MODEL_ID = "granite-speech-tiny", "granite-speech-tiny-ctc"


@dataclass(frozen=True)
class Size:
    """How many sentences each engine speaks and how many steps each stage takes."""

    sentences: Mapping[str, int]
    read: int
    letters: int
    listen: int
    joint: int
    polish: int
    pieces: int
    ctc: int


FULL = Size(
    sentences={"espeak": 21_000, "flite": 12_000, "rhvoice": 6_000, "pico": 3_000},
    read=1000,
    letters=400,
    listen=2700,
    joint=2000,
    polish=1500,
    pieces=150,
    ctc=1850,
)
SMOKE = Size(
    sentences={"espeak": 120, "flite": 40, "rhvoice": 20, "pico": 20},
    read=4,
    letters=4,
    listen=8,
    joint=6,
    polish=4,
    pieces=4,
    ctc=6,
)


def make_corpus(chosen: argparse.Namespace, size: Size) -> None:
    """Write the missing shards of speech."""
    corpus.build(
        chosen.out / "corpus",
        seed=chosen.seed,
        sentences=size.sentences,
        human=chosen.human_speech,
        workers=chosen.processes,
    )


def run_training(chosen: argparse.Namespace, size: Size) -> None:
    """Train, or resume training."""
    train(
        Plan(
            folder=chosen.out / "run",
            read_steps=size.read,
            letter_steps=size.letters,
            listen_steps=size.listen,
            joint_steps=size.joint,
            polish_steps=size.polish,
            warmup=200 if size is FULL else 2,
            project_steps=150 if size is FULL else 2,
            **of_both_models(chosen, size),
        )
    )


def of_both_models(chosen: argparse.Namespace, size: Size) -> dict[str, Any]:
    """What the plans of the two models' training share."""
    return {
        "corpus": chosen.out / "corpus",
        "seed": chosen.seed,
        "processes": chosen.processes,
        "compiled": size is FULL and not chosen.no_compile,
        "log_every": 20 if size is FULL else 2,
        "test_set": chosen.test_set,
    }


def run_export(chosen: argparse.Namespace) -> None:
    """Write the checkpoint folder."""
    export(chosen.out / "run", chosen.export, chosen.seed)


def run_ctc(chosen: argparse.Namespace, size: Size) -> None:
    """Train the CTC sibling, or resume its training, and export it."""
    train_ctc(
        CtcPlan(
            folder=chosen.out / "run-ctc",
            big_run=chosen.out / "run",
            piece_steps=size.pieces,
            ctc_steps=size.ctc,
            warmup=50 if size is FULL else 2,
            **of_both_models(chosen, size),
        )
    )
    export_ctc(chosen.out / "run-ctc", chosen.export_ctc, chosen.seed)


def run_evaluation(chosen: argparse.Namespace, folder: Path, limit: int | None = None) -> None:
    """Measure an exported checkpoint; `limit` clips at most."""
    clips = list(test_clips(chosen.test_set))
    clips += human_clips(chosen.human_speech) if chosen.human_speech and limit is None else []
    evaluate_folder(folder, clips[:limit])


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(prog="python -m examples.train_tiny", description=__doc__)
    made.add_argument("step", choices=["all", "corpus", "train", "export", "evaluate", "ctc", "smoke"])
    made.add_argument(
        "--out", type=Path, help="folder for speech and state; a run resumes there (default: a new one)"
    )
    made.add_argument(
        "--export", type=Path, help="folder of the exported checkpoint (default: OUT/granite-speech-tiny)"
    )
    made.add_argument(
        "--export-ctc", type=Path, help="folder of its CTC sibling (default: OUT/granite-speech-tiny-ctc)"
    )
    made.add_argument(
        "--human-speech", type=Path, help="table of human speech: path, transcript, source, speaker"
    )
    made.add_argument("--test-set", type=Path, default=Path(__file__).parents[1] / "speech")
    made.add_argument("--seed", type=int, default=17)
    made.add_argument("--processes", type=int, default=2, help="one thread each")
    made.add_argument("--no-compile", action="store_true")
    return made


def main() -> None:
    """Run the chosen step, or all of them in order."""
    chosen = parser().parse_args()
    chosen.out = chosen.out or Path(tempfile.mkdtemp(prefix="train-tiny-"))
    chosen.export = chosen.export or chosen.out / MODEL_ID
    chosen.export_ctc = chosen.export_ctc or chosen.out / CTC_MODEL_ID
    smoke = chosen.step == "smoke"
    size = SMOKE if smoke else FULL
    if chosen.step in ("all", "smoke", "corpus"):
        make_corpus(chosen, size)
    if chosen.step in ("all", "smoke", "train"):
        run_training(chosen, size)
    if chosen.step in ("all", "smoke", "export"):
        run_export(chosen)
    if chosen.step in ("all", "smoke", "evaluate"):
        run_evaluation(chosen, chosen.export, 3 if smoke else None)
    if chosen.step in ("all", "smoke", "ctc"):
        run_ctc(chosen, size)
        run_evaluation(chosen, chosen.export_ctc, 3 if smoke else None)


if __name__ == "__main__":
    main()
