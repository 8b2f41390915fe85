"""The benchmark itself: what is run in which order, and what is made of it.

Owns the options and the order of things. All ways take turns, repeat by repeat, so that whatever else the machine does
falls on all of them alike; what a ratio compares was always measured in the same run.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lithophone.backends.capacity import windows_at_a_time
from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.backends.transformers_backend.ctc import CtcBackend
from lithophone.backends.transformers_backend.speech_model import SpeechModel
from lithophone.bench.clips import BenchClip, demonstration_clips, joined_clips, read_clips
from lithophone.bench.drafts import corrupted
from lithophone.bench.machine import machine_facts, memory_facts, model_facts
from lithophone.bench.opening import OpenedModel, open_model
from lithophone.bench.options import STATED_ACCURACIES, BenchOptions
from lithophone.bench.report import BenchReport, Measured, Outcome, Roofline, Way, report_json, summarise
from lithophone.bench.roofline import draw_roofline, measure_limits, time_stages
from lithophone.bench.table import PAGE_WIDTH, render
from lithophone.bench.ways import (
    CtcGenerateWay,
    CtcOurWay,
    GenerateWay,
    OurWay,
    Runner,
    TokenLimits,
    plain_prompt,
)
from lithophone.errors import ConfigurationError

EXIT_DONE = 0
JOINED_SECONDS = 30.0
USUAL_BATCHES = (1, 4, 16, 64)
TOKENS_PER_SECOND = 10 / 3  # of English read at an ordinary pace; what random weights are made to say
WARM_UP_SECONDS = 2.0
WARM_UP_TOKENS = 4
SIMULATED_NOTE = (
    "Drafts are SIMULATED: each token of what the model says, known from the run without drafts, is wrong with the "
    "stated probability, and goes through the same verification as a real draft."
)
CTC_NOTE = (
    "{} has no language model: there is nothing to speculate about, nothing is decoded token by token, and clips go one "
    "by one whatever the batch. Rows about these, and the roofline, are left out."
)


def run(options: BenchOptions, *, as_json: bool) -> int:
    """Measure and print; returns the exit code.

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
    return EXIT_DONE


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
        return _measure(options, tell)


def _measure(options: BenchOptions, tell: Tell) -> BenchReport:
    facts = read_torch_facts()
    tell("loading", 0.0)
    opened = open_model(
        options.model,
        options.wishes,
        facts,
        random_weights=options.random_weights,
        batch=max(options.batches, default=1),
        revision=options.revision,
    )
    plan = opened.plan
    if not options.batches:
        fitting = windows_at_a_time(opened.model.config, plan, facts)
        batches = tuple(batch for batch in USUAL_BATCHES if batch <= fitting)
        options = msgspec.structs.replace(options, batches=batches)
    clips, audio = _clips(options, opened)
    notes = [opened.note] if opened.note else []
    contest = CtcContest(opened) if opened.is_ctc else SpeechContest(opened, options, clips)
    notes += contest.notes
    entrants = contest.entrants(clips, options)
    tell("warming up", 0.0)
    contest.warm_up()
    _take_turns(entrants, options.repeats, tell)
    tell("roofline", 1.0)
    return BenchReport(
        command=options.command,
        machine=machine_facts(facts, plan),
        model=model_facts(opened, plan),
        audio=audio,
        repeats=options.repeats,
        rows=summarise([entrant.measured() for entrant in entrants]),
        roofline=contest.roofline(clips[0]) if options.roofline else None,
        memory=memory_facts(plan),
        notes=tuple(notes),
    )


def _clips(options: BenchOptions, opened: OpenedModel) -> tuple[list[BenchClip], str]:
    """What is heard, and how to call it: files; else the demonstration's speech, joined where a length is to be measured."""
    spec = opened.spec
    seconds = options.seconds or min(JOINED_SECONDS, spec.max_window_seconds)
    if seconds > spec.max_window_seconds:
        raise ConfigurationError(
            f"--seconds {seconds:g}: {spec.id} hears at most {spec.max_window_seconds:g} s at once"
        )
    if not options.audio and (opened.is_random or options.seconds):
        said = f"speech that comes with Lithophone, joined to {seconds:g} s a clip (--audio takes other)"
        return joined_clips(max(options.batches), seconds), said
    if options.audio:
        clips, named = read_clips(options.audio, seconds, options.clips), ", ".join(options.audio)
    else:
        clips, named = demonstration_clips()[: options.clips], "the speech that comes with Lithophone"
    total = sum(clip.seconds for clip in clips)
    return clips, f"{len(clips)} clips of {named}, {total:.0f} s, each up to {seconds:g} s"


@dataclass(slots=True, eq=False)
class Entrant:
    """One way at one batch size, and what came of its turns so far."""

    batch: int
    way: Way
    run: Runner
    clips: Sequence[BenchClip]
    accuracy: float | None = None
    outcomes: list[Outcome] = field(default_factory=list[Outcome])

    def take_turn(self) -> None:
        """Run once more."""
        self.outcomes.append(self.run(self.clips, self.batch))

    @property
    def label(self) -> str:
        """For the progress display."""
        stated = f" {100 * self.accuracy:g} %" if self.accuracy is not None else ""
        return f"batch {self.batch}: {self.way.value}{stated}"

    def measured(self) -> Measured:
        """All turns."""
        return Measured(
            batch=self.batch,
            way=self.way,
            draft_accuracy=self.accuracy,
            clip_names=tuple(clip.name for clip in self.clips),
            references=tuple(clip.text for clip in self.clips),
            audio_seconds=sum(clip.seconds for clip in self.clips),
            outcomes=tuple(self.outcomes),
        )


def _take_turns(entrants: Sequence[Entrant], repeats: int, tell: Tell) -> None:
    for repeat in range(repeats):
        for place, entrant in enumerate(entrants):
            tell(entrant.label, (repeat * len(entrants) + place) / (repeats * len(entrants)))
            entrant.take_turn()


class SpeechContest:
    """The ways of a model with a language model.

    Simulated drafts are made of what the plain way said in its first turn, which comes before theirs.
    """

    def __init__(self, opened: OpenedModel, options: BenchOptions, clips: Sequence[BenchClip]) -> None:
        self._opened = opened
        self._plan = plan = opened.plan
        self._model = SpeechModel(
            opened.spec, opened.model, opened.processor, plan, windows=max(options.batches), speculate=True
        )
        self._settle_ties = not opened.is_random
        self._limits = TokenLimits(0, options.tokens)
        self.notes: list[str] = []
        if opened.is_random:
            longest = max(clip.seconds for clip in clips)
            tokens = options.tokens or max(1, math.ceil(longest * TOKENS_PER_SECOND))
            self._limits = TokenLimits(tokens, tokens)
            self.notes += [
                f"Every transcript is made to be {tokens} tokens long.",
                SIMULATED_NOTE,
            ]
        self._accuracies = options.accuracies
        if self._accuracies is None:
            self._accuracies = STATED_ACCURACIES if opened.is_random else ()

    def entrants(self, clips: Sequence[BenchClip], options: BenchOptions) -> list[Entrant]:
        """Every way at every batch size, in the order of their turns."""
        return [
            entrant
            for batch in sorted(set(options.batches))
            for entrant in self._at(batch, workload(clips, batch))
        ]

    def _at(self, batch: int, clips: Sequence[BenchClip]) -> Iterator[Entrant]:
        yield Entrant(batch, Way.GENERATE, self._generate(self._limits), clips)
        plain = Entrant(batch, Way.PLAIN, self._ours(speculate=False), clips)
        yield plain
        if not self._opened.is_random:
            yield Entrant(batch, Way.DRAFTED, self._ours(), clips)
        for accuracy in self._accuracies or ():
            drafts = SimulatedDrafts(plain, accuracy, self._opened)
            yield Entrant(batch, Way.SIMULATED, self._ours(drafts=drafts), clips, accuracy)

    def _generate(self, limits: TokenLimits) -> GenerateWay:
        return GenerateWay(self._opened, plain_prompt(self._model), self._plan.torch_device, limits)

    def _ours(
        self, *, speculate: bool = True, drafts: Callable[[str], Sequence[int]] | None = None
    ) -> OurWay:
        return OurWay(
            self._model, self._limits, settle_ties=self._settle_ties, speculate=speculate, drafts=drafts
        )

    def warm_up(self) -> None:
        """What the server does when it starts, and the same for `generate`."""
        clips = joined_clips(1, WARM_UP_SECONDS)
        self._generate(TokenLimits(0, WARM_UP_TOKENS))(clips, 1)
        OurWay(self._model, TokenLimits(0, WARM_UP_TOKENS), settle_ties=False)(clips, 1)
        self._model.prepare()

    def roofline(self, clip: BenchClip) -> Roofline:
        """Of one clip alone."""
        return draw_roofline(
            self._opened.model.config, time_stages(self._model, clip), measure_limits(self._plan), self._plan
        )


class SimulatedDrafts:
    """For each clip, what the plain way said about it, with errors."""

    def __init__(self, plain: Entrant, accuracy: float, opened: OpenedModel) -> None:
        self._plain = plain
        self._accuracy = accuracy
        self._vocabulary = int(opened.model.config.text_config.vocab_size)
        end = opened.model.generation_config.eos_token_id
        self._end = [] if opened.is_random else [min(end) if isinstance(end, list) else end]

    def __call__(self, name: str) -> list[int]:
        """The draft of a clip."""
        place = next(index for index, clip in enumerate(self._plain.clips) if clip.name == name)
        said = [*self._plain.outcomes[0].tokens[place], *self._end]
        turn = len(self._plain.outcomes)  # other errors in every turn
        return corrupted(said, self._accuracy, self._vocabulary, seed=turn * len(self._plain.clips) + place)


class CtcContest:
    """The two ways of a model that is a CTC head alone."""

    def __init__(self, opened: OpenedModel) -> None:
        self._opened = opened
        self._plan = plan = opened.plan
        self._backend = CtcBackend(opened.spec, opened.model_id, opened.model, opened.processor, plan)
        self.notes = [CTC_NOTE.format(opened.spec.id)]

    def entrants(
        self,
        clips: Sequence[BenchClip],
        options: BenchOptions,  # noqa: ARG002 - the signature of both contests
    ) -> list[Entrant]:
        """Both, at batch 1."""
        heard = workload(clips, 1)
        return [
            Entrant(1, Way.GENERATE, CtcGenerateWay(self._opened, self._plan.torch_device), heard),
            Entrant(1, Way.PLAIN, CtcOurWay(self._backend), heard),
        ]

    def warm_up(self) -> None:
        """As the server does."""
        self._backend.warm_up()

    def roofline(self, clip: BenchClip) -> None:  # noqa: ARG002 - the signature of both contests
        """Its stages are not those of the others."""
        return


def workload(clips: Sequence[BenchClip], batch: int) -> list[BenchClip]:
    """What a batch size hears: one batch of clips of one length, of others all; repeated if they do not fill one."""
    heard = list(clips[:batch] if len({len(clip.samples) for clip in clips}) == 1 else clips)
    for number in range(len(heard), batch):
        clip = clips[number % len(clips)]
        heard.append(BenchClip(f"{clip.name} #{number}", clip.samples, clip.text))
    return heard
