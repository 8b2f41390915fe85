"""What becomes of files of every kind: a table, and the files that lost something in silence.

    python -m tests.figures.any_file

Owns the verdicts. Every file holds the same recording. A file is right if what is decoded is that recording at its place on
the file's clock, refused if it ends in a 4xx, told if the decoder warns of something, and lost otherwise; misread is what
ffmpeg, without our fence, does not read back as it wrote it. Of a damaged file no decoder can tell which samples were
changed: it is right if nothing is missing, so that what follows the damage is at its place, and nothing was filled with
silence. Of one that is cut short without having stated its length, it is right if what is left of it is all there.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lithophone.audio.decode import decode_audio
from lithophone.audio.waveform import SAMPLE_RATE, Waveform, waveform_from_pcm16
from lithophone.errors import ServiceError
from tests.figures.files import DAMAGES, SECONDS, Format, Writer, damaged, formats, laid_out
from tests.oddities import oddities
from tests.recordings import likeness

LENGTH_TOLERANCE_SECONDS = 0.4  # the last page of some formats is padded, and bare frames have priming
HOP_SAMPLES = SAMPLE_RATE // 100
LOUD = 0.05  # of full scale
FILLED_SECONDS = 0.2
LEFT = {
    "cut short": 0.5,
    "a part taken out": 0.94,
}  # of the sound; cuts go through frames, and pages of a second
LIKE = 0.8  # of the loudness over time; of the worst speech codec at 8 kHz it is 0.85


@dataclass(frozen=True)
class Decoded:
    """What came of a file: its sound and warnings, or why it was refused."""

    sound: Waveform
    warnings: tuple[str, ...] = ()
    refusal: str = ""


@dataclass(frozen=True)
class Result:
    """One file's verdict."""

    kind: str
    name: str
    verdict: str
    why: str = ""


async def decoded(path: Path) -> Decoded:
    """A file through the decoder."""
    try:
        with path.open("rb") as file:
            async with decode_audio(file) as stream:
                pcm = b"".join([block async for block in stream])
    except ServiceError as error:
        if error.status >= 500:
            raise
        return Decoded(np.zeros(0, np.float32), refusal=error.message)
    return Decoded(waveform_from_pcm16(pcm), stream.warnings)


def is_right(found: Decoded, expected: Waveform) -> bool:
    """The recording is at its place, and nothing before or behind it."""
    off_seconds = abs(len(found.sound) - len(expected)) / SAMPLE_RATE
    if off_seconds > LENGTH_TOLERANCE_SECONDS:
        return False
    return likeness(found.sound, expected) >= LIKE if expected.any() else not found.sound.any()


def is_whole(found: Decoded, seconds: float) -> bool:
    """There is as much sound as there should be."""
    return len(found.sound) / SAMPLE_RATE >= seconds - LENGTH_TOLERANCE_SECONDS


def is_filled(found: Decoded, whole: Waveform) -> bool:
    """Whether there are zeros, as of a gap, where the undamaged file is loud.

    Where frames are missing, its pauses have moved: then there are more zeros than it has.
    """
    heard, expected = _loudest(found.sound), _loudest(whole)
    if len(heard) == len(expected):
        filled = np.count_nonzero((heard == 0) & (expected > LOUD))
    else:
        filled = np.count_nonzero(heard == 0) - np.count_nonzero(expected == 0)
    return bool(filled * HOP_SAMPLES > FILLED_SECONDS * SAMPLE_RATE)


def _loudest(sound: Waveform) -> Waveform:
    """Of every hop."""
    return np.abs(sound[: len(sound) // HOP_SAMPLES * HOP_SAMPLES]).reshape(-1, HOP_SAMPLES).max(axis=1)


def judged(kind: str, name: str, found: Decoded, *, right: bool) -> Result:
    """The verdict on a file."""
    if found.refusal:
        return Result(kind, name, "refused", found.refusal)
    if found.warnings:
        return Result(kind, name, "told", " ".join(found.warnings))
    if right:
        return Result(kind, name, "right")
    return Result(kind, name, "LOST", f"{len(found.sound) / SAMPLE_RATE:.2f} s")


def results(writer: Writer, written: Format) -> Iterator[Result]:
    """A format in every layout and with every damage; of one that is refused when whole, nothing more."""
    whole = writer.write(written)
    if whole is None:
        return
    content = whole.read_bytes()
    found = asyncio.run(decoded(whole))
    if not found.refusal and not writer.is_readable(whole):
        yield Result("whole", str(written), "misread", " ".join(found.warnings) or "no warning")
        return
    yield judged("whole", str(written), found, right=is_right(found, laid_out("plain")))
    if not found.refusal:
        yield from _damages(whole, written, content, found.sound)
        yield from _layouts(writer, written)


def _damages(path: Path, written: Format, content: bytes, whole: Waveform) -> Iterator[Result]:
    for damage in DAMAGES:
        path.write_bytes(damaged(content, damage))
        found = asyncio.run(decoded(path))
        left = LEFT.get(damage, 1) * SECONDS
        # Zeros may be what a file with zeros in it says.
        filled = damage != "zeros" and is_filled(found, whole)
        yield judged(damage, str(written), found, right=is_whole(found, left) and not filled)


def _layouts(writer: Writer, written: Format) -> Iterator[Result]:
    """A format without times, or a video, holds an offset or a gap only as far as it can."""
    for layout, channels in (
        *(("offset", "mono"), ("gap", "mono")),
        *(("plain", "antiphase"), ("plain", "left"), ("plain", "centre")),
    ):
        path = writer.write(written, layout=layout, channels=channels)
        if path is None:
            continue
        found = asyncio.run(decoded(path))
        right = is_right(found, laid_out(layout))
        if not written.can_hold(layout):
            right = right or is_right(found, laid_out("plain"))
        yield judged(layout if layout != "plain" else channels, str(written), found, right=right)


def odd_results(folder: Path) -> Iterator[Result]:
    """Hand-made files that are easily misread."""
    for oddity in oddities():
        path = folder / "odd"
        path.write_bytes(oddity.build(folder))
        found = asyncio.run(decoded(path))
        yield judged("hand-made", oddity.name, found, right=is_right(found, oddity.sound))


def table(found: list[Result]) -> str:
    """Counts of the verdicts by kind."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for result in found:
        counts[result.kind][result.verdict] += 1
    verdicts = ("right", "told", "refused", "misread", "LOST")
    lines = [f"| {'kind':16} | " + " | ".join(f"{verdict:>7}" for verdict in verdicts) + " |"]
    lines.append("|---" * (1 + len(verdicts)) + "|")
    for kind, row in counts.items():
        lines.append(f"| {kind:16} | " + " | ".join(f"{row[verdict]:7}" for verdict in verdicts) + " |")
    return "\n".join(lines)


def main(wanted: str = "") -> int:
    """Prints the table and what was lost; `wanted` selects formats by a part of their name."""
    found: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder))
        for written in formats():
            if wanted in str(written):
                found.extend(results(writer, written))
        if not wanted:
            found.extend(odd_results(Path(folder)))
    print(table(found))
    for result in found:
        if result.verdict == "LOST" or (result.kind == "whole" and result.verdict != "right"):
            print(f"{result.verdict}: {result.kind}, {result.name}: {result.why}")
    return sum(result.verdict == "LOST" for result in found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
