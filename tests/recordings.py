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

LOUDNESS_HZ = 100


def speech_like(seconds: float = 3.0, *, seed: int = 0) -> Waveform:
    """Gliding harmonics below 3.4 kHz in syllables of 0.2 s, so it survives telephone bandwidth; float32 [samples]."""
    times = np.arange(samples_from_seconds(seconds)) / SAMPLE_RATE
    generator = np.random.default_rng(seed)
    pitch_hz = 140 + 40 * np.sin(2 * np.pi * 0.7 * times + generator.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
    voice = sum(np.sin(k * phase + generator.uniform(0, 6)) / k for k in range(1, 18))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * times), 0, 1)
    return (0.2 * voice * syllables).astype(np.float32)


def syllables(seconds: float = 3.0, *, seed: int = 5) -> Waveform:
    """Harmonics in syllables and pauses of random lengths: no place in it looks like another; float32 [samples]."""
    generator = np.random.default_rng(seed)
    times = np.arange(samples_from_seconds(seconds)) / SAMPLE_RATE
    envelope = np.zeros(len(times))
    start = 0.1
    while start < seconds - 0.4:
        length = generator.uniform(0.08, 0.3)
        inside = (times >= start) & (times < start + length)
        envelope[inside] = np.sin(np.pi * (times[inside] - start) / length) * generator.uniform(0.5, 1)
        start += length + generator.uniform(0.04, 0.3)
    voice = sum(np.sin(2 * np.pi * 150 * k * times + k * k) / k for k in range(1, 20))
    return (0.2 * voice * envelope).astype(np.float32)


def silence(seconds: float) -> Waveform:
    """Zeros, float32 [samples]."""
    return np.zeros(samples_from_seconds(seconds), np.float32)


def likeness(one: Waveform, other: Waveform, *, off_seconds: float = 0.15) -> float:
    """Correlation of the loudness over time, at the best of the shifts up to `off_seconds`."""
    loudness = [_loudness(waveform) for waveform in (one, other)]
    length = min(map(len, loudness))
    reach = round(off_seconds * LOUDNESS_HZ)
    shifts = ((max(0, lag), max(0, -lag), length - abs(lag)) for lag in range(-reach, reach + 1))
    return max(
        _correlation(loudness[0][left : left + size], loudness[1][right : right + size])
        for left, right, size in shifts
    )


def _loudness(waveform: Waveform) -> Waveform:
    hop = SAMPLE_RATE // LOUDNESS_HZ
    hops = waveform[: len(waveform) // hop * hop].reshape(-1, hop)
    return np.sqrt(np.mean(np.square(hops), axis=1, dtype=np.float64)).astype(np.float32)


def _correlation(one: Waveform, other: Waveform) -> float:
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norm if norm else 0.0


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
