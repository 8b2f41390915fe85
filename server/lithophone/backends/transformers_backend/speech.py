"""Backend for the models with a language model: 3.3, 4.0, 4.1, 4.1 plus and the embedded one.

Owns the batch: windows of any lengths, from one request or many, run together, join between any two steps of the
language model and leave when they are done. The text of one never depends on its neighbours.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from lithophone.backends.base import Answer, BackendInfo, HeardAnswer, Hearing, RecognitionRequest
from lithophone.backends.batches import never
from lithophone.backends.capacity import windows_at_a_time
from lithophone.backends.decoding.loop import DecodingBatch, Prompt
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.device.runtime import release_memory
from lithophone.backends.memory.estimate import load_config
from lithophone.backends.transformers_backend.checkpoint import Checkpoint
from lithophone.backends.transformers_backend.speech_model import PromptedWindow, SpeechModel
from lithophone.backends.transformers_backend.warm_up import try_out, warm_up_lengths

WARM_UP_TOKENS = 2
CPU_WARM_UP_TOKENS = 1
"""The pass over the prompt alone: nothing is compiled there, and each further pass reads all weights once more."""


class SpeechBackend:
    """A loaded Granite Speech model.

    Args:
        checkpoint: What to load.
        plan: Where and in which dtype.
        facts: What the machine has free, for the number of windows at a time.
        speculate: Whether transcripts are drafted by the CTC head; off, decoding goes token by token.
    """

    def __init__(
        self, checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts, *, speculate: bool = True
    ) -> None:
        windows = windows_at_a_time(load_config(checkpoint.path), plan, facts)
        self._model = SpeechModel.load(checkpoint, plan, facts, windows=windows, speculate=speculate)
        self._info = BackendInfo(
            spec=checkpoint.spec,
            model_id=checkpoint.model_id,
            device=plan.kind,
            dtype=plan.dtype,
            weight_bytes=self._model.weight_bytes,
            max_batch=windows,
            revision=checkpoint.revision,
        )

    @property
    def info(self) -> BackendInfo:
        """What is loaded."""
        return self._info

    def start_batch(self, interrupted: Callable[[], bool]) -> SpeechBatch:
        """See `Backend`."""
        return SpeechBatch(self._model, interrupted)

    def forget(self, live_key: str) -> None:
        """See `Backend`."""
        self._model.hearing.forget(live_key)

    def warm_up(self) -> None:
        """Noise through encoder, projector, prompt and, on a GPU, a few passes of decoding, there of several lengths."""
        self._model.prepare()
        info = self._info
        tokens = CPU_WARM_UP_TOKENS if info.device == "cpu" else WARM_UP_TOKENS
        batch = SpeechBatch(self._model, revise=partial(_cut_short, tokens))
        try_out(batch, info.model_id, warm_up_lengths(info.device, info.spec.max_window_seconds))

    def close(self) -> None:
        """Drop the model and give the memory back to the system."""
        del self._model
        release_memory()


class _Heard(NamedTuple):
    """A window that is being decoded, and when it was heard."""

    window: PromptedWindow
    hearing: Hearing


class SpeechBatch:
    """Windows under way; see `Batch`.

    A window whose tokens rounding could decide (`lithophone.backends.decoding.loop`) is done once more, alone and token
    by token, beside the others.

    Args:
        model: What hears and decodes.
        interrupted: See `Backend.start_batch`.
        revise: Called with each window's key and sequence before it is decoded; a measurement gives it other drafts or
            limits here.
        settle_ties: See `LanguageModel.start`.
    """

    def __init__(
        self,
        model: SpeechModel,
        interrupted: Callable[[], bool] = never,
        *,
        revise: Callable[[int, Prompt], Prompt] | None = None,
        settle_ties: bool = True,
    ) -> None:
        self._model = model
        self._interrupted = interrupted
        self._revise = revise
        self._together = model.start_decoding(settle_ties=settle_ties)
        self._alone = model.start_decoding(settle_ties=False)
        self._waiting: OrderedDict[int, RecognitionRequest] = OrderedDict()
        self._contested: OrderedDict[int, RecognitionRequest] = OrderedDict()
        self._under_way: dict[int, _Heard] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._contested) + len(self._under_way)

    def admit(self, key: int, request: RecognitionRequest) -> None:
        """See `Batch`."""
        self._waiting[key] = request

    def drop(self, key: int) -> None:
        """See `Batch`."""
        self._waiting.pop(key, None)
        self._contested.pop(key, None)
        if self._under_way.pop(key, None) is not None:
            self._together.drop(key)
            self._alone.drop(key)

    @property
    def decoding(self) -> tuple[DecodingBatch, DecodingBatch]:
        """The loop over all windows and the one over those that are done once more, for their counters."""
        return self._together, self._alone

    def step(self) -> list[tuple[int, Answer]]:
        """Hear some of the windows that wait, then one pass of the language model over all that were heard."""
        heard = self._hear_waiting() + self._hear_contested()
        if heard and self._interrupted():  # hearing took a while: some may have left
            return []
        done: list[tuple[int, Answer]] = []
        for decoded in (*self._together.step(), *self._alone.step()):
            heard_window = self._under_way.pop(decoded.key)
            if decoded.contested:
                self._contested[decoded.key] = heard_window.window.request
            else:
                window = self._model.decoded_window(heard_window.window, decoded)
                make = partial(self._model.answers.answer, window)
                done.append((decoded.key, HeardAnswer(make, heard_window.hearing)))
        return done

    def _hear_waiting(self) -> int:
        """As many as fit into one encoder pass, and at least one; returns how many."""
        joining: dict[int, RecognitionRequest] = {}
        samples = 0
        while self._waiting:
            samples += len(next(iter(self._waiting.values())).samples)
            if joining and samples > self._model.pace.samples:
                break
            key, request = self._waiting.popitem(last=False)
            joining[key] = request
        for key, heard in zip(joining, self._hear(list(joining.values())), strict=True):
            self._under_way[key] = heard
            self._together.admit([self._sequence(key, heard.window, speculate=True)])
        return len(joining)

    def _hear_contested(self) -> int:
        """One at a time: alone means alone, in the encoder too."""
        if not self._contested or len(self._alone) > 0:
            return 0
        key, request = self._contested.popitem(last=False)
        (heard,) = self._hear([request], anew=True)
        self._under_way[key] = heard
        self._alone.admit([self._sequence(key, heard.window, speculate=False)])
        return 1

    def _hear(self, requests: Sequence[RecognitionRequest], *, anew: bool = False) -> list[_Heard]:
        began = time.monotonic()
        windows = self._model.hear(requests, anew=anew)
        hearing = Hearing(began, time.monotonic())
        samples = sum(len(request.samples) for request in requests)
        self._model.pace.observe(samples, hearing.ended - hearing.began)
        return [_Heard(window, hearing) for window in windows]

    def _sequence(self, key: int, window: PromptedWindow, *, speculate: bool) -> Prompt:
        prompt = self._model.sequence(key, window, speculate=speculate)
        if self._revise is None:
            return prompt
        revised = self._revise(key, prompt)
        return revised if speculate else msgspec.structs.replace(revised, speculator=None)


def _cut_short(tokens: int, _: int, prompt: Prompt) -> Prompt:
    return msgspec.structs.replace(prompt, max_tokens=min(prompt.max_tokens, tokens))
