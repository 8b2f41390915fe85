"""How well a long recording is transcribed: `python -m tests.figures.long_audio --minutes 60`.

Makes a recording of known utterances, starts the server on a port of its own, sends each utterance alone, as its file and as it
lies in the recording, then the whole, and compares. Prints word error rates, what happened at the cuts between windows, word times, memory, speed, and how soon the
first words of an event stream come.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from lithophone.audio.decode import bundled_ffmpeg
from lithophone.granite.family import DEMONSTRATION_ID
from tests.figures.alone import clips_alone, excerpts_alone
from tests.figures.asking import first_delta_seconds, transcribe
from tests.figures.recording import (
    ENCODERS,
    RUN_ON_SHARE,
    SPEECH,
    Clip,
    Composer,
    human_clips,
    manifest_clips,
    write,
)
from tests.figures.scoring import Errors, disorder, spread_of
from tests.figures.seams import Comparison, compare, errors_alone, seams_of
from tests.figures.server import MIB, ServerProcess, running_server

STREAM_MINUTES: Final = 10.0
STREAM_REPEATS: Final = 7
REST_SECONDS: Final = 1.0
Row = tuple[str, str]
Asked = TypeVar("Asked")


class Memory(msgspec.Struct, frozen=True):
    """Resident memory of the server and its children, in bytes."""

    idle: int
    after_alone: int
    peak: int

    def rows(self) -> list[Row]:
        above = f"{(self.peak - self.idle) / MIB:.1f}"
        alone = f"{(self.after_alone - self.idle) / MIB:.1f}"
        return [
            (
                "memory above idle, MiB (target 150)",
                f"{above}; after the utterances alone {alone}; idle {self.idle / MIB:.0f}",
            )
        ]


class FirstWords(msgspec.Struct, frozen=True):
    """Seconds until the first words of a stream of ten minutes, and for its first window as a file, each several times."""

    window_seconds: float
    delta_seconds: list[float]
    alone_seconds: list[float]

    def rows(self) -> list[Row]:
        delta, alone = statistics.median(self.delta_seconds), statistics.median(self.alone_seconds)
        return [
            ("first words of 10 min, s", _with_range(self.delta_seconds)),
            (f"its window of {self.window_seconds:.1f} s alone, s", _with_range(self.alone_seconds)),
            ("ratio (target < 2)", f"{delta / alone:.2f}"),
        ]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of a run."""

    minutes: float
    utterances: int
    windows: int
    overlapping_cuts: int
    seconds: float
    disordered_words: int
    memory: Memory
    comparison: Comparison
    clips_alone: Errors
    first_words: FirstWords | None

    def rows(self) -> list[Row]:
        recording = f"{self.minutes:.1f} min, {self.utterances} utterances, {self.windows} windows"
        speed = f"{self.seconds:.1f} s, {60 * self.minutes / self.seconds:.1f} times real time"
        return [
            ("recording", f"{recording}, {self.overlapping_cuts} of their cuts overlap"),
            *_comparison_rows(self.comparison),
            ("clip files alone", _with_difference(self.clips_alone, self.comparison.long)),
            ("words out of order (target 0)", str(self.disordered_words)),
            *self.memory.rows(),
            ("speed", speed),
            *(self.first_words.rows() if self.first_words else []),
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = _parser().parse_args(arguments)
    clips = manifest_clips(SPEECH, options.kinds.split(","))
    clips += human_clips(options.human_speech) if options.human_speech else []
    flags = ["--model", options.model]
    flags += ["--cpu-threads", str(options.threads)] if options.threads else []
    with tempfile.TemporaryDirectory() as folder, running_server(*flags) as server:
        report = _measure(server, clips, Path(folder), options)
    rows = report.rows()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value}")
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the recording")
    parser.add_argument("--format", choices=[suffix[1:] for suffix in ENCODERS], default="ogg")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="short,noisy", help="clips of the test set: short,noisy,long")
    parser.add_argument(
        "--run-on-share",
        type=float,
        default=RUN_ON_SHARE,
        help="of utterances that begin a stretch without pauses",
    )
    parser.add_argument(
        "--human-speech", type=Path, help="a table of human speech, for its held-out speakers"
    )
    parser.add_argument("--model", default=DEMONSTRATION_ID, help="what the server serves")
    parser.add_argument("--threads", type=int, default=0, help="the server's --cpu-threads")
    parser.add_argument(
        "--no-excerpts", action="store_true", help="compare with the clip files alone, which takes less time"
    )
    parser.add_argument("--no-stream", action="store_true", help="leave out the time to the first words")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    return parser


def _measure(
    server: ServerProcess, clips: Sequence[Clip], folder: Path, options: argparse.Namespace
) -> Report:
    composer = Composer(clips, options.minutes * 60, options.seed, run_on_share=options.run_on_share)
    recording = folder / f"long.{options.format}"
    write(recording, composer.blocks())
    clips_heard = clips_alone(server.url, composer.utterances)
    after_alone = server.resident_bytes()
    server.take_windows()
    _say(f"sending {recording.stat().st_size / MIB:.1f} MiB")
    with server.watch_memory() as memory:
        answer = transcribe(server.url, recording)
    seams = seams_of(server.take_windows())
    alone = clips_heard
    if not options.no_excerpts:
        _say(f"sending {len(composer.utterances)} excerpts")
        alone = list(excerpts_alone(server.url, recording, composer.utterances, folder))
    return Report(
        minutes=answer.audio_seconds / 60,
        utterances=len(composer.utterances),
        windows=len(seams) + 1,
        overlapping_cuts=sum(seam.overlaps for seam in seams),
        seconds=answer.seconds,
        disordered_words=disorder(answer.written),
        memory=Memory(server.idle_bytes, after_alone, memory.peak_bytes),
        comparison=compare(composer.utterances, answer.words, alone, seams),
        clips_alone=errors_alone(composer.utterances, clips_heard),
        first_words=None if options.no_stream else _first_words(server, clips, folder, options),
    )


def _first_words(
    server: ServerProcess, clips: Sequence[Clip], folder: Path, options: argparse.Namespace
) -> FirstWords:
    """Ten minutes as a stream, and a file of the same format that is their first window."""
    path = folder / f"stream.{options.format}"
    write(path, Composer(clips, STREAM_MINUTES * 60, options.seed + 1).blocks())
    server.take_windows()
    first_delta_seconds(server.url, path)
    window_seconds = server.take_windows()[0].stop_seconds
    alone = folder / f"window.{options.format}"
    command = [bundled_ffmpeg(), "-hide_banner", "-loglevel", "error", "-i", str(path)]
    subprocess.run(
        [*command, "-t", str(window_seconds), "-ar", "16000", *ENCODERS[alone.suffix], str(alone)], check=True
    )
    transcribe(server.url, alone)
    return FirstWords(
        window_seconds,
        [_at_rest(partial(first_delta_seconds, server.url, path)) for _ in range(STREAM_REPEATS)],
        [_at_rest(partial(transcribe, server.url, alone)).seconds for _ in range(STREAM_REPEATS)],
    )


def _at_rest(ask: Callable[[], Asked]) -> Asked:
    """Once the server has let go of the request before: one that was left may still be in the model."""
    time.sleep(REST_SECONDS)
    return ask()


def _comparison_rows(comparison: Comparison) -> list[Row]:
    rows = [
        ("word error rate, long", str(comparison.long)),
        ("its utterances one by one", str(comparison.alone)),
        ("difference, points (target 0.3)", _difference(comparison.long, comparison.alone)),
        ("  utterances between pauses", _pair(*comparison.paused)),
        ("  stretches without a pause", _pair(*comparison.run_on)),
        ("near cuts, against alone (target 0)", str(comparison.near)),
        ("away from cuts, against alone", str(comparison.away)),
        ("cuts through a known word (target 0)", str(comparison.cut_words)),
        ("words doubled across a cut (target 0)", str(comparison.doubled_words)),
    ]
    if comparison.time_errors:
        rows.append(("word boundaries", spread_of(comparison.time_errors)))
    if comparison.last_word_errors is not None:
        start, end = (f"{1000 * error:+.0f}" for error in comparison.last_word_errors)
        rows.append(("last word's start and end, ms (target 100)", f"{start}, {end}"))
    return rows


def _difference(long: Errors, alone: Errors) -> str:
    return f"{long.percent - alone.percent:+.2f}"


def _with_difference(alone: Errors, long: Errors) -> str:
    return f"{alone}; the recording {_difference(long, alone)} points"


def _pair(long: Errors, alone: Errors) -> str:
    return f"{long.percent:.2f} %, alone {alone.percent:.2f} % of {long.words} words"


def _with_range(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
