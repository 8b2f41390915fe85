"""The report as a page of plain text that fits 100 columns and survives being pasted."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lithophone.backends.memory import format_gb
from lithophone.bench.report import BenchReport, Roofline, Row, Way

PAGE_WIDTH = 100
LEGEND = (
    "sec: median of the repeats; +-: slowest less fastest in %. x gen, x ser: speed in terms of transformers' generate in "
    "this run, at the same batch size and at batch 1. passes: of the language model for 100 tokens of a transcript. "
    "hit: drafted tokens that were accepted. pad: padding among the encoder's / the language model's positions (ours: "
    "in attention alone, matrices multiply none). same: clips with the very tokens of generate."
)


def render(report: BenchReport) -> RenderableType:
    """The report as a page."""
    parts: list[RenderableType] = [
        *_heading(report),
        _summary(report),
        _rows(report),
        Text(LEGEND, "dim"),
        "",
    ]
    if report.roofline is not None:
        parts += [*_roofline(report.roofline, ", ".join(report.machine.gpus) or report.machine.cpu), ""]
    parts += [Padding(Text(f"- {note}"), (0, 0)) for note in report.notes]
    return Group(*parts)


def _heading(report: BenchReport) -> Iterator[Text]:
    machine = report.machine
    yield Text(f"$ {report.command}", "bold")
    gpus = f"{', '.join(machine.gpus)}; " if machine.gpus else ""
    yield Text(
        f"{gpus}{machine.cpu}, {machine.threads} of {machine.usable_cores} usable cores, "
        f"{format_gb(machine.memory_bytes)} of memory; Lithophone {machine.lithophone}, torch {machine.torch}, "
        f"transformers {machine.transformers}, Python {machine.python}"
    )
    yield Text(f"audio: {report.audio}; {report.repeats} repeats, interleaved")


def _summary(report: BenchReport) -> Table:
    model, memory = report.model, report.memory
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("Model", "Device", "dtype", "RTF", "RTF of generate", "Weights", "Peak memory"):
        table.add_column(column, no_wrap=column != "Model")
    peaks = [format_gb(memory.peak_resident_bytes)] if memory.peak_resident_bytes is not None else []
    if memory.peak_device_bytes is not None:
        peaks.append(f"{format_gb(memory.peak_device_bytes)} on the GPU")
    ours = _row_of(report, Way.DRAFTED) or _row_of(report, Way.PLAIN)
    peer = _row_of(report, Way.GENERATE)
    table.add_row(
        model.model + (", random" if model.weights == "random" else ""),
        model.device,
        ", ".join((model.dtype, *model.options)),
        f"{ours.realtime_factor:.3g}" if ours else "-",
        f"{peer.realtime_factor:.3g}" if peer else "-",
        format_gb(model.weight_bytes),
        ", ".join(peaks) or "-",
    )
    return table


def _row_of(report: BenchReport, way: Way) -> Row | None:
    """Of the smallest batch size."""
    return min((row for row in report.rows if row.way is way), key=lambda row: row.batch, default=None)


def _rows(report: BenchReport) -> Table:
    with_errors = any(row.word_error_rate is not None for row in report.rows)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("Way", no_wrap=True)
    columns = ["sec", "+-", "RTF", "tok/s", "x gen", "x ser", "passes", "hit %", "pad %", "same"]
    for column in [*columns, *(["WER %"] if with_errors else [])]:
        table.add_column(column, justify="right", no_wrap=True)
    for batch in sorted({row.batch for row in report.rows}):
        rows = [row for row in report.rows if row.batch == batch]
        first = rows[0]
        table.add_row(Text(f"batch {batch}: {first.clips} clips, {first.audio_seconds:.0f} s", "bold"))
        for row in rows:
            cells = _cells(row)
            table.add_row(*(cells if with_errors else cells[:-1]), end_section=row is rows[-1])
    return table


def _cells(row: Row) -> list[str]:
    return [
        f"  {row.label}",
        f"{row.median_seconds:.3g}" if row.median_seconds < 1000 else f"{row.median_seconds:.0f}",
        f"{100 * row.spread:.0f}",
        f"{row.realtime_factor:.3g}",
        f"{row.tokens_per_second:.3g}",
        _ratio(row.versus_generate),
        _ratio(row.versus_serial),
        f"{row.passes_per_100_tokens:.0f}" if row.passes else "-",
        f"{100 * row.accepted / row.drafted:.0f}" if row.drafted else "-",
        f"{100 * row.encoder_padding:.0f}/{100 * row.text_padding:.0f}" if row.passes else "-",
        f"{row.same_tokens}/{row.clips}",
        f"{100 * row.word_error_rate:.1f}" if row.word_error_rate is not None else "-",
    ]


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _roofline(roofline: Roofline, device: str) -> Iterator[RenderableType]:
    shape = "x".join(str(size) for size in roofline.gemm_shape)
    yield Text(
        f"Roofline of {device}: matrix products reach {roofline.gemm_gflops:.0f} GFLOP/s ({shape}), "
        f"memory {roofline.bandwidth_gb_per_second:.1f} GB/s."
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("Stage", "seconds", "GFLOP", "GB read", "reached"):
        table.add_column(column, justify="left" if column in {"Stage", "reached"} else "right")
    for stage in roofline.stages:
        table.add_row(
            stage.name,
            f"{stage.seconds:.3g}",
            f"{1000 * stage.tera_operations:.3g}",
            f"{stage.gigabytes:.3g}" if stage.gigabytes else "-",
            f"{100 * stage.share:.0f} % of {stage.limit}",
        )
    yield table
