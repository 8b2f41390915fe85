"""Feature extractors for transformers' Granite processors that need torch alone.

transformers' own classes take their spectrogram from torchaudio, which cannot be imported beside a CPU or ROCm torch.
These give the same numbers under the same names; the arithmetic is `lithophone.granite.features`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from lithophone.granite.features import (
    HOP_SAMPLES,
    MEL_BANDS,
    PROJECTOR_QUERIES,
    PROJECTOR_WINDOW_FRAMES,
    SAMPLE_RATE,
    audio_token_count,
    log_mel_stacked,
    log_mel_with_deltas,
)

Clips = Sequence[NDArray[np.float32] | Tensor]


class StackedLogMelExtractor(SequenceFeatureExtractor):  # type: ignore[misc]
    """3.x and 4.x: what `GraniteSpeechFeatureExtractor` computes.

    Args:
        projector_window_size: Encoder frames the projector takes at once.
        projector_downsample_rate: Encoder frames for each audio token.
    """

    model_input_names = ["input_features"]  # noqa: RUF012 - the name and type transformers asks for

    def __init__(
        self,
        projector_window_size: int = PROJECTOR_WINDOW_FRAMES,
        projector_downsample_rate: int = PROJECTOR_WINDOW_FRAMES // PROJECTOR_QUERIES,
    ) -> None:
        super().__init__(feature_size=MEL_BANDS, sampling_rate=SAMPLE_RATE, padding_value=0.0)
        self.projector_window_size = projector_window_size
        self.projector_downsample_rate = projector_downsample_rate

    def __call__(self, audios: Clips | Tensor, device: str = "cpu") -> BatchFeature:
        """Features, audio tokens of each clip, and which of the padded tokens are real."""
        lengths, batch = _padded(audios, device)
        sizes = [
            audio_token_count(
                samples,
                window_frames=self.projector_window_size,
                queries=self.projector_window_size // self.projector_downsample_rate,
            )
            for samples in lengths
        ]
        mask = torch.arange(max(sizes)).view(1, -1) < torch.tensor(sizes).view(-1, 1)
        return BatchFeature(
            data={
                "input_features": log_mel_stacked(batch),
                "audio_embed_sizes": sizes,
                "input_features_mask": mask,
            }
        )


class DeltaLogMelExtractor(SequenceFeatureExtractor):  # type: ignore[misc]
    """5.0: what `GraniteSpeech5FeatureExtractor` computes."""

    model_input_names = ["input_features", "attention_mask"]  # noqa: RUF012 - the name and type transformers asks for

    def __init__(self) -> None:
        super().__init__(feature_size=4 * MEL_BANDS, sampling_rate=SAMPLE_RATE, padding_value=0.0)

    def __call__(
        self,
        raw_speech: Clips | Tensor,
        sampling_rate: int = SAMPLE_RATE,
        device: str = "cpu",
        **_: Any,  # the processor passes on its tokenizer's padding options
    ) -> BatchFeature:
        """Features and which of their frames are real.

        Raises:
            ValueError: `sampling_rate` is not 16 kHz.
        """
        if sampling_rate != SAMPLE_RATE:
            raise ValueError(f"expected {SAMPLE_RATE} Hz, got {sampling_rate}")
        lengths, batch = _padded(raw_speech, device)
        features = log_mel_with_deltas(batch)
        frames = torch.tensor([-(-(samples // HOP_SAMPLES) // 2) for samples in lengths]).view(-1, 1)
        mask = torch.arange(features.shape[1]).view(1, -1) < frames
        return BatchFeature(data={"input_features": features, "attention_mask": mask.long()})


def _padded(audios: Clips | Tensor, device: str) -> tuple[list[int], Tensor]:
    """Sample counts and one zero-padded float32 batch [clips, samples]."""
    clips = [torch.from_numpy(np.array(clip, np.float32)) for clip in audios]  # a copy: windows are read-only
    return [clip.shape[-1] for clip in clips], pad_sequence(clips, batch_first=True).to(device)
