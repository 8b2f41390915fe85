"""How exact word times are: `python -m tests.figures.word_times`.

Sends every clip of the spoken test set whose word times the synthesiser told to a server of its own (or to `--url`), matches
the words heard with those said by alignment, and prints how far starts and ends are off, over the words that are right. Also
prints the constant by which starts are off: the value of the served model's `ctc_bias_seconds` that would take it away.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Final

import msgspec
import numpy as np

from lithophone.backends.transformers_backend.checkpoint import read_reference
from lithophone.granite.family import DEMONSTRATION_ID
from tests.figures.asking import Answer, transcribe
from tests.figures.recording import SPEECH, Clip, manifest_clips
from tests.figures.scoring import Errors, align, count, disorder, spread_of
from tests.figures.server import running_server

KINDS: Final = ("short", "noisy", "long")


class Found(msgspec.Struct, frozen=True):
    """What one clip's words said: found minus true times of the right ones, in seconds."""

    starts: list[float]
    ends: list[float]
    errors: Errors
    disordered: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", help="a running server with that model, instead of one of our own")
    parser.add_argument("--model", default=DEMONSTRATION_ID, help="what our own server serves")
    parser.add_argument("--threads", type=int, default=1, help="our own server's --cpu-threads")
    options = parser.parse_args(arguments)
    flags = ("--model", options.model, "--cpu-threads", str(options.threads))
    with nullcontext() if options.url else running_server(*flags) as server:
        found = list(_found(server.url if server else options.url))
    _report(found, read_reference(options.model).spec.ctc_bias_seconds)
    return 0


def _found(url: str) -> Iterator[Found]:
    for clip in manifest_clips(SPEECH, KINDS):
        if clip.words:
            yield compared(clip, transcribe(url, clip.path))


def compared(clip: Clip, answer: Answer) -> Found:
    """The right words of an answer beside the truth."""
    pairs = align(clip.words, answer.words)
    right = [
        (clip.words[pair.reference], answer.words[pair.hypothesis])
        for pair in pairs
        if pair.reference is not None
        and pair.hypothesis is not None
        and clip.words[pair.reference].text == answer.words[pair.hypothesis].text
    ]
    return Found(
        [heard.start - said.start for said, heard in right],
        [heard.end - said.end for said, heard in right],
        count(pairs, clip.words, answer.words),
        disorder(answer.written),
    )


def _report(found: Sequence[Found], bias: float) -> None:
    faultless = [clip for clip in found if clip.errors.total == 0]
    print(f"{len(found)} clips, all words: {sum((clip.errors for clip in found), Errors())}")
    for name, clips in (("right words", found), (f"{len(faultless)} clips without a mistake", faultless)):
        starts, ends = (
            [error for clip in clips for error in getattr(clip, side)] for side in ("starts", "ends")
        )
        print(f"{name}: {len(starts)} words")
        for side, errors in (("starts", starts), ("ends", ends), ("both", starts + ends)):
            print(f"  {side:7} {spread_of(errors)}")
    print(f"words out of order: {sum(clip.disordered for clip in found)}")
    late = float(np.median([error for clip in faultless for error in clip.starts]))
    print(
        f"starts are late by {1000 * late:+.0f} ms (median): a bias of {bias + late:.3f} s takes it away, not {bias}"
    )


if __name__ == "__main__":
    sys.exit(main())
