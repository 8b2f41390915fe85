"""Voice activity by Silero VAD, in plain torch.

Owns the network (as in `silero_vad/tinygrad_model.py` of the `silero-vad` wheel, version 6) and its streaming state.
The wheel's weights are read as a file: importing the package would set torch's thread count for the whole process. What
upstream computes frame by frame, all but the recurrence is computed here for a whole block at once.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn
from torch.nn import functional

from lithophone.audio.activity import VOICE_FRAME_SAMPLES, Probabilities
from lithophone.audio.waveform import Waveform
from lithophone.backends.threads import let_newcomers_compute_alone
from lithophone.errors import CheckpointError

WEIGHTS: Final = "silero_vad/data/silero_vad_16k.safetensors"
CONTEXT_SAMPLES: Final = 64  # of the frame before
PADDING_SAMPLES: Final = 64
STFT_SAMPLES: Final = 256
HOP_SAMPLES: Final = 128
BINS: Final = STFT_SAMPLES // 2 + 1
HIDDEN: Final = 128


class SileroDetector:
    """The loaded network; streams share it and may run in different threads, each of which computes alone."""

    def __init__(self) -> None:
        let_newcomers_compute_alone()
        self._network = SileroNetwork(load_file(_weights_path()))

    def open_stream(self) -> SileroStream:
        """A stream of its own state, at the start of a recording."""
        return SileroStream(self._network)


class SileroStream:
    """One recording, block by block; see `VoiceStream`."""

    def __init__(self, network: SileroNetwork) -> None:
        self._network = network
        self._pending = torch.zeros(CONTEXT_SAMPLES)
        self._state = (torch.zeros(1, 1, HIDDEN), torch.zeros(1, 1, HIDDEN))

    @torch.inference_mode()
    def push(self, samples: Waveform) -> Probabilities:
        """Probability of voice in each frame that `samples` completes, float32 [frames]."""
        pending = torch.cat([self._pending, torch.tensor(samples)])
        frames = (len(pending) - CONTEXT_SAMPLES) // VOICE_FRAME_SAMPLES
        used = frames * VOICE_FRAME_SAMPLES
        self._pending = pending[used:].clone()
        if frames == 0:
            return torch.zeros(0).numpy()
        size = CONTEXT_SAMPLES + VOICE_FRAME_SAMPLES
        probabilities, self._state = self._network(
            pending[: CONTEXT_SAMPLES + used].unfold(0, size, VOICE_FRAME_SAMPLES), self._state
        )
        return probabilities.numpy()

    def finish(self) -> Probabilities:
        """Probability of the last frame, filled up with silence; none where the recording ended with a frame."""
        rest = len(self._pending) - CONTEXT_SAMPLES
        return self.push(torch.zeros(-rest % VOICE_FRAME_SAMPLES).numpy())


class SileroNetwork(nn.Module):
    """Short-time spectrum, four convolutions, one LSTM cell, one probability."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * BINS, STFT_SAMPLES, stride=HOP_SAMPLES, bias=False)
        self.conv1 = nn.Conv1d(BINS, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, HIDDEN, 3, padding=1)
        self.lstm_cell = nn.LSTM(HIDDEN, HIDDEN)
        self.final_conv = nn.Conv1d(HIDDEN, 1, 1)
        self.load_state_dict({_renamed(name): value.float() for name, value in weights.items()})
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, frames: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Probabilities [frames] of consecutive `frames` [frames, context + frame], and the state behind them."""
        padded = functional.pad(frames.unsqueeze(1), (0, PADDING_SAMPLES), mode="reflect")
        real, imaginary = self.stft_conv(padded).split(BINS, dim=1)
        hidden: Any = (real.square() + imaginary.square()).sqrt()
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            hidden = functional.relu(convolution(hidden))
        hidden, state = self.lstm_cell(hidden.transpose(1, 2), state)
        logits = self.final_conv(functional.relu(hidden).transpose(1, 2))
        return torch.sigmoid(logits)[:, 0, 0], state


def _renamed(name: str) -> str:
    """An LSTM cell's weights as those of an LSTM's only layer."""
    return f"{name}_l0" if name.startswith("lstm_cell.") else name


def _weights_path() -> Path:
    try:
        path = Path(str(distribution("silero-vad").locate_file(WEIGHTS)))
    except PackageNotFoundError:
        raise CheckpointError("silero-vad is not installed") from None
    if not path.exists():
        raise CheckpointError(f"silero-vad has no {WEIGHTS}; version 6 has")
    return path
