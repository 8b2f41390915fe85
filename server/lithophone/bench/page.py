"""The report as a page of plain text that fits 100 columns and survives being pasted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lithophone.backends.memory.estimate import format_gb
from lithophone.bench.report import BenchReport, Row, Stage

PAGE_WIDTH = 100
NOTHING = "-"
LEGEND = (
    "sec: median of the repeats; +-: slowest less fastest in %. x gen, x ser: speed in terms of transformers' generate in "
    "this run, at the same batch size and at batch 1. passes: of the language model for 100 tokens of a transcript. "
    "hit: drafted tokens that were accepted. pad: padding among the encoder's / the language model's positions (ours: "
    "in attention alone, matrices multiply none). same: clips with the very tokens of generate."
)
Item = TypeVar("Item")
Columns = dict[str, Callable[[Item], str]]
"""What stands above a column, and how its cells are made."""

ROWS: Columns[Row] = {
    "batch": lambda row: str(row.batch),
    "way": lambda row: row.label,
    "sec": lambda row: _figure(row.median_seconds),
    "+-": lambda row: f"{100 * row.spread:.0f}",
    "RTF": lambda row: _figure(row.realtime_factor),
    "tok/s": lambda row: _figure(row.tokens_per_second),
    "x gen": lambda row: _figure(row.versus_generate),
    "x ser": lambda row: _figure(row.versus_serial),
    "passes": lambda row: f"{row.passes_per_100_tokens:.0f}" if row.passes else NOTHING,
    "hit %": lambda row: f"{100 * row.accepted / row.drafted:.0f}" if row.drafted else NOTHING,
    "pad %": lambda row: (
        f"{100 * row.encoder_padding:.0f}/{100 * row.text_padding:.0f}" if row.passes else NOTHING
    ),
    "same": lambda row: f"{row.same_tokens}/{row.clips}",
    "WER %": lambda row: NOTHING if row.word_error_rate is None else f"{100 * row.word_error_rate:.1f}",
}
STAGES: Columns[Stage] = {
    "stage": lambda stage: stage.name,
    "seconds": lambda stage: _figure(stage.seconds),
    "GFLOP": lambda stage: _figure(1000 * stage.tera_operations),
    "GB read": lambda stage: _figure(stage.gigabytes or None),
    "reached": lambda stage: f"{100 * stage.share:.0f} % of {stage.limit}",
}
WORDS = {"way", "stage", "reached"}


def render(report: BenchReport) -> RenderableType:
    """The report as a page."""
    parts: list[RenderableType] = [*_heading(report), _table(ROWS, report.rows), Text(LEGEND, "dim"), ""]
    if (limits := report.roofline) is not None:
        reached = f"matrix products {limits.gemm_gflops:.0f} GFLOP/s, memory {limits.bandwidth_gb_per_second:.1f} GB/s"
        parts += [Text(f"Roofline: the machine reaches {reached}."), _table(STAGES, limits.stages)]
    return Group(*parts, *(Text(f"- {note}") for note in report.notes))


def _heading(report: BenchReport) -> Iterator[Text]:
    machine, model = report.machine, report.model
    yield Text(f"$ {report.command}", "bold")
    peaks = {"the process": model.peak_resident_bytes, "the GPU": model.peak_device_bytes}
    yield Text(
        f"{model.model}{', random weights' if model.weights == 'random' else ''}, on {model.device} in "
        f"{', '.join((model.dtype, *model.options))}: {format_gb(model.weight_bytes)} of weights"
        + "".join(
            f", at most {format_gb(peak)} in {where}" for where, peak in peaks.items() if peak is not None
        )
    )
    yield Text(
        f"{', '.join((*machine.gpus, machine.cpu))}, {machine.threads} of {machine.usable_cores} usable cores, "
        f"{format_gb(machine.memory_bytes)} of memory; Lithophone {machine.lithophone}, torch {machine.torch}, "
        f"transformers {machine.transformers}, Python {machine.python}"
    )
    yield Text(f"audio: {report.audio}; {report.repeats} repeats, interleaved")


def _table(columns: Columns[Item], items: Sequence[Item]) -> Table:
    """One row for each; a column that says nothing of any is left out."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=0)
    cells: list[list[str]] = []
    for title, cell in columns.items():
        column = [cell(item) for item in items]
        if set(column) != {NOTHING}:
            table.add_column(title, justify="left" if title in WORDS else "right", no_wrap=True)
            cells.append(column)
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table


def _figure(value: float | None) -> str:
    """Three digits, without an exponent."""
    if value is None:
        return NOTHING
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
