"""The report as a page of plain text that fits 100 columns and survives being pasted."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lithophone.backends.memory.estimate import format_gb
from lithophone.bench.report import BenchReport
from lithophone.granite.family import ModelSpec
from lithophone.verify.known import seed_of
from lithophone.verify.report import Check, Heard, VerifyReport, marked

PAGE_WIDTH = 100
WORDS = {True: ("ok", "green"), False: ("FAILED", "red"), None: ("told", "dim")}


def render(report: VerifyReport, spec: ModelSpec) -> RenderableType:
    """The report as a page, the verdict last."""
    parts: list[RenderableType] = [*_heading(report), "", *_texts(report)]
    if report.arithmetic:
        parts += ["", _arithmetic(report)]
    parts += ["", _speed(report, spec), "", _checks(report)]
    word, style = WORDS[report.passed]
    failed = sum(check.passed is False for check in report.checks)
    parts.append(
        Text(
            f"{report.model}: {word}" + (f", {failed} of {len(report.checks)} checks" if failed else ""),
            f"bold {style}",
        )
    )
    return Group(*parts)


def _heading(report: VerifyReport) -> Iterator[Text]:
    yield Text(f"$ {report.command}", "bold")
    yield Text(f"{report.model}, {report.license}, {report.folder}", overflow="fold")
    served = report.served
    if served is None:
        return
    revision = f"revision {served.revision}; " if served.revision else ""
    yield Text(
        f"{revision}served on {served.device} in {served.dtype}: loaded in {served.load_seconds:.1f} s, warmed up in "
        f"{served.warm_up_seconds:.1f} s"
    )
    if report.arithmetic:
        machine = report.arithmetic[0].machine
        yield Text(
            f"{', '.join((*machine.gpus, machine.cpu))}, {machine.threads} threads; Lithophone {machine.lithophone}, torch "
            f"{machine.torch}, transformers {machine.transformers}, Python {machine.python}, {machine.system}"
        )


def _texts(report: VerifyReport) -> Iterator[Text]:
    for heard in report.heard:
        yield Text(f"{heard.recording}, {heard.audio_seconds:.1f} s, {heard.language}", "bold")
        yield _text(heard)


def _text(heard: Heard) -> Text:
    """What was heard; where it is known what was said, with the differences marked."""
    if heard.expected is None:
        return Text(f"  {heard.heard}")
    return Text(f"  {marked(heard.expected, heard.heard)}")


def _arithmetic(report: VerifyReport) -> Table:
    table = Table(
        title="Beside transformers' generate, same weights",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in ("dtype", "batch", "way"):
        table.add_column(column, no_wrap=True)
    for column in ("same tokens", "WER", "RTF", "passes/100", "peak"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in report.arithmetic:
        for row in one.rows:
            rate = "-" if row.word_error_rate is None else f"{100 * row.word_error_rate:.1f} %"
            table.add_row(
                one.model.dtype,
                str(row.batch),
                row.label,
                f"{row.same_tokens}/{row.clips}",
                rate,
                f"{row.realtime_factor:.2f}",
                f"{row.passes_per_100_tokens:.0f}",
                _peak(one),
            )
    return table


def _peak(report: BenchReport) -> str:
    model = report.model
    peak = model.peak_device_bytes if model.peak_device_bytes is not None else model.peak_resident_bytes
    return "-" if peak is None else format_gb(peak)


def _speed(report: VerifyReport, spec: ModelSpec) -> Table:
    """What was measured, and what the people who ordered this server expected of a laptop before there was one."""
    table = Table(title="Through the server", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("", "RTF", "memory"):
        table.add_column(column, no_wrap=True)
    for heard in report.heard:
        memory = "-" if report.served is None else format_gb(report.served.memory_bytes)
        table.add_row(heard.recording, f"{heard.realtime_factor:.2f}", memory)
    table.add_row("estimated before loading", "", format_gb(report.estimated_bytes))
    seed = seed_of(spec, report.served.device) if report.served is not None else None
    if seed is not None:
        table.add_row(
            f"expected of a {seed.size} model on {seed.device}", seed.realtime_factor, f"{seed.memory_gb} GB"
        )
    return table


def _checks(report: VerifyReport) -> Table:
    table = Table(title="Checks", title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in report.checks:
        table.add_row(_word(check), Text(f"{check.name}: {check.detail}"))
    return table


def _word(check: Check) -> Text:
    word, style = WORDS[check.passed]
    return Text(word, style)
