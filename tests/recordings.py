"""Sound files made at test time with the bundled ffmpeg: one recording, many renderings."""

from __future__ import annotations

import io
import subprocess
import wave
from pathlib import Path

import numpy as np

from lithophone.audio.decode import bundled_ffmpeg
from lithophone.audio.waveform import (
    SAMPLE_BYTES,
    SAMPLE_RATE,
    Waveform,
    pcm16_from_waveform,
    samples_from_seconds,
)


def speech_like(seconds: float = 3.0, *, seed: int = 0) -> Waveform:
    """Gliding harmonics below 3.4 kHz in syllables of 0.2 s, so it survives telephone bandwidth; float32 [samples]."""
    times = np.arange(samples_from_seconds(seconds)) / SAMPLE_RATE
    generator = np.random.default_rng(seed)
    pitch_hz = 140 + 40 * np.sin(2 * np.pi * 0.7 * times + generator.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
    voice = sum(np.sin(k * phase + generator.uniform(0, 6)) / k for k in range(1, 18))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * times), 0, 1)
    return (0.2 * voice * syllables).astype(np.float32)


def tone(seconds: float, hz: float = 1_000.0, amplitude: float = 0.5) -> Waveform:
    """A sine, float32 [samples]."""
    times = np.arange(samples_from_seconds(seconds)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def wav_bytes(waveform: Waveform) -> bytes:
    """A PCM16 WAV file of float32 [samples]."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm16_from_waveform(waveform))
    return buffer.getvalue()


def run_ffmpeg(*arguments: str, stdin: bytes = b"") -> bytes:
    """What ffmpeg writes to its standard output; raises if it fails."""
    command = [bundled_ffmpeg(), "-hide_banner", "-loglevel", "error", "-y", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=60).stdout


def render(recording: bytes, path: Path, *arguments: str) -> Path:
    """Renders a WAV file to `path`, whose suffix chooses the container."""
    run_ffmpeg("-f", "wav", "-i", "pipe:0", *arguments, str(path), stdin=recording)
    return path
