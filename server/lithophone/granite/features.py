"""Log-mel features of Granite Speech, computed with torch alone.

Owns the two feature variants of the family. Knows nothing of models, prompts or files.

Both start from one power spectrogram: `torch.stft` with a periodic Hann window of 400 samples, hop 160, 512 points,
centred with reflection, and an HTK mel filterbank of 80 triangles over 0-8000 Hz. Sources:
`transformers.models.granite_speech.feature_extraction_granite_speech` and
`transformers.models.granite_speech5.feature_extraction_granite_speech5`, which take the same spectrogram from torchaudio.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from lithophone.audio.waveform import SAMPLE_RATE

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


def stacked_frames(samples: int) -> int:
    """Encoder frames (20 ms each) of a 3.x or 4.x model for a waveform of `samples`."""
    return (samples // HOP_SAMPLES + 1) // FRAMES_STACKED


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
    mel_frames = waveform.shape[-1] // HOP_SAMPLES
    frames = FRAMES_STACKED * math.ceil(mel_frames / FRAMES_STACKED)
    missing = (frames - 1) * HOP_SAMPLES + 1 - waveform.shape[-1]
    padded = functional.pad(waveform, (0, max(missing, 0)))
    log_mel = _normalised_log_mel(_mel_spectrogram(padded)[..., :frames], LOG_MEL_RANGE)
    both = torch.cat((log_mel, _deltas(log_mel)), dim=-2).transpose(-1, -2)
    return both.reshape(*both.shape[:-2], frames // FRAMES_STACKED, -1)


def _mel_spectrogram(waveform: Tensor) -> Tensor:
    """Power mel spectrogram, float32 [..., 80, frames]."""
    window = torch.hann_window(WINDOW_SAMPLES, device=waveform.device)
    batch = waveform.reshape(-1, waveform.shape[-1]).float()
    spectrum = torch.stft(
        batch,
        n_fft=FFT_SIZE,
        hop_length=HOP_SAMPLES,
        win_length=WINDOW_SAMPLES,
        window=window,
        center=True,
        pad_mode="reflect",
        onesided=True,
        return_complex=True,
    )
    power = spectrum.abs().pow(2.0)
    mel = torch.matmul(power.transpose(-1, -2), mel_filterbank().to(waveform.device)).transpose(-1, -2)
    return mel.reshape(*waveform.shape[:-1], MEL_BANDS, -1)


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
