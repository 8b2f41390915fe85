"""The acoustic half of a Granite Speech model: encoder, CTC head and projector over windows of any lengths.

Owns what is heard of a window's features. Knows no prompt, no token and no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lithophone.backends.cpu.products import widened_products
from lithophone.backends.cpu.widening import widened_layers
from lithophone.backends.decoding.encoder import ClipwiseEncoder, FrameCounts, PackedEncoder, project
from lithophone.backends.device.plan import DevicePlan


class HeardWindow(msgspec.Struct, frozen=True, kw_only=True):
    """What the acoustic half makes of a window.

    Attributes:
        ctc_log_probs: Natural-log probabilities of the grapheme labels by the CTC head, float32 [frames, labels], 20 ms
            a frame.
        embeddings: The audio tokens of the prompt, [audio tokens, hidden of the language model].
    """

    ctc_log_probs: NDArray[np.float32]
    embeddings: Tensor


class Hearing:
    """Encoder, CTC head and projector of a loaded model.

    Args:
        model: The transformers model, as `load_checkpoint` gives it.
        plan: Where the model is.
    """

    def __init__(self, model: Any, plan: DevicePlan) -> None:
        encoder = model.model.encoder
        self._projector = model.model.projector
        self._encoder = (
            PackedEncoder(encoder, widened_layers(encoder) if plan.widened else None)
            if plan.device_map is None
            else ClipwiseEncoder(encoder, torch.device(plan.torch_device))
        )
        self._projection = widened_products(self._projector, model.dtype, wanted=plan.widened)

    @property
    def frame_counts(self) -> FrameCounts:
        """What has gone through the encoder so far."""
        return self._encoder.counts

    def hear(self, features: Sequence[Tensor]) -> list[HeardWindow]:
        """All windows in one pass, from their features [frames, 160]."""
        if not features:
            return []
        hidden = self._encoder.encode(features)
        with self._projection.during_pass(sum(map(len, hidden))):
            embeddings = project(self._projector, hidden)
        return [
            HeardWindow(ctc_log_probs=self._encoder.ctc_log_probs(states).cpu().numpy(), embeddings=audio)
            for states, audio in zip(hidden, embeddings, strict=True)
        ]
