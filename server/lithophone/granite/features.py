"""Log-mel features of Granite Speech, computed with torch alone.

Owns the two feature variants of the family, of one clip or of many at once: these stand in one row, so that one call of
each operation serves them all and nothing waits. Knows nothing of models, prompts or files.

Both start from one power spectrogram: `torch.stft` with a periodic Hann window of 400 samples, hop 160, 512 points,
centred with reflection, and an HTK mel filterbank of 80 triangles over 0-8000 Hz. Sources:
`transformers.models.granite_speech.feature_extraction_granite_speech` and
`transformers.models.granite_speech5.feature_extraction_granite_speech5`, which take the same spectrogram from torchaudio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.granite.packing import Index, PackedRows, places_of, sent

FFT_SIZE = 512
WINDOW_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
MEL_BANDS = 80
FRAMES_STACKED = 2
LOG_MEL_RANGE = 8.0  # decades below the loudest bin that are kept
MIN_SAMPLES = FFT_SIZE // 2 + 1  # reflection needs one sample more than the padding of 256
MIN_SAMPLES_5 = 1_279  # 5.0 halves its frames twice; 640 samples fail, 1279 work
PROJECTOR_WINDOW_FRAMES = 15
PROJECTOR_QUERIES = 3

Clip = NDArray[np.float32]
"""Waveform, float32 [samples], 16 kHz mono in [-1, 1]."""


class PaddedFeatures(NamedTuple):
    """Features of several clips, float32 [clips, frames of the longest, 320], and which frames are real, bool."""

    features: Tensor
    is_real: Tensor


def stacked_frames(samples: int) -> int:
    """Encoder frames (20 ms each) of a 3.x or 4.x model for a waveform of `samples`."""
    return (samples // HOP_SAMPLES + 1) // FRAMES_STACKED


def delta_frames(samples: int) -> int:
    """Frames (20 ms each) that go into a 5.0 model for a waveform of `samples`."""
    return math.ceil(samples // HOP_SAMPLES / FRAMES_STACKED)


def audio_token_count(
    samples: int, *, window_frames: int = PROJECTOR_WINDOW_FRAMES, queries: int = PROJECTOR_QUERIES
) -> int:
    """Audio tokens the projector makes of a waveform: `queries` for every started window of frames."""
    return queries * math.ceil(stacked_frames(samples) / window_frames)


def log_mel_stacked(waveform: Tensor) -> Tensor:
    """Features of the 3.x and 4.x models.

    Args:
        waveform: float32 [..., samples], 16 kHz mono in [-1, 1], at least `MIN_SAMPLES` long.

    Returns:
        float32 [..., frames, 160]: two log-mel frames of 10 ms stacked, an odd last frame dropped.
    """
    log_mel = _normalised_log_mel(_mel_spectrogram(waveform), LOG_MEL_RANGE).transpose(-1, -2)
    frames = log_mel.shape[-2] // FRAMES_STACKED
    return log_mel[..., : frames * FRAMES_STACKED, :].reshape(*log_mel.shape[:-2], frames, -1)


def log_mel_with_deltas(waveform: Tensor) -> Tensor:
    """Features of the 5.0 model.

    Args:
        waveform: float32 [..., samples], 16 kHz mono in [-1, 1], at least `MIN_SAMPLES_5` long.

    Returns:
        float32 [..., frames, 320]: log-mel and its delta, two frames of 10 ms stacked; the waveform is padded on the
        right so that the last pair is whole.
    """
    frames = FRAMES_STACKED * delta_frames(waveform.shape[-1])
    missing = (frames - 1) * HOP_SAMPLES + 1 - waveform.shape[-1]
    padded = functional.pad(waveform, (0, max(missing, 0)))
    log_mel = _normalised_log_mel(_mel_spectrogram(padded)[..., :frames], LOG_MEL_RANGE)
    both = torch.cat((log_mel, _deltas(log_mel)), dim=-2).transpose(-1, -2)
    return both.reshape(*both.shape[:-2], frames // FRAMES_STACKED, -1)


def stacked_log_mels(clips: Sequence[Clip], device: torch.device | str) -> PackedRows:
    """What `log_mel_stacked` gives of each of several clips, [frames, 160], computed on the device in one row.

    Args:
        clips: Each at least `MIN_SAMPLES` long.
        device: Where to compute.
    """
    row = _HopRow(clips, [len(clip) for clip in clips], [len(clip) // HOP_SAMPLES + 1 for clip in clips])
    lengths = row.frames // FRAMES_STACKED
    owners, kept = sent(device, row.owners, places_of(row.starts, lengths * FRAMES_STACKED))
    log_mel = _log_mels_of(row, owners, device)
    return PackedRows(log_mel[kept].view(-1, FRAMES_STACKED * MEL_BANDS), tuple(lengths.tolist()))


def padded_log_mels_with_deltas(clips: Sequence[Clip], device: torch.device | str) -> PaddedFeatures:
    """What `log_mel_with_deltas` gives of each of several clips, computed on the device in one row.

    Args:
        clips: Each at least `MIN_SAMPLES_5` long.
        device: Where to compute.
    """
    frames = [FRAMES_STACKED * delta_frames(len(clip)) for clip in clips]
    samples = [
        max(len(clip), (count - 1) * HOP_SAMPLES + 1) for clip, count in zip(clips, frames, strict=True)
    ]
    row = _HopRow(clips, samples, frames)
    time = np.arange(-1, int(row.frames.max()) + 1)  # one more on either side
    places: Index = row.starts[:, None] + np.clip(time, 0, row.frames[:, None] - 1)
    owners, kept, lengths = sent(device, row.owners, places, row.frames[:, None] // FRAMES_STACKED)
    log_mel = _log_mels_of(row, owners, device)[kept]
    deltas = (log_mel[:, 2:] - log_mel[:, :-2]) / 2
    both = torch.cat((log_mel[:, 1:-1], deltas), dim=-1).view(len(clips), -1, 2 * FRAMES_STACKED * MEL_BANDS)
    return PaddedFeatures(both, torch.arange(both.shape[1], device=both.device) < lengths)


class _HopRow:
    """Clips one behind the other, each from a multiple of the hop on, and where their frames are.

    A clip stands between the half windows that a centred transform needs, its own ends reflected; what lies between two
    clips belongs to no one.

    Args:
        clips: Waveforms.
        lengths: Samples of each: what a clip lacks of them is silence behind it.
        frames: Of 10 ms, that count of each.
    """

    def __init__(self, clips: Sequence[Clip], lengths: Sequence[int], frames: Sequence[int]) -> None:
        hops = np.array([-(-(length + FFT_SIZE) // HOP_SAMPLES) for length in lengths])
        self._clips, self._lengths = clips, lengths
        self.frames: Index = np.array(frames)
        self.starts: Index = np.cumsum(hops) - hops
        self._samples = int(hops.sum()) * HOP_SAMPLES
        self.owners: Index = np.full(1 + (self._samples - FFT_SIZE) // HOP_SAMPLES, len(clips))
        self.owners[places_of(self.starts, self.frames)] = np.repeat(np.arange(len(clips)), frames)

    def on(self, device: torch.device | str) -> Tensor:
        """Its samples on the device, float32; to a GPU from memory that it can fetch them from by itself."""
        device = torch.device(device)
        on_gpu = device.type == "cuda"
        row = (
            torch.empty(self._samples, dtype=torch.float32, pin_memory=True)
            if on_gpu
            else torch.as_tensor(np.empty(self._samples, np.float32))  # in large pages, which torch's is not
        )
        written = row.numpy()
        ends = [*(self.starts[1:] * HOP_SAMPLES), self._samples]
        for clip, length, start, end in zip(
            self._clips, self._lengths, self.starts * HOP_SAMPLES, ends, strict=True
        ):
            _write_reflected(clip, length, written[start:end])
        return row.to(device, non_blocking=on_gpu)


def _write_reflected(clip: Clip, length: int, into: Clip) -> None:
    """Write a clip, silence behind it up to `length`, the half windows beside both, and zeros behind all of that."""
    half = FFT_SIZE // 2
    into[half : half + len(clip)] = clip
    into[half + len(clip) :] = 0.0
    into[:half] = into[2 * half : half : -1]
    end = half + length
    into[end : end + half] = into[end - 2 : end - half - 2 : -1]


def _log_mels_of(row: _HopRow, owners: Tensor, device: torch.device | str) -> Tensor:
    """Normalised log-mels of all frames in the row, float32 [frames, 80]; each clip by its own loudest bin."""
    mel = _mel_bands(row.on(device), center=False)
    log_mel = mel.clamp(min=1e-10).log10()
    loudest = log_mel.new_full((len(row.frames) + 1,), -math.inf)
    loudest.scatter_reduce_(0, owners, log_mel.amax(dim=-1), "amax")
    return torch.maximum(log_mel, loudest[owners].unsqueeze(-1) - LOG_MEL_RANGE) / 4 + 1


def _mel_spectrogram(waveform: Tensor) -> Tensor:
    """Power mel spectrogram, float32 [..., 80, frames]."""
    mel = _mel_bands(waveform.reshape(-1, waveform.shape[-1]).float(), center=True)
    return mel.transpose(-1, -2).reshape(*waveform.shape[:-1], MEL_BANDS, -1)


def _mel_bands(waveform: Tensor, *, center: bool) -> Tensor:
    """Power mel spectrogram, float32 [..., frames, 80]; with `center` reflected at its ends."""
    spectrum = torch.stft(
        waveform,
        n_fft=FFT_SIZE,
        hop_length=HOP_SAMPLES,
        win_length=WINDOW_SAMPLES,
        window=_window_on(waveform.device),
        center=center,
        pad_mode="reflect",
        onesided=True,
        return_complex=True,
    )
    return torch.matmul(spectrum.abs().pow(2.0).transpose(-1, -2), _filterbank_on(waveform.device))


@lru_cache(maxsize=8)
def _window_on(device: torch.device) -> Tensor:
    return torch.hann_window(WINDOW_SAMPLES, device=device)


@lru_cache(maxsize=8)
def _filterbank_on(device: torch.device) -> Tensor:
    return mel_filterbank().to(device)


def _normalised_log_mel(mel: Tensor, decades: float) -> Tensor:
    """Logarithm, floored `decades` below the loudest bin of each clip, scaled to about [-1, 1]."""
    log_mel = mel.clamp(min=1e-10).log10()
    floor = log_mel.amax(dim=(-2, -1), keepdim=True) - decades
    return torch.maximum(log_mel, floor) / 4 + 1


def _deltas(log_mel: Tensor) -> Tensor:
    """Slope over three frames with replicated edges: (x[t+1] - x[t-1]) / 2, along the last axis."""
    edged = torch.cat((log_mel[..., :1], log_mel, log_mel[..., -1:]), dim=-1)
    return (edged[..., 2:] - edged[..., :-2]) / 2


@lru_cache(maxsize=1)
def mel_filterbank() -> Tensor:
    """HTK mel triangles without area normalisation, float32 [257, 80], 0-8000 Hz (O'Shaughnessy 1987)."""
    top_mel = 2595.0 * math.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    mel_points = torch.linspace(0.0, top_mel, MEL_BANDS + 2)
    edges_hz = 700.0 * (10.0 ** (mel_points / 2595.0) - 1.0)
    bins_hz = torch.linspace(0, SAMPLE_RATE // 2, FFT_SIZE // 2 + 1)
    slopes = edges_hz.unsqueeze(0) - bins_hz.unsqueeze(1)
    widths = edges_hz[1:] - edges_hz[:-1]
    rising = -slopes[:, :-2] / widths[:-1]
    falling = slopes[:, 2:] / widths[1:]
    return torch.clamp(torch.minimum(rising, falling), min=0.0)
