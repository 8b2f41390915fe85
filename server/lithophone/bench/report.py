"""What a benchmark found, and the arithmetic from runs to rows.

Owns the report's structs, which are its JSON, the summary of repeated runs, and how far what was written is from what was
said. Pure: no torch, no clock, no terminal.
"""

from __future__ import annotations

import operator
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import reduce
from statistics import median
from typing import Any

import msgspec

from lithophone.bench.clips import BenchClip


class Way(Enum):
    """How a row was computed."""

    GENERATE = "transformers generate"
    PLAIN = "ours, no drafts"
    DRAFTED = "ours, CTC drafts"
    SIMULATED = "ours, simulated"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one way over a workload. Those of its parts add up, field by field.

    Attributes:
        seconds: By the clock, from samples to texts; set by who runs it.
        tokens: Of each clip, without control tokens.
        emitted: Tokens that were said, end tokens included.
        texts: Of each clip.
        passes: Of the language model.
        sequence_passes: The same, each counted once for every sequence in it.
        drafted: Draft tokens that were verified.
        accepted: Those of them that were said.
        frames: Of the encoder's work, those of the clips.
        padded_frames: And those that only filled up.
        positions: Of the language model's work, those of prompts, drafts and tokens.
        padded_positions: And those that only filled up.
    """

    seconds: float = 0.0
    tokens: tuple[tuple[int, ...], ...]
    emitted: int
    texts: tuple[str, ...]
    passes: int = 0
    sequence_passes: int = 0
    drafted: int = 0
    accepted: int = 0
    frames: int = 0
    padded_frames: int = 0
    positions: int = 0
    padded_positions: int = 0


def added(parts: Sequence[Outcome]) -> Outcome:
    """Groups of a workload, or repeats of it, as one outcome."""
    columns = zip(*map(msgspec.structs.astuple, parts), strict=True)
    sums: dict[str, Any] = {
        name: reduce(operator.add, column)
        for name, column in zip(Outcome.__struct_fields__, columns, strict=True)
    }
    return Outcome(**sums)


Runner = Callable[[Sequence[BenchClip], int], Outcome]
"""Runs clips in batches of so many."""


@dataclass(slots=True, eq=False)
class Entrant:
    """One way at one batch size, the clips it hears, and what came of its turns so far."""

    batch: int
    way: Way
    clips: Sequence[BenchClip]
    run: Runner
    draft_accuracy: float | None = None
    outcomes: list[Outcome] = field(default_factory=list[Outcome])


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One way at one batch size.

    `spread` is the distance of the slowest from the fastest repeat in terms of the median; `realtime_factor` is time by
    length of audio; `versus_generate` and `versus_serial` are speeds in terms of `generate`'s in the same run, at the
    same batch size and at batch 1 (None without such a row); `same_tokens` counts the clips whose tokens are those
    `generate` said at the smallest batch size of the run. `passes`, `drafted` and `accepted` are of all repeats.
    """

    batch: int
    way: Way
    draft_accuracy: float | None
    clips: int
    audio_seconds: float
    seconds: tuple[float, ...]
    median_seconds: float
    spread: float
    realtime_factor: float
    tokens: int
    tokens_per_second: float
    versus_generate: float | None = None
    versus_serial: float | None = None
    passes: int
    passes_per_100_tokens: float
    drafted: int
    accepted: int
    encoder_padding: float
    text_padding: float
    same_tokens: int
    word_error_rate: float | None

    @property
    def label(self) -> str:
        """The way in words."""
        stated = "" if self.draft_accuracy is None else f" {100 * self.draft_accuracy:g} %"
        return self.way.value + stated


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the work; `share` is what it reaches of `limit`: compute or bandwidth, whichever takes longer."""

    name: str
    seconds: float
    tera_operations: float
    gigabytes: float
    limit: str
    share: float


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine reaches with nothing but a matrix product, or reading, and what the model reaches of it."""

    gemm_gflops: float
    gemm_shape: tuple[int, int, int]
    bandwidth_gb_per_second: float
    stages: tuple[Stage, ...]


class MachineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured."""

    cpu: str
    usable_cores: int
    threads: int
    gpus: tuple[str, ...]
    memory_bytes: int
    torch: str
    transformers: str
    lithophone: str
    python: str
    system: str


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    `weights` is "checkpoint" or "random"; `options` are those that change the arithmetic; the peaks are the most memory in
    use at any time, of the process, and of what torch held on the GPU (None without one).
    """

    model: str
    weights: str
    device: str
    dtype: str
    parameters: int
    weight_bytes: int
    options: tuple[str, ...] = ()
    peak_resident_bytes: int | None
    peak_device_bytes: int | None


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `lithophone bench` says."""

    command: str
    machine: MachineFacts
    model: ModelFacts
    audio: str
    repeats: int
    rows: tuple[Row, ...]
    roofline: Roofline | None
    notes: tuple[str, ...]


def summarise(entrants: Sequence[Entrant]) -> tuple[Row, ...]:
    """Rows in the order given; ratios are to `generate` where it is among them."""
    said = _reference_tokens(entrants)
    rows = [_row(one, said) for one in entrants]
    generate = {row.batch: row.realtime_factor for row in rows if row.way is Way.GENERATE}
    return tuple(
        msgspec.structs.replace(
            row,
            versus_generate=generate[row.batch] / row.realtime_factor if row.batch in generate else None,
            versus_serial=generate[1] / row.realtime_factor if 1 in generate else None,
        )
        for row in rows
    )


def _reference_tokens(entrants: Sequence[Entrant]) -> dict[str, tuple[int, ...]]:
    """What `generate` said about each clip, at the smallest batch size that heard it; without `generate`, plain decoding."""
    ways = {one.way for one in entrants}
    reference = Way.GENERATE if Way.GENERATE in ways else Way.PLAIN
    largest_first = sorted((one for one in entrants if one.way is reference), key=lambda one: -one.batch)
    return {
        clip.name: tokens
        for one in largest_first
        for clip, tokens in zip(one.clips, one.outcomes[0].tokens, strict=True)
    }


def _row(one: Entrant, said: dict[str, tuple[int, ...]]) -> Row:
    last, total = one.outcomes[-1], added(one.outcomes)
    seconds = tuple(outcome.seconds for outcome in one.outcomes)
    middle, audio_seconds = median(seconds), sum(clip.seconds for clip in one.clips)
    same = [said.get(clip.name) == tokens for clip, tokens in zip(one.clips, last.tokens, strict=True)]
    return Row(
        batch=one.batch,
        way=one.way,
        draft_accuracy=one.draft_accuracy,
        clips=len(one.clips),
        audio_seconds=audio_seconds,
        seconds=seconds,
        median_seconds=middle,
        spread=(max(seconds) - min(seconds)) / middle,
        realtime_factor=middle / audio_seconds,
        tokens=last.emitted,
        tokens_per_second=last.emitted / middle,
        passes=total.passes,
        passes_per_100_tokens=100 * total.sequence_passes / max(1, total.emitted),
        drafted=total.drafted,
        accepted=total.accepted,
        encoder_padding=_share(last.padded_frames, last.frames),
        text_padding=_share(last.padded_positions, last.positions),
        same_tokens=sum(same),
        word_error_rate=word_error_rate([clip.text for clip in one.clips], last.texts),
    )


def _share(padded: int, useful: int) -> float:
    return padded / max(1, padded + useful)


def edit_distance(wanted: Sequence[object], got: Sequence[object]) -> int:
    """The fewest items to insert, delete or replace to make one sequence of the other (Levenshtein 1966)."""
    row = list(range(len(got) + 1))
    for place, item in enumerate(wanted, start=1):
        before, row[0] = row[0], place
        for other, said in enumerate(got, start=1):
            before, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, before + (item != said))
    return row[-1]


def word_error_rate(references: Sequence[str | None], texts: Sequence[str]) -> float | None:
    """Word edits by reference words over the clips that have a transcript; case and punctuation do not count."""
    pairs = [(_words(said), _words(text)) for said, text in zip(references, texts, strict=True) if said]
    words = sum(len(said) for said, _ in pairs)
    return sum(edit_distance(said, text) for said, text in pairs) / words if words else None


def _words(text: str) -> list[str]:
    bare = (word.strip(string.punctuation) for word in text.casefold().split())
    return [word for word in bare if word]


def report_json(report: BenchReport) -> str:
    """The report as one indented JSON document."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
