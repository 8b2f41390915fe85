"""Ten recordings of twelve seconds in which nobody speaks, float32 [samples], 16 kHz."""

from __future__ import annotations

import numpy as np

from lithophone.audio.waveform import SAMPLE_RATE, Waveform

SECONDS = 12
_TIMES = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
_DIAL = np.array([(697, 1209), (770, 1336), (852, 1477), (941, 1209), (697, 1477)])
_SCALE = np.array([261.6, 293.7, 329.6, 349.2, 392.0, 440.0, 493.9])


def _sines(*hertz: float) -> np.ndarray:
    return sum(np.sin(2 * np.pi * f * _TIMES) for f in hertz) / np.array(len(hertz))


def _noise(level: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, level, len(_TIMES))


def _dialled() -> np.ndarray:
    keys = _DIAL[(_TIMES // 0.2).astype(int) % len(_DIAL)]
    pairs = np.sin(2 * np.pi * keys[:, 0] * _TIMES) + np.sin(2 * np.pi * keys[:, 1] * _TIMES)
    return 0.25 * pairs * (_TIMES % 0.2 < 0.12)


def _melody() -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(_SCALE[(_TIMES // 0.5).astype(int) % len(_SCALE)]) / SAMPLE_RATE
    note = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase)
    return 0.3 * note * np.exp(-3 * (_TIMES % 0.5))


def _clicks() -> np.ndarray:
    return np.where(np.arange(len(_TIMES)) % 4000 < 8, 0.8, 0.0)


NOISES: dict[str, Waveform] = {
    name: samples.astype(np.float32)
    for name, samples in {
        "silence": np.zeros(len(_TIMES)),
        "white noise": _noise(0.1),
        "faint noise": _noise(0.003),
        "hum": 0.3 * _sines(50, 100, 150),
        "sine": 0.3 * _sines(1000),
        "chord": 0.3 * _sines(220, 277.2, 329.6, 440),
        "melody": _melody(),
        "clicks": _clicks(),
        "dialling": _dialled(),
        "sweep": 0.3 * np.sin(2 * np.pi * (100 + 160 * _TIMES) * _TIMES),
    }.items()
}
