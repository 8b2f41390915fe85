"""What a benchmark found, and the arithmetic from runs to rows.

Owns the report's structs, which are its JSON, and the summary of repeated runs. Pure: no torch, no clock, no terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from statistics import median

import msgspec

from lithophone.bench.word_errors import word_error_rate


class Way(Enum):
    """How a row was computed."""

    GENERATE = "transformers generate"
    PLAIN = "ours, no drafts"
    DRAFTED = "ours, CTC drafts"
    SIMULATED = "ours, simulated"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one way over a workload.

    Attributes:
        seconds: By the clock, from samples to texts.
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

    seconds: float
    tokens: tuple[tuple[int, ...], ...]
    emitted: int
    texts: tuple[str, ...]
    passes: int
    sequence_passes: int
    drafted: int = 0
    accepted: int = 0
    frames: int = 0
    padded_frames: int = 0
    positions: int = 0
    padded_positions: int = 0


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
    versus_generate: float | None
    versus_serial: float | None
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
        if self.draft_accuracy is None:
            return self.way.value
        return f"{self.way.value} {100 * self.draft_accuracy:g} %"


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the work against the machine's limits; `share` is of `limit`: compute or bandwidth."""

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
    """What was measured; `weights` is "checkpoint" or "random", `options` are those that change the arithmetic."""

    model: str
    weights: str
    device: str
    dtype: str
    parameters: int
    weight_bytes: int
    options: tuple[str, ...] = ()


class MemoryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Most memory in use at any time: of the process, and what torch held on the GPU (None without one)."""

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
    memory: MemoryFacts
    roofline: Roofline | None
    notes: tuple[str, ...]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """All repeats of one way at one batch size, and the clips they heard."""

    batch: int
    way: Way
    clip_names: tuple[str, ...]
    references: tuple[str | None, ...]
    audio_seconds: float
    outcomes: tuple[Outcome, ...]
    draft_accuracy: float | None = None

    @property
    def median_seconds(self) -> float:
        """Of the repeats."""
        return median(outcome.seconds for outcome in self.outcomes)

    @property
    def realtime_factor(self) -> float:
        """Time by length of audio."""
        return self.median_seconds / self.audio_seconds


def summarise(measured: Sequence[Measured]) -> tuple[Row, ...]:
    """Rows in the order given; ratios are to `generate` where it is among them."""
    generate = {one.batch: one.realtime_factor for one in measured if one.way is Way.GENERATE}
    said = _reference_tokens(measured)
    return tuple(_row(one, generate, said) for one in measured)


def _reference_tokens(measured: Sequence[Measured]) -> dict[str, tuple[int, ...]]:
    """What `generate` said about each clip, at the smallest batch size that heard it; without `generate`, plain decoding."""
    ways = {one.way for one in measured}
    reference = Way.GENERATE if Way.GENERATE in ways else Way.PLAIN
    said: dict[str, tuple[int, ...]] = {}
    for one in sorted(measured, key=lambda one: one.batch):
        if one.way is reference:
            for name, tokens in zip(one.clip_names, one.outcomes[0].tokens, strict=True):
                said.setdefault(name, tokens)
    return said


def _row(one: Measured, generate: dict[int, float], said: dict[str, tuple[int, ...]]) -> Row:
    last, outcomes = one.outcomes[-1], one.outcomes
    seconds = tuple(outcome.seconds for outcome in outcomes)
    sequence_passes = sum(outcome.sequence_passes for outcome in outcomes)
    middle, factor = one.median_seconds, one.realtime_factor
    return Row(
        batch=one.batch,
        way=one.way,
        draft_accuracy=one.draft_accuracy,
        clips=len(one.clip_names),
        audio_seconds=one.audio_seconds,
        seconds=seconds,
        median_seconds=middle,
        spread=(max(seconds) - min(seconds)) / middle,
        realtime_factor=factor,
        tokens=last.emitted,
        tokens_per_second=last.emitted / middle,
        versus_generate=generate[one.batch] / factor if one.batch in generate else None,
        versus_serial=generate[1] / factor if 1 in generate else None,
        passes=sum(outcome.passes for outcome in outcomes),
        passes_per_100_tokens=100 * sequence_passes / max(1, sum(outcome.emitted for outcome in outcomes)),
        drafted=sum(outcome.drafted for outcome in outcomes),
        accepted=sum(outcome.accepted for outcome in outcomes),
        encoder_padding=_share(last.padded_frames, last.frames),
        text_padding=_share(last.padded_positions, last.positions),
        same_tokens=sum(
            said.get(name) == tokens for name, tokens in zip(one.clip_names, last.tokens, strict=True)
        ),
        word_error_rate=word_error_rate(one.references, last.texts),
    )


def _share(padded: int, useful: int) -> float:
    return padded / max(1, padded + useful)


def report_json(report: BenchReport) -> str:
    """The report as one indented JSON document."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
