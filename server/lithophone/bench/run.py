"""The benchmark itself: what is run in which order, and how it is told.

All ways take turns, repeat by repeat, so that whatever else the machine does falls on all of them alike; what a ratio
compares was always measured in the same run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lithophone.backends.capacity import windows_at_a_time
from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.bench import BenchOptions
from lithophone.bench.clips import choose_clips
from lithophone.bench.opening import machine_facts, open_model
from lithophone.bench.page import PAGE_WIDTH, render
from lithophone.bench.report import BenchReport, Entrant, report_json, summarise
from lithophone.bench.roofline import draw_roofline
from lithophone.bench.ways import contest_of

USUAL_BATCHES = (1, 4, 16, 64)


def run(options: BenchOptions, *, as_json: bool) -> None:
    """Measure and print.

    Raises:
        StartupError: the model, the device or the audio cannot be had.
    """
    with _progress() as tell:
        report = measure(options, tell)
    if as_json:
        sys.stdout.write(report_json(report) + "\n")
    else:
        console = Console()
        (console if console.is_terminal else Console(width=PAGE_WIDTH)).print(render(report))


Tell = Callable[[str, float], None]
"""Says what is being done, and what share of everything is."""


@contextmanager
def _progress() -> Iterator[Tell]:
    """A bar on standard error where that is a terminal, else nothing."""
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda what, share: progress.update(task, description=what, completed=share)


def measure(options: BenchOptions, tell: Tell) -> BenchReport:
    """Run everything the options ask for.

    Raises:
        StartupError: the model, the device or the audio cannot be had.
    """
    with TorchRuntime().thread():
        tell("loading", 0.0)
        facts = read_torch_facts()
        opened = open_model(options, facts)
        plan, config = opened.plan, opened.model.config
        if not options.batches:
            fitting = windows_at_a_time(config, plan, facts)
            batches = tuple(batch for batch in USUAL_BATCHES if batch <= fitting)
            options = msgspec.structs.replace(options, batches=batches)
        clips, audio = choose_clips(options, opened.spec, joined=opened.is_random)
        contest = contest_of(opened, options, clips)
        tell("warming up", 0.0)
        contest.warm_up()
        _take_turns(contest.entrants, options.repeats, tell)
        tell("roofline", 1.0)
        model = contest.model if options.roofline else None
        return BenchReport(
            command=options.command,
            machine=machine_facts(facts, plan),
            model=opened.facts(),
            audio=audio,
            repeats=options.repeats,
            rows=summarise(contest.entrants),
            roofline=None if model is None else draw_roofline(model, config, plan, clips[0]),
            notes=(*opened.notes, *contest.notes),
        )


def _take_turns(entrants: Sequence[Entrant], repeats: int, tell: Tell) -> None:
    """All of them, again and again; what is inside the clock is all of a way, from float samples to text."""
    turns = [entrant for _ in range(repeats) for entrant in entrants]
    for place, entrant in enumerate(turns):
        tell(f"batch {entrant.batch}: {entrant.way.value}", place / len(turns))
        started = time.perf_counter()
        outcome = entrant.run(entrant.clips, entrant.batch)
        seconds = time.perf_counter() - started
        entrant.outcomes.append(msgspec.structs.replace(outcome, seconds=seconds))
