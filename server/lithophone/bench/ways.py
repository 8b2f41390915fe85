"""The ways from samples to text that are compared, each over a list of clips in batches of a given size.

`generate` runs on the same weights in the same process, fed by transformers' own processor around our extractor, which
needs no torchaudio and gives the same numbers; our way is the server's batch, filled up from the clips that wait whenever
one is done. Drafts of a stated accuracy are for weights that have learned nothing a CTC head could draft from: the tokens
the model will say are known from a run without drafts, and each is replaced by a wrong one with the stated probability.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.backends.base import Recognition, RecognitionRequest
from lithophone.backends.batches import recognise
from lithophone.backends.decoding.loop import Prompt
from lithophone.backends.decoding.packed import transformers_attention
from lithophone.backends.decoding.speculation import (
    LEAST_EXPECTED,
    TRANSCRIPT_EXPECTED,
    Acceptance,
    Source,
    Speculator,
)
from lithophone.backends.transformers_backend.ctc import CtcBackend
from lithophone.backends.transformers_backend.prompting import TOKENS_FLOOR, TOKENS_PER_SECOND
from lithophone.backends.transformers_backend.speech import SpeechBatch
from lithophone.backends.transformers_backend.speech_model import SpeechModel
from lithophone.bench import BenchOptions
from lithophone.bench.clips import BenchClip, joined_clips
from lithophone.bench.opening import OpenedModel
from lithophone.bench.report import Entrant, Outcome, Way, added
from lithophone.granite.family import Architecture
from lithophone.granite.features import stacked_frames
from lithophone.granite.prompts import Task

STATED_ACCURACIES = (1.0, 0.98, 0.95, 0.9, 0.0)
SPOKEN_TOKENS_PER_SECOND = 10 / 3  # of English at an ordinary pace; what random weights are made to say
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

Drafting = Callable[[str, Speculator | None], Speculator | None]
"""Who drafts, by a clip's name and the speculator the server would take."""


class TokenLimits(msgspec.Struct, frozen=True):
    """Fewest tokens of a transcript, and the most (None: what the server allows for its length)."""

    least: int = 0
    most: int | None = None


class Contest(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The ways in the order of their turns, what comes before the clock, and what has to be said about them.

    `model` is the one with a language model; None where there is none.
    """

    entrants: tuple[Entrant, ...]
    warm_up: Callable[[], None]
    notes: tuple[str, ...]
    model: SpeechModel | None = None


def contest_of(opened: OpenedModel, options: BenchOptions, clips: Sequence[BenchClip]) -> Contest:
    """Every way that a model of this kind has, at every batch size that makes a difference to it."""
    ctc = opened.spec.architecture is Architecture.CTC
    return _ctc_contest(opened, clips) if ctc else _speech_contest(opened, options, clips)


def _speech_contest(opened: OpenedModel, options: BenchOptions, clips: Sequence[BenchClip]) -> Contest:
    windows = max(options.batches)
    model = SpeechModel(
        opened.spec, opened.model, opened.processor, opened.plan, windows=windows, speculate=True
    )
    limits, notes = TokenLimits(0, options.tokens), ()
    accuracies = options.accuracies or ()
    if opened.is_random:
        longest = max(clip.seconds for clip in clips)
        tokens = options.tokens or max(1, math.ceil(longest * SPOKEN_TOKENS_PER_SECOND))
        limits = TokenLimits(tokens, tokens)
        notes = (f"Every transcript is made to be {tokens} tokens long.", SIMULATED_NOTE)
        accuracies = STATED_ACCURACIES if options.accuracies is None else accuracies

    def entrants(batch: int) -> Iterator[Entrant]:
        heard = workload(clips, batch)
        yield Entrant(batch, Way.GENERATE, heard, GenerateWay(opened, model, limits))
        plain = Entrant(batch, Way.PLAIN, heard, OurWay(opened, model, limits, lambda *_: None))
        yield plain
        if not opened.is_random:
            yield Entrant(batch, Way.DRAFTED, heard, OurWay(opened, model, limits, lambda _, own: own))
        for accuracy in accuracies:
            drafts = OurWay(opened, model, limits, SimulatedDrafts(plain, accuracy, opened))
            yield Entrant(batch, Way.SIMULATED, heard, drafts, accuracy)

    def warm_up() -> None:
        short, few = joined_clips(1, WARM_UP_SECONDS), TokenLimits(0, WARM_UP_TOKENS)
        GenerateWay(opened, model, few)(short, 1)
        OurWay(opened, model, few, lambda _, own: own)(short, 1)
        model.prepare()

    everyone = tuple(entrant for batch in sorted(set(options.batches)) for entrant in entrants(batch))
    return Contest(entrants=everyone, warm_up=warm_up, notes=notes, model=model)


def workload(clips: Sequence[BenchClip], batch: int) -> list[BenchClip]:
    """What a batch size hears: one batch of clips of one length, of others all; repeated if they do not fill one."""
    heard = list(clips[:batch] if len({len(clip.samples) for clip in clips}) == 1 else clips)
    for number in range(len(heard), batch):
        clip = clips[number % len(clips)]
        heard.append(BenchClip(f"{clip.name} #{number}", clip.samples, clip.text))
    return heard


@dataclass(slots=True, eq=False, frozen=True)
class GenerateWay:
    """`model.generate`, greedy, on clips padded to the longest of each batch."""

    opened: OpenedModel
    ours: SpeechModel
    limits: TokenLimits

    def __call__(self, clips: Sequence[BenchClip], batch: int) -> Outcome:
        """See `Runner`."""
        with transformers_attention(self.opened.model):
            return added([self._group(clips[at : at + batch]) for at in range(0, len(clips), batch)])

    def _group(self, clips: Sequence[BenchClip]) -> Outcome:
        model, processor, device = self.opened.model, self.opened.processor, self.opened.plan.torch_device
        processor.tokenizer.padding_side = "left"  # as the published checkpoints have it; ours never pads
        inputs = processor(
            text=[self.ours.prompting.prompt(Task())] * len(clips),
            audio=[clip.samples for clip in clips],
            return_tensors="pt",
            device=device,
        ).to(device)
        inputs["input_features"] = inputs["input_features"].to(model.dtype)
        longest = max(clip.seconds for clip in clips)
        output = model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            min_new_tokens=self.limits.least or None,
            max_new_tokens=self.limits.most or TOKENS_FLOOR + round(longest * TOKENS_PER_SECOND),
        )
        said = output[:, inputs["input_ids"].shape[1] :]
        texts = processor.tokenizer.batch_decode(said, skip_special_tokens=True)
        return self._outcome(clips, inputs["attention_mask"], said.tolist(), texts)

    def _outcome(
        self, clips: Sequence[BenchClip], prompts: Any, said: list[list[int]], texts: list[str]
    ) -> Outcome:
        emitted = [self._until_end(tokens) for tokens in said]
        control = frozenset(self.opened.processor.tokenizer.all_special_ids)
        steps, rows = len(said[0]), len(said)
        useful = int(prompts.sum()) + sum(len(tokens) - 1 for tokens in emitted)
        block = int(self.opened.model.config.encoder_config.context_size)
        frames = [stacked_frames(len(clip.samples)) for clip in clips]
        return Outcome(
            tokens=tuple(tuple(token for token in tokens if token not in control) for tokens in emitted),
            emitted=sum(len(tokens) for tokens in emitted),
            texts=tuple(text.strip() for text in texts),
            passes=steps,
            sequence_passes=steps * rows,
            frames=sum(frames),
            padded_frames=rows * math.ceil(max(frames) / block) * block - sum(frames),
            positions=useful,
            padded_positions=rows * (prompts.shape[1] + steps - 1) - useful,
        )

    def _until_end(self, tokens: list[int]) -> list[int]:
        """The tokens of a row up to its end token; behind it, `generate` pads."""
        ends = self.ours.prompting.end_tokens
        return next((tokens[: at + 1] for at, token in enumerate(tokens) if token in ends), tokens)


@dataclass(slots=True, eq=False, frozen=True)
class OurWay:
    """The server's batch over the same weights. Random ones need no ties settled: they have none."""

    opened: OpenedModel
    model: SpeechModel
    limits: TokenLimits
    drafting: Drafting

    def __call__(self, clips: Sequence[BenchClip], batch: int) -> Outcome:
        """See `Runner`."""
        before = self.model.hearing.frame_counts
        windows = SpeechBatch(
            self.model,
            revise=lambda key, prompt: self._revised(clips[key], prompt),
            settle_ties=not self.opened.is_random,
        )
        done: dict[int, Recognition] = {}
        admitted = 0
        while len(done) < len(clips):
            for key in range(admitted, min(len(clips), admitted + batch - len(windows))):
                windows.admit(key, RecognitionRequest(samples=clips[key].samples))
                admitted = key + 1
            done |= {key: answer() for key, answer in windows.step()}
        after, loops = self.model.hearing.frame_counts, windows.decoding
        found = [done[key] for key in range(len(clips))]
        return msgspec.structs.replace(
            _heard(found),
            emitted=sum(len(one.tokens) + (not one.truncated) for one in found),
            passes=sum(loop.passes for loop in loops),
            sequence_passes=sum(loop.sequence_passes for loop in loops),
            frames=after.frames - before.frames,
            padded_frames=after.padded - before.padded,
            positions=sum(loop.positions for loop in loops),
            padded_positions=sum(loop.padded_positions for loop in loops),
        )

    def _revised(self, clip: BenchClip, prompt: Prompt) -> Prompt:
        least, most = self.limits.least, self.limits.most or prompt.max_tokens
        return msgspec.structs.replace(
            prompt,
            min_tokens=least,
            max_tokens=max(least, min(most, prompt.max_tokens)),
            speculator=self.drafting(clip.name, prompt.speculator),
        )


def _heard(found: Sequence[Recognition]) -> Outcome:
    return Outcome(
        tokens=tuple(tuple(token.id for token in one.tokens) for one in found),
        emitted=sum(len(one.tokens) for one in found),
        texts=tuple(one.text for one in found),
        drafted=sum(one.drafted_tokens for one in found),
        accepted=sum(one.accepted_tokens for one in found),
    )


@dataclass(slots=True, eq=False, frozen=True)
class SimulatedDrafts:
    """Drafts what the plain way said about a clip in its first turn, which comes before, with other errors in every turn."""

    plain: Entrant
    accuracy: float
    opened: OpenedModel
    accepted: Acceptance = field(default_factory=lambda: Acceptance(TRANSCRIPT_EXPECTED))

    def __call__(self, name: str, own: Speculator | None) -> Speculator:  # noqa: ARG002 - the signature of all drafting
        """See `Drafting`; what was accepted is learned from one transcript to the next, as in the server."""
        place = next(index for index, clip in enumerate(self.plain.clips) if clip.name == name)
        end = self.opened.model.generation_config.eos_token_id
        ends = [] if self.opened.is_random else [min(end) if isinstance(end, list) else end]
        draft = corrupted(
            [*self.plain.outcomes[0].tokens[place], *ends],
            self.accuracy,
            int(self.opened.model.config.text_config.vocab_size),
            seed=len(self.plain.outcomes) * len(self.plain.clips) + place,
        )
        expected = max(LEAST_EXPECTED, self.accepted.rate)
        return Speculator([Source(SimulatedDraft(draft), expected, self.accepted)])


def corrupted(tokens: Sequence[int], accuracy: float, vocabulary: int, seed: int) -> list[int]:
    """The tokens, each independently kept with probability `accuracy` and else replaced by another one.

    Args:
        tokens: What the model says.
        accuracy: Between 0 and 1.
        vocabulary: Replacements are drawn from 0 to here.
        seed: The same seed gives the same draft.
    """
    rng = np.random.default_rng(seed)
    said = np.asarray(tokens, dtype=np.int64)
    shifts = rng.integers(1, vocabulary, len(said))  # at least 1: never the same token
    return np.where(rng.random(len(said)) < accuracy, said, (said + shifts) % vocabulary).tolist()


class SimulatedDraft:
    """A draft that errs in single tokens and is in step again behind each: token k of it is for place k."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self._said = 0

    def propose(self) -> Sequence[int]:
        """What is left of the draft."""
        return self._tokens[self._said :]

    def observe(self, emitted: Sequence[int]) -> None:
        """Count what was said; whether it was as drafted makes no difference to the rest."""
        self._said += len(emitted)


def _ctc_contest(opened: OpenedModel, clips: Sequence[BenchClip]) -> Contest:
    """A CTC head alone: one pass for each clip, with word times and probabilities in ours."""
    backend = CtcBackend(opened.spec, opened.model_id, opened.model, opened.processor, opened.plan)
    ways: dict[Way, Callable[[BenchClip], Outcome]] = {
        Way.GENERATE: lambda clip: _ctc_generated(opened, clip),
        Way.PLAIN: lambda clip: _heard(recognise(backend, [RecognitionRequest(samples=clip.samples)])),
    }
    return Contest(
        entrants=tuple(
            Entrant(
                1, way, workload(clips, 1), lambda clips, _, run=run: added([run(clip) for clip in clips])
            )
            for way, run in ways.items()
        ),
        warm_up=backend.warm_up,
        notes=(CTC_NOTE.format(opened.spec.id),),
    )


def _ctc_generated(opened: OpenedModel, clip: BenchClip) -> Outcome:
    """One clip through transformers' processor, `generate` and decoding; CTC merges repetitions and drops blanks."""
    model, processor = opened.model, opened.processor
    inputs = processor(audio=clip.samples, sampling_rate=SAMPLE_RATE).to(opened.plan.torch_device)
    said = model.generate(
        input_features=inputs["input_features"].to(model.dtype), attention_mask=inputs["attention_mask"]
    )
    (text,) = processor.tokenizer.batch_decode(said, skip_special_tokens=True)
    labels, blank = said[0].tolist(), int(model.config.pad_token_id)
    pairs = zip(labels, [blank, *labels], strict=False)
    tokens = tuple(label for label, before in pairs if label not in {before, blank})
    return Outcome(tokens=(tokens,), emitted=len(tokens), texts=(text.strip(),))
