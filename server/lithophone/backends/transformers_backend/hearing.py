"""The acoustic half of a Granite Speech model: encoder, CTC head and projector over windows of any lengths.

Owns what is heard of a window's samples. Knows no prompt, no token and no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lithophone.backends.base import Samples
from lithophone.backends.cpu.products import widened_products
from lithophone.backends.cpu.widening import widened_layers
from lithophone.backends.decoding.encoder import (
    ClipwiseEncoder,
    FrameCounts,
    LayersInForm,
    PackedEncoder,
    project,
)
from lithophone.backends.decoding.growing import Beginnings
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.gpu.opening import kernel_encoder_layers
from lithophone.backends.memory.needs import kept_bytes
from lithophone.granite.features import stacked_log_mels
from lithophone.granite.packing import PackedRows, received


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
        self._device = torch.device(plan.torch_device)
        self._projector = model.model.projector
        self._encoder = (
            PackedEncoder(encoder, _layers(encoder, plan))
            if plan.device_map is None
            else ClipwiseEncoder(encoder, self._device)
        )
        self._beginnings = Beginnings(kept_bytes(model.config))
        self._projection = widened_products(self._projector, model.dtype, wanted=plan.widened)

    @property
    def frame_counts(self) -> FrameCounts:
        """What has gone through the encoder so far."""
        return self._encoder.counts

    def hear(self, clips: Sequence[Samples], keys: Sequence[str | None] | None = None) -> list[HeardWindow]:
        """All windows in one pass; the host waits once, for what the CTC head says.

        Args:
            clips: float32 [samples], 16 kHz.
            keys: Of those that grow: what is settled of such a clip is not computed again when more of it is heard.
        """
        if not clips:
            return []
        hidden = self._encoded(clips, keys or [None] * len(clips))
        with self._projection.during_pass(len(hidden.rows)):
            embeddings = project(self._projector, hidden).split()
        log_probs = received(self._encoder.ctc_log_probs(hidden.rows)).numpy()
        labelled = np.split(log_probs, np.cumsum(hidden.lengths)[:-1])
        return [
            HeardWindow(ctc_log_probs=labels, embeddings=audio)
            for labels, audio in zip(labelled, embeddings, strict=True)
        ]

    def forget(self, key: str) -> None:
        """Give back what is kept of a clip that grew, if anything is."""
        self._beginnings.forget(key)

    def _encoded(self, clips: Sequence[Samples], keys: Sequence[str | None]) -> PackedRows:
        features = stacked_log_mels(clips, self._device)
        if isinstance(self._encoder, ClipwiseEncoder) or not self._encoder.goes_on or not any(keys):
            return self._encoder.encode(features)
        before = [self._beginnings.of(key, clip) for key, clip in zip(keys, clips, strict=True)]
        hidden, kept = self._encoder.encode_growing(features, before)
        for key, clip, beginning in zip(keys, clips, kept, strict=True):
            if key is not None and beginning is not None:
                self._beginnings.keep(key, clip, beginning)
        return hidden


def _layers(encoder: Any, plan: DevicePlan) -> LayersInForm | None:
    """Those of the encoder in the form that suits the device."""
    if plan.quantization != "none":
        return None  # 8 bits are never multiplied in 16
    return widened_layers(encoder) if plan.widened else kernel_encoder_layers(encoder, plan)
