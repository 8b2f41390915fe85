"""`lithophone doctor`: what this machine is, what the server would choose on it, and which models fit.

Owns the gathering (`examine`), the report (`DoctorReport`) and its two forms, a page for people and JSON. Decides
nothing itself: device and dtype come from `lithophone.backends.device`, memory from `lithophone.backends.memory`.

Importing this module imports torch.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import imageio_ffmpeg  # pyright: ignore[reportMissingTypeStubs]
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lithophone.audio.decode import bundled_ffmpeg
from lithophone.backends.device.facts import NATIVE_BFLOAT16_FEATURES, DtypeName, TorchFacts, read_torch_facts
from lithophone.backends.device.plan import DevicePlan, DeviceWishes, plan_device
from lithophone.backends.memory.estimate import format_gb
from lithophone.backends.memory.registered import SMALL_BYTES
from lithophone.backends.memory.table import DtypeFit, FitRow, family_fit_table
from lithophone.errors import LithophoneError, StartupError
from lithophone.measured import MeasuredMemory, Measurement, measured_path
from lithophone.torch_builds import CPU, Choice, choose, read_machine

EXIT_HEALTHY = 0
EXIT_PROBLEM = 2  # as for every StartupError
CPU_FEATURES_SHOWN = ("avx2", "avx512_f", "neon", *sorted(NATIVE_BFLOAT16_FEATURES))
DTYPE_COLUMNS: Mapping[DtypeName, str] = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
ADVICE_STYLE = "yellow"


class FfmpegFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The ffmpeg binary audio is decoded with."""

    path: str
    version: str


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `lithophone doctor` says.

    `problem` is why the device or dtype asked for cannot be served; `plan` is then what "auto" would choose. `torch_choice` is
    the build that this machine takes, whatever is installed. `measured` is
    what models were seen to take here.
    """

    lithophone_version: str
    python_version: str
    transformers_version: str
    torchaudio_installed: bool
    facts: TorchFacts
    plan: DevicePlan
    torch_choice: Choice
    ffmpeg: FfmpegFacts | None
    fits: tuple[FitRow, ...]
    measured: tuple[Measurement, ...] = ()
    problem: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether a server could start with these settings."""
        return self.problem is None and self.ffmpeg is not None


def run(wishes: DeviceWishes | None = None, *, as_json: bool = False) -> int:
    """Print the report on this machine and return the exit code: 0 if a server could start, else 2."""
    report = examine(read_torch_facts(), os.environ, wishes)
    if as_json:
        print(report_json(report))
    else:
        Console().print(render(report))
    return EXIT_HEALTHY if report.healthy else EXIT_PROBLEM


def examine(
    facts: TorchFacts, environ: Mapping[str, str], wishes: DeviceWishes | None = None
) -> DoctorReport:
    """Make the report for these facts. A device that cannot be served is part of the report, not an error."""
    wishes = wishes or DeviceWishes()
    problem: str | None = None
    try:
        plan = plan_device(facts, wishes, environ=environ)
    except StartupError as error:
        problem = error.message
        wishes = DeviceWishes()
        plan = plan_device(facts, environ=environ)
    return DoctorReport(
        lithophone_version=metadata.version("lithophone"),
        python_version=platform.python_version(),
        transformers_version=metadata.version("transformers"),
        torchaudio_installed=find_spec("torchaudio") is not None,
        facts=facts,
        plan=plan,
        torch_choice=choose(read_machine()),
        ffmpeg=find_ffmpeg(),
        fits=family_fit_table(facts, wishes),
        measured=tuple(MeasuredMemory(measured_path(environ))),
        problem=problem,
    )


def find_ffmpeg() -> FfmpegFacts | None:
    """The binary imageio-ffmpeg carries or finds; None if there is none that runs."""
    untyped: Any = imageio_ffmpeg
    try:
        return FfmpegFacts(path=bundled_ffmpeg(), version=untyped.get_ffmpeg_version())
    except (LithophoneError, RuntimeError, OSError):
        return None


def report_json(report: DoctorReport) -> str:
    """The report as indented JSON, keys and sets in a fixed order."""
    return msgspec.json.format(msgspec.json.encode(report, order="deterministic"), indent=2).decode()


def render(report: DoctorReport) -> RenderableType:
    """The report as a page for a terminal of any width."""
    parts: list[RenderableType] = [
        _facts_grid(report),
        *_advice(report),
        "",
        _fit_table(report),
        _fit_legend(),
        *_measured_table(report),
    ]
    if report.problem is not None:
        parts = [Text(f"Cannot start: {report.problem}", style="bold red"), "", *parts]
    return Group(*parts)


def _facts_grid(report: DoctorReport) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in _facts_rows(report):
        grid.add_row(label, Text(value))
    return grid


def _facts_rows(report: DoctorReport) -> Iterator[tuple[str, str]]:
    facts, plan = report.facts, report.plan
    yield "Lithophone", f"{report.lithophone_version} on Python {report.python_version}"
    yield "torch", f"{facts.build}; transformers {report.transformers_version}"
    yield from (("", line) for line in _another_torch(report.torch_choice, facts))
    yield "device", f"{plan.kind} in {plan.dtype}" + (" (what auto would choose)" if report.problem else "")
    yield from (("", reason) for reason in plan.reasons)
    yield from _gpu_rows(facts)
    yield "CPU", f"{facts.cpu.name}, {facts.cpu.usable_threads} usable threads; {_cpu_features(facts)}"
    yield "memory", f"{format_gb(facts.cpu.available_bytes)} free of {format_gb(facts.cpu.total_bytes)}"
    yield "ffmpeg", _ffmpeg_line(report.ffmpeg)
    yield "torchaudio", _torchaudio_line(installed=report.torchaudio_installed)


def _another_torch(choice: Choice, facts: TorchFacts) -> Iterator[str]:
    """Where another build would serve this machine better."""
    installed = facts.gpu_kind or CPU.kind
    if choice.build is not None and choice.build.kind != installed:
        yield (
            f"this machine takes {choice.build.tag} ({choice.why}): make clean install TORCH={choice.build.kind}"
        )


def _gpu_rows(facts: TorchFacts) -> Iterator[tuple[str, str]]:
    if not facts.gpus:
        yield "GPU", "none that this torch can see"
    for index, gpu in enumerate(facts.gpus):
        memory = "unified memory" if gpu.integrated else "memory"
        free = f"{format_gb(gpu.budget_bytes)} free of {format_gb(gpu.total_bytes)} {memory}"
        bfloat16 = "native" if gpu.native_bfloat16 else "emulated"
        yield f"GPU {index}", f"{gpu.name}, {gpu.arch}, {free}, bfloat16 {bfloat16}"


def _cpu_features(facts: TorchFacts) -> str:
    present = [name for name in CPU_FEATURES_SHOWN if name in facts.cpu.features]
    bfloat16 = "native" if facts.cpu.native_bfloat16 else "not native"
    return f"{', '.join(present) or 'no vector extensions known'}; bfloat16 {bfloat16}"


def _ffmpeg_line(ffmpeg: FfmpegFacts | None) -> str:
    if ffmpeg is None:
        return "NOT FOUND: reinstall imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to an ffmpeg binary"
    return f"{ffmpeg.version} ({ffmpeg.path})"


def _torchaudio_line(*, installed: bool) -> str:
    if not installed:
        return "not installed, and not needed"
    return "installed, but not needed; remove it if importing transformers fails on it"


def _advice(report: DoctorReport) -> Iterator[RenderableType]:
    plan = report.plan
    if not plan.environment and not plan.notes:
        return
    bullets = Table.grid(padding=(0, 1))
    for variable in plan.environment:
        bullets.add_row("-", Text(f"set {variable.name}={variable.value}: {variable.why}", ADVICE_STYLE))
    for note in plan.notes:
        bullets.add_row("-", Text(note, ADVICE_STYLE))
    yield ""
    yield Text("Advice (untested on hardware)", style="bold")
    yield bullets


def _fit_table(report: DoctorReport) -> Table:
    table = Table(
        title="GB of memory to load and serve a model", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("Model", no_wrap=True)
    for column in DTYPE_COLUMNS.values():
        table.add_column(column, justify="right", no_wrap=True)
    for mode in SMALL_BYTES:
        table.add_column(mode, justify="right", no_wrap=True)
    table.add_column("fits this machine?")
    for row in report.fits:
        gigabytes = {fit.dtype: f"{fit.required_bytes / 1e9:.1f}" for fit in row.fits}
        small = {fit.quantization: f"{fit.required_bytes / 1e9:.1f}" for fit in row.small_fits}
        table.add_row(
            row.model_id,
            *(gigabytes[dtype] for dtype in DTYPE_COLUMNS),
            *(small.get(mode, "") for mode in SMALL_BYTES),
            fit_words(row),
        )
    return table


def fit_words(row: FitRow) -> Text:
    """Whether a model fits: `yes`, the dtypes that do (`fp16/bf16`), or `no`; for GPU and CPU where there are both.

    Of a CPU where no dtype fits, the ways of quantising that do (`int8/int4`).
    """
    cpu = _fit_answer([fit for fit in row.fits if fit.fits_cpu], row)
    if cpu == "no":
        cpu = "/".join(fit.quantization for fit in row.small_fits if fit.fits_cpu) or "no"
    if row.fits[0].fits_gpu is None:
        return Text(cpu, _answer_style(cpu))
    gpu = _fit_answer([fit for fit in row.fits if fit.fits_gpu], row)
    return Text.assemble("GPU ", (gpu, _answer_style(gpu)), ", CPU ", (cpu, _answer_style(cpu)))


def _fit_answer(fitting: list[DtypeFit], row: FitRow) -> str:
    if len(fitting) == len(row.fits):
        return "yes"
    return "/".join(DTYPE_COLUMNS[fit.dtype] for fit in fitting) or "no"


def _answer_style(answer: str) -> str:
    return {"yes": "green", "no": "red"}.get(answer, ADVICE_STYLE)


def _measured_table(report: DoctorReport) -> Iterator[RenderableType]:
    if not report.measured:
        return
    table = Table(title="GB that models took here", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("Model", "device", "dtype", "quantization"):
        table.add_column(column, no_wrap=True)
    table.add_column("most memory", justify="right", no_wrap=True)
    for one in report.measured:
        table.add_row(one.model, one.device, one.dtype, one.quantization, f"{one.memory_bytes / 1e9:.1f}")
    yield ""
    yield table


def _fit_legend() -> Text:
    return Text(
        "Weights and the working memory of one 30 s window, against what is free now; int8 and int4 (--quantization) are for "
        "CPUs. The server checks again, from "
        "the checkpoint's own configuration, before it loads.",
        style="dim",
    )
