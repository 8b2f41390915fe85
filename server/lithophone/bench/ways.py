"""The ways from samples to text that are compared, each over a list of clips in batches of a given size.

Owns what is inside the clock: for every way all of it, from float samples to text. `generate` runs on the same weights
in the same process, fed by transformers' own processor around our extractor, which needs no torchaudio and gives the
same numbers; our way is the server's batch, filled up from the clips that wait whenever one is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from torch import Tensor

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
from lithophone.bench.clips import BenchClip
from lithophone.bench.drafts import SimulatedDraft
from lithophone.bench.opening import OpenedModel
from lithophone.bench.report import Outcome
from lithophone.granite.features import stacked_frames
from lithophone.granite.prompts import Task

Runner = Callable[[Sequence[BenchClip], int], Outcome]
"""Runs clips in batches of so many."""


class TokenLimits(msgspec.Struct, frozen=True):
    """Fewest tokens of a transcript, and the most (None: what the server allows for its length)."""

    least: int = 0
    most: int | None = None

    def most_for(self, clips: Sequence[BenchClip]) -> int:
        """The most tokens for any of these clips."""
        seconds = max(clip.seconds for clip in clips)
        return self.most if self.most is not None else TOKENS_FLOOR + round(seconds * TOKENS_PER_SECOND)


class GenerateWay:
    """`model.generate`, greedy, on clips padded to the longest of each batch."""

    def __init__(self, opened: OpenedModel, prompt: str, device: str, limits: TokenLimits) -> None:
        self._model = opened.model
        self._processor = opened.processor
        self._tokenizer = opened.processor.tokenizer
        self._tokenizer.padding_side = "left"  # as the published checkpoints have it; ours never pads
        self._prompt = prompt
        self._device = device
        self._limits = limits
        self._control = frozenset(self._tokenizer.all_special_ids)
        end = self._model.generation_config.eos_token_id
        self._ends = frozenset(end if isinstance(end, list) else [end])
        self._context = int(self._model.config.encoder_config.context_size)

    def __call__(self, clips: Sequence[BenchClip], batch: int) -> Outcome:
        """See `Runner`."""
        started = time.perf_counter()
        with transformers_attention(self._model):
            parts = [self._group(clips[at : at + batch]) for at in range(0, len(clips), batch)]
        return _joined(parts, time.perf_counter() - started)

    def _group(self, clips: Sequence[BenchClip]) -> Outcome:
        inputs = self._processor(
            text=[self._prompt] * len(clips),
            audio=[clip.samples for clip in clips],
            return_tensors="pt",
            device=self._device,
        ).to(self._device)
        inputs["input_features"] = inputs["input_features"].to(self._model.dtype)
        output = self._model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            min_new_tokens=self._limits.least or None,
            max_new_tokens=self._limits.most_for(clips),
        )
        said = output[:, inputs["input_ids"].shape[1] :]
        texts = self._tokenizer.batch_decode(said, skip_special_tokens=True)
        return self._outcome(inputs, said.tolist(), texts, [len(clip.samples) for clip in clips])

    def _outcome(
        self, inputs: Any, said: list[list[int]], texts: list[str], lengths: Sequence[int]
    ) -> Outcome:
        emitted = [self._until_end(tokens) for tokens in said]
        steps, rows = len(said[0]), len(said)
        prompts: Tensor = inputs["attention_mask"].sum(dim=1)
        useful = int(prompts.sum()) + sum(len(tokens) - 1 for tokens in emitted)
        positions = rows * (inputs["attention_mask"].shape[1] + steps - 1)
        frames = [stacked_frames(length) for length in lengths]
        computed = rows * -(-max(frames) // self._context) * self._context
        return Outcome(
            seconds=0.0,
            tokens=tuple(
                tuple(token for token in tokens if token not in self._control) for tokens in emitted
            ),
            emitted=sum(len(tokens) for tokens in emitted),
            texts=tuple(text.strip() for text in texts),
            passes=steps,
            sequence_passes=steps * rows,
            frames=sum(frames),
            padded_frames=computed - sum(frames),
            positions=useful,
            padded_positions=positions - useful,
        )

    def _until_end(self, tokens: list[int]) -> list[int]:
        """The tokens of a row up to its end token; behind it, `generate` pads."""
        ends = [place for place, token in enumerate(tokens) if token in self._ends]
        return tokens[: ends[0] + 1] if ends else tokens


class OurWay:
    """The server's batch over the same model.

    Args:
        model: Ours, around the same weights.
        limits: On the tokens of a transcript.
        settle_ties: See `LanguageModel.start`.
        drafts: For each clip's name the tokens to draft; None leaves drafting to the model's CTC head.
        speculate: Off, no drafts at all.
    """

    def __init__(
        self,
        model: SpeechModel,
        limits: TokenLimits,
        *,
        settle_ties: bool,
        speculate: bool = True,
        drafts: Callable[[str], Sequence[int]] | None = None,
    ) -> None:
        self._model = model
        self._limits = limits
        self._settle_ties = settle_ties
        self._speculate = speculate
        self._drafts = drafts
        self._accepted = Acceptance(TRANSCRIPT_EXPECTED)  # from one transcript to the next, as in the server

    def __call__(self, clips: Sequence[BenchClip], batch: int) -> Outcome:
        """See `Runner`."""
        before = self._model.hearing.frame_counts
        started = time.perf_counter()
        windows = SpeechBatch(
            self._model,
            revise=lambda key, prompt: self._revised(clips[key], prompt),
            settle_ties=self._settle_ties,
        )
        done: dict[int, Recognition] = {}
        admitted = 0
        while len(done) < len(clips):
            for key in range(admitted, min(len(clips), admitted + batch - len(windows))):
                windows.admit(key, RecognitionRequest(samples=clips[key].samples))
                admitted = key + 1
            done |= {key: answer() for key, answer in windows.step()}
        seconds = time.perf_counter() - started
        after = self._model.hearing.frame_counts
        return _our_outcome(
            seconds,
            [done[key] for key in range(len(clips))],
            windows,
            frames=after.frames - before.frames,
            padded_frames=after.padded - before.padded,
        )

    def _revised(self, clip: BenchClip, prompt: Prompt) -> Prompt:
        most = prompt.max_tokens if self._limits.most is None else self._limits.most
        return msgspec.structs.replace(
            prompt,
            min_tokens=self._limits.least,
            max_tokens=min(most, prompt.max_tokens) if self._limits.least == 0 else most,
            speculator=self._speculator(clip, prompt.speculator) if self._speculate else None,
        )

    def _speculator(self, clip: BenchClip, own: Speculator | None) -> Speculator | None:
        if self._drafts is None:
            return own
        expected = max(LEAST_EXPECTED, self._accepted.rate)
        return Speculator([Source(SimulatedDraft(self._drafts(clip.name)), expected, self._accepted)])


def _our_outcome(
    seconds: float,
    recognitions: Sequence[Recognition],
    windows: SpeechBatch,
    *,
    frames: int,
    padded_frames: int,
) -> Outcome:
    loops = windows.decoding
    return Outcome(
        seconds=seconds,
        tokens=tuple(tuple(token.id for token in one.tokens) for one in recognitions),
        emitted=sum(len(one.tokens) + (not one.truncated) for one in recognitions),
        texts=tuple(one.text for one in recognitions),
        passes=sum(loop.passes for loop in loops),
        sequence_passes=sum(loop.sequence_passes for loop in loops),
        drafted=sum(one.drafted_tokens for one in recognitions),
        accepted=sum(one.accepted_tokens for one in recognitions),
        frames=frames,
        padded_frames=padded_frames,
        positions=sum(loop.positions for loop in loops),
        padded_positions=sum(loop.padded_positions for loop in loops),
    )


class CtcGenerateWay:
    """transformers' processor, `generate` and decoding for a model that is a CTC head alone, one clip at a time."""

    def __init__(self, opened: OpenedModel, device: str) -> None:
        self._model = opened.model
        self._processor = opened.processor
        self._device = device

    def __call__(self, clips: Sequence[BenchClip], batch: int) -> Outcome:  # noqa: ARG002 - the signature of all ways
        """See `Runner`."""
        started = time.perf_counter()
        texts: list[str] = []
        labels: list[tuple[int, ...]] = []
        for clip in clips:
            inputs = self._processor(audio=clip.samples, sampling_rate=SAMPLE_RATE).to(self._device)
            said = self._model.generate(
                input_features=inputs["input_features"].to(self._model.dtype),
                attention_mask=inputs["attention_mask"],
            )
            texts += self._processor.tokenizer.batch_decode(said, skip_special_tokens=True)
            labels.append(_runs(said[0].tolist(), int(self._model.config.pad_token_id)))
        return Outcome(
            seconds=time.perf_counter() - started,
            tokens=tuple(labels),
            emitted=sum(len(one) for one in labels),
            texts=tuple(text.strip() for text in texts),
            passes=0,
            sequence_passes=0,
        )


class CtcOurWay:
    """Our backend for such a model: the same pass, with word times and probabilities."""

    def __init__(self, backend: CtcBackend) -> None:
        self._backend = backend

    def __call__(self, clips: Sequence[BenchClip], batch: int) -> Outcome:  # noqa: ARG002 - the signature of all ways
        """See `Runner`."""
        started = time.perf_counter()
        requests = [RecognitionRequest(samples=clip.samples) for clip in clips]
        found = recognise(self._backend, requests)
        return Outcome(
            seconds=time.perf_counter() - started,
            tokens=tuple(tuple(token.id for token in one.tokens) for one in found),
            emitted=sum(len(one.tokens) for one in found),
            texts=tuple(one.text for one in found),
            passes=0,
            sequence_passes=0,
        )


def plain_prompt(model: SpeechModel) -> str:
    """The text around the audio that both ways get."""
    return model.prompting.prompt(Task())


def _runs(labels: Sequence[int], blank: int) -> tuple[int, ...]:
    """CTC labels with repetitions merged and blanks left out."""
    pairs = zip(labels, [blank, *labels], strict=False)
    return tuple(label for label, before in pairs if label not in {before, blank})


def _joined(parts: Sequence[Outcome], seconds: float) -> Outcome:
    """Groups of a workload as one outcome."""
    return Outcome(
        seconds=seconds,
        tokens=tuple(tokens for part in parts for tokens in part.tokens),
        emitted=sum(part.emitted for part in parts),
        texts=tuple(text for part in parts for text in part.texts),
        passes=sum(part.passes for part in parts),
        sequence_passes=sum(part.sequence_passes for part in parts),
        frames=sum(part.frames for part in parts),
        padded_frames=sum(part.padded_frames for part in parts),
        positions=sum(part.positions for part in parts),
        padded_positions=sum(part.padded_positions for part in parts),
    )
